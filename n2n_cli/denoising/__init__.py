"""Denoising of pictures in memory, picture files, and arrays.

picture        a display picture in memory
page           a page of any kind of values
model_choice   the bundled model for the noise of a file
transforms     the transform of a file's values
in_time        frames of a movie with their neighbours in time
picture_files  picture files, one after another
history        line on the denoising, for formats that keep a history
tasks          tasks, options and outcomes
plan           output file of each input file
manifest       log file of JSON lines, which several processes may append to
arrays         `n2n_cli.denoise`, for arrays
"""
