"""Where training pairs come from.

sources             a configuration's source -> the pairs that a training learns from and is measured on
pairs               numbered pairs, cut from pictures or given
folders             which picture files a folder holds
built_in            the built-in pictures, made once and then kept
dead_leaves         how they are made
picture_memory      memory that pictures may take, and which of them are used
shrinking           pictures made smaller
prefetching         batches made ahead of their use
shots               which pictures are shots of the same scene
scenes              scenes in memory, aligned and made equally bright
alignment           by how much one shot is shifted, and brighter
shot_sources        folders of real noisy pictures -> pairs
shot_crops          what the next two have in common: numbered crops
shot_pairs          pairs of two shots
single_pairs        pairs of neighbouring pixels of single shots
neighbour_sampling  pairs of neighbouring pixels drawn from one picture
"""
