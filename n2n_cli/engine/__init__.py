"""Fast execution of networks.

`compile` turns a network into an executor, as `torch.compile` does. Results equal those of the layers in `n2n_cli.nn`
up to rounding; a layer without a kernel here runs its own `forward` and `backward`.

Kernels:

kernel               base classes, and the kernel of modules without a special one
fusion               choice of the kernels, fusing neighbouring modules
containers           kernels of Sequential, Residual and SkipConcat
elementwise          activation functions
rearrangement        upsampling, pixel shuffle and max pooling
transpose_conv       transposed convolution
fused_conv           base class of the fused convolutions
convolution          general convolutions, by im2col
winograd             3x3 convolutions by Winograd's algorithm
winograd_transforms  transforms of that algorithm
narrow               convolutions with few output channels
upsampling           convolutions of an upsampled image, at low resolution
doubling             upsampling by 2 followed by a 3x3 convolution
channels_last        operations on (N, H, W, C) arrays
products             matrix products in pieces that BLAS does not pack
finite               detection of overflow
bordered             images with a border of zeros
sizes                array sizes of a network, and micro-batches

Execution:

executor             training steps and inference on several threads
replica              per-thread copies of the kernels
gradients            all gradients in one flat array
pool                 memory pools
tape                 record and replay of NumPy calls
bands                one large image, layer by layer, in bands of rows
tiling               images of any size, tile by tile
tiles                tiles and their receptive fields
tile_plan            choice of the tile size
workers              training steps in worker processes
shared_step          shared memory for a training step
"""

from n2n_cli.engine.executor import Executor
from n2n_cli.engine.fused_conv import Shared
from n2n_cli.engine.fusion import kernel_for
from n2n_cli.engine.kernel import Kernel, TrainableKernel
from n2n_cli.nn.module import Module

__all__ = ["Executor", "Kernel", "TrainableKernel", "compile", "kernel_of"]


def kernel_of(network: Module) -> TrainableKernel:
    """Kernel of a network; it uses the network's own parameters."""
    return kernel_for(network, Shared())


def compile(network: Module, *, threads: int = 1) -> Executor:
    """Compile a network to an executor.

    Parameters
    ----------
    network : Module
        The executor uses its parameters and accumulates their gradients.
    threads : int
        Number of threads, including the caller's. Results do not depend on it, except for rounding.

    Returns
    -------
    Executor
    """
    return Executor(kernel_of(network), network.parameters(), threads=threads)
