"""The same networks in PyTorch, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from n2n_cli.nn import Conv2d, Module, NearestUpsampling, Sequential
from n2n_cli.nn.functional import Array

Network = Any


def twin(module: Module) -> Network:
    """`module` in PyTorch."""
    if isinstance(module, Sequential):
        return torch.nn.Sequential(*(twin(child) for child in module))
    if isinstance(module, Conv2d):
        sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
        layer = torch.nn.Conv2d(module.in_channels, module.out_channels, *sizes, bias=module.bias is not None)
        layer.load_state_dict({name: torch.from_numpy(value) for name, value in module.state_dict().items()})
        return layer
    if isinstance(module, NearestUpsampling):
        return torch.nn.Upsample(scale_factor=tuple(map(float, module.scale_factor)), mode="nearest")
    return getattr(torch.nn, type(module).__name__)()


def variants(module: Module, *, compiled: bool) -> dict[str, tuple[Network, Any]]:
    """PyTorch's ways to run a network: name -> (network, memory format of its inputs)."""
    ways = {
        "eager": (twin(module), torch.contiguous_format),
        "channels_last": (twin(module).to(memory_format=torch.channels_last), torch.channels_last),
    }
    if compiled:
        network = twin(module).to(memory_format=torch.channels_last)
        ways["compile"] = (torch.compile(network), torch.channels_last)
    return ways


def tensor(array: Array, memory_format: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array)).to(memory_format=memory_format)


def training_step(network: Network, x: Any, target: Any) -> Callable[[], float]:
    """One step of SGD on the mean squared error."""
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


def denoise_in_tiles(network: Network, picture: Array, memory_format: Any, tile: int = 512, margin: int = 16) -> Array:
    """(C, H, W) -> the same, as a PyTorch user writes it for large pictures: tiles, their margins thrown away."""
    h, w = picture.shape[1:]
    out = np.empty_like(picture)
    with torch.inference_mode():
        for top in range(0, h, tile):
            for left in range(0, w, tile):
                bottom, right = min(top + tile, h), min(left + tile, w)
                above, before = max(0, top - margin), max(0, left - margin)
                part = picture[None, :, above : min(bottom + margin, h), before : min(right + margin, w)]
                y = network(tensor(part, memory_format))[0].numpy()
                out[:, top:bottom, left:right] = y[:, top - above : bottom - above, left - before : right - before]
    return out
