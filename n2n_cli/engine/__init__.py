"""Fast execution of networks: fused kernels, memory pools, tapes, threads, tiles and worker processes.

Results are those of the layers in `n2n_cli.nn` up to rounding.

Kernels:

fusion         chooses the kernels of neighbouring layers
convolution    convolutions
winograd       3x3 convolutions by Winograd's algorithm
narrow         convolutions with few output channels
upsampling     convolutions of an upsampled image, computed on the small one
doubling       upsampling by 2 followed by a 3x3 convolution
channels_last  operations on (N, H, W, C) arrays that the kernels share
bordered       images with a border of zeros

Execution:

pool           reusable memory
tape           recorded NumPy calls
replicas       one network on several threads
stoppable      replicas whose work can be stopped
bands          one large image, layer by layer, on several threads
tiling         images of any size, tile by tile
tile_plan      choice of the tiles
workers        training steps in processes of their own
shared_step    memory that two processes share for a step
"""

import n2n_cli.nn  # noqa: F401 - first, as long as its layers use the engine
