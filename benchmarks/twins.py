"""Networks in PyTorch with the weights of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from n2n_cli.nn import (
    Conv2d,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    TransposeConv2d,
)
from n2n_cli.nn.functional import Array

Network = Any


class _Residual(torch.nn.Sequential):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


class _SkipConcat(torch.nn.Sequential):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return torch.cat([super().forward(x), x], dim=1)


_CONTAINERS = {Sequential: torch.nn.Sequential, Residual: _Residual, SkipConcat: _SkipConcat}


def twin(module: Module) -> Network:
    """Convert a module to PyTorch, with its weights and their dtype."""
    if isinstance(module, Sequential | Residual | SkipConcat):
        return _CONTAINERS[type(module)](*(twin(child) for child in module))
    layer = _layer(module)
    state = module.state_dict()
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, assign=True)
    return layer


def _layer(module: Module) -> Network:
    """Create PyTorch's layer with the same arguments and new weights."""
    match module:
        case Conv2d():
            sizes = module.kernel_size, module.stride, module.padding, module.dilation
            return torch.nn.Conv2d(module.in_channels, module.out_channels, *sizes, bias=module.bias is not None)
        case TransposeConv2d():
            sizes = module.kernel_size, module.stride, module.padding, module.output_padding
            more = {"bias": module.bias is not None, "dilation": module.dilation}
            return torch.nn.ConvTranspose2d(module.in_channels, module.out_channels, *sizes, **more)
        case NearestUpsampling():
            return torch.nn.Upsample(scale_factor=tuple(map(float, module.scale_factor)), mode="nearest")
        case MaxPool2d():
            return torch.nn.MaxPool2d(module.kernel_size, module.stride)
        case PixelUnshuffle():
            return torch.nn.PixelUnshuffle(module.downscale_factor)
        case PixelShuffle():
            return torch.nn.PixelShuffle(module.upscale_factor)
        case LeakyReLU():
            return torch.nn.LeakyReLU(module.negative_slope)
        case ReLU() | Sigmoid():
            return getattr(torch.nn, type(module).__name__)()
    raise TypeError(f"{module} has no twin")


def variant(module: Module, way: str) -> tuple[Network, Any]:
    """Convert a network to PyTorch, and return it with the memory format of its input.

    `way` is "eager", "channels_last" or "compile".
    """
    network = twin(module)
    if way == "eager":
        return network, torch.contiguous_format
    network = network.to(memory_format=torch.channels_last)
    return (torch.compile(network) if way == "compile" else network), torch.channels_last


def tensor(array: Array, memory_format: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array)).to(memory_format=memory_format)


def training_step(network: Network, x: Any, target: Any) -> Callable[[], float]:
    """Step of SGD on the mean squared error."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), target)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def inference(network: Network, x: Any) -> Callable[[], Any]:
    def infer() -> Any:
        with torch.inference_mode():
            return network(x)

    return infer


def both_ways(network: Network, x: Any) -> Callable[[], object]:
    def both() -> None:
        y = network(x)
        y.backward(y.detach())

    return both


def predict(network: Network, memory_format: Any, x: Array) -> Array:
    """Output of a network for (N, C, H, W), both arrays of NumPy."""
    with torch.inference_mode():
        y: Array = network(tensor(x, memory_format)).numpy()
    return y
