"""Fast execution of networks: fused kernels, memory pools, tapes, threads, tiles and worker processes.

`compile` makes an executor of a network, as `torch.compile` does. Results are those of the layers in `n2n_cli.nn` up to
rounding; a layer that has no kernel here runs as it is written.

Kernels:

kernel          base classes, and modules that run as they are written
fusion          choice of the kernels
containers      kernels one after the other, and paths around them
elementwise     activation functions
rearrangement   upsampling, pixel shuffle and max pooling
transpose_conv  transposed convolutions
fused_conv      base of the fused convolutions
convolution     convolutions of any kind
winograd        3x3 convolutions by Winograd's algorithm
narrow          convolutions with few output channels
upsampling      convolutions of an upsampled image, computed on the small one
doubling        upsampling by 2 followed by a 3x3 convolution
channels_last   operations on (N, H, W, C) arrays that the kernels share
bordered        images with a border of zeros
sizes           sizes of the arrays that a network makes, and micro-batches

Execution:

executor        training steps and outputs, on several threads
replica         a thread's own copy of the kernels
gradients       the gradients of all parameters in one array
pool            reusable memory
tape            recorded NumPy calls
bands           one large image, layer by layer, on several threads
tiling          images of any size, tile by tile
tiles           tiles, and the pixels that they depend on
tile_plan       choice of the tiles
workers         training steps in processes of their own
shared_step     memory that two processes share for a step
"""

from n2n_cli.engine.executor import Executor
from n2n_cli.engine.fused_conv import Shared
from n2n_cli.engine.fusion import kernel_for
from n2n_cli.engine.kernel import Kernel, TrainableKernel
from n2n_cli.nn.module import Module

__all__ = ["Executor", "Kernel", "TrainableKernel", "compile", "kernel_of"]


def kernel_of(network: Module) -> TrainableKernel:
    """The kernel that computes what a network computes, up to rounding; it uses the network's own parameters."""
    return kernel_for(network, Shared())


def compile(network: Module, *, threads: int = 1) -> Executor:
    """The executor of a network.

    Parameters
    ----------
    network : Module
        Its layers keep their parameters, which the executor reads, and whose gradients it adds up.
    threads : int
        Including the caller's. Results do not depend on it but for rounding.

    Returns
    -------
    Executor
    """
    return Executor(kernel_of(network), [parameter for _, parameter in network.named_parameters()], threads=threads)
