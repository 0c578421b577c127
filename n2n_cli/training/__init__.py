"""Training: the loop, its records, run folders and history.

loop           trains a network: a generator of records
records        records that training yields, and the progress that a checkpoint keeps
session        files, ranks and requests to stop of one training
run_folder     run folders
initial_model  the model that a training begins with
history        metrics of a finished run
"""
