"""Data sources: training pairs from pictures, shots and files.

sources             training and validation pairs of a configuration
pairs               numbered pairs, cut from pictures or read from a file
folders             picture files of a folder
set_values          value transform of a data set, and its pictures as network input
built_in            built-in pictures
picture_cache       cache of generated pictures
dead_leaves         generator of the built-in pictures
leaves              random leaves of a dead-leaves picture
picture_memory      memory limit of a source's pictures
shrinking           downscaling of pictures
prefetching         batches made in threads before they are needed
shots               lists of shots by scene
stack_shots         shots that are pages of a stack
scenes              scenes in memory, aligned and matched in brightness
alignment           shift and exposure of one shot relative to another
shot_sources        training and validation pairs of real noisy pictures
shot_crops          numbered crops of shots, the base of shot_pairs and single_pairs
shot_pairs          pairs of two shots of a scene
movies              movies as sequences of frames, split into blocks of time
movie_sources       training and validation pairs of a movie
movie_pairs         pairs of crops of a movie's frames, read as needed
moving_patches      simulated movement in stacks of frames
motion              mask of the pixels that moved between two frames
single_pairs        pairs of neighbouring pixels of single shots
neighbour_sampling  random pairs of neighbouring pixels of a picture
"""
