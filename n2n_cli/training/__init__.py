"""Training: the loop, its records, run folders and history.

loop           the training loop, a generator of records
records        records that training yields, and the progress in a checkpoint
session        files, ranks and stop requests of a training
run_folder     run folders and the files in them
initial_model  model that a training starts with, and its loss
history        metrics of a finished run
"""
