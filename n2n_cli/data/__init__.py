"""Data sources: training pairs from pictures, shots and files.

sources             training and validation pairs of a configuration
pairs               numbered pairs, cut from pictures or read from a file
folders             picture files of a folder
set_values          the transform of a set's values, and its pictures as a network sees them
built_in            the built-in pictures
picture_cache       cache of generated pictures
dead_leaves         generator of the built-in pictures
leaves              the leaves of such a picture
picture_memory      memory limit of a source's pictures
shrinking           downscaling of pictures
prefetching         batches made in threads before they are needed
shots               lists of shots of the same scenes
stack_shots         shots in stacks, as pages of a file
scenes              scenes in memory, aligned and matched in brightness
alignment           shift and exposure of one shot against another
shot_sources        training and validation pairs of real noisy pictures
shot_crops          numbered crops of shots, the base of the next two
shot_pairs          pairs of two shots
movies              movies as lines of frames, split into blocks of time
movie_sources       training and validation pairs of a movie
movie_pairs         pairs of crops of a movie's frames, read as needed
moving_patches      simulated movement in stacks of frames
motion              mask of what moved between two frames
single_pairs        pairs of neighbouring pixels of single shots
neighbour_sampling  random pairs of neighbouring pixels of a picture
"""
