"""ONNX nodes of a network, layer by layer.

References
----------
ONNX operators, opset 13: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from n2n_cli.errors import N2NError
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
from n2n_cli.nn.functional import Array, Shape

FLOAT = 1
"""Number of ONNX's data type float32."""


class UnknownLayerError(N2NError):
    """A layer cannot be expressed in ONNX."""


class Nodes:
    """Nodes and constants of an ONNX graph, in the order of computation.

    Each node has one output, with the name of the node.

    Parameters
    ----------
    half : bool
        Store weights as float16, to be cast to float32 when the file is loaded.
    """

    def __init__(self, *, half: bool = False) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._half = half

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node and return its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Any) -> str:
        """Append a constant array, of int64 if `values` are ints, and return its name."""
        from onnx import numpy_helper

        array = np.asarray(values)
        self.constants.append(
            numpy_helper.from_array(array.astype(np.int64) if array.dtype.kind == "i" else array, name)
        )
        return name

    def weight(self, name: str, values: Array) -> str:
        """Append weights and return the name of their float32 values."""
        if not self._half:
            return self.constant(name, np.ascontiguousarray(values, np.float32))
        return self.add("Cast", [self.constant(f"{name}.half", values.astype(np.float16))], name, to=FLOAT)


def add_module(nodes: Nodes, module: Module, x: str, shape: Shape, name: str) -> str:
    """Append the nodes of a module.

    Parameters
    ----------
    x : str
        Name of the module's input.
    shape : (N, C, H, W)
        A shape that the module accepts; only C matters.
    name : str
        Name of the module.

    Returns
    -------
    str
        Name of the module's output.

    Raises
    ------
    UnknownLayerError
        If the module, or one inside it, does not belong to this package.
    """
    make = _NODES.get(type(module))
    if make is None:
        raise UnknownLayerError(
            f"the layer `{type(module).__name__}` cannot be written as ONNX: it is not one of n2n's own",
            hint=f"build the network from {', '.join(layer.__name__ for layer in _NODES)}",
        )
    return make(nodes, module, x, shape, name)


def _add_each(nodes: Nodes, modules: Sequential | Residual | SkipConcat, x: str, shape: Shape, name: str) -> str:
    for place, module in modules.children():
        x = add_module(nodes, module, x, shape, f"{name}.{place}")
        shape = module.output_shape(shape)
    return x


def _residual(nodes: Nodes, module: Residual, x: str, shape: Shape, name: str) -> str:
    return nodes.add("Add", [x, _add_each(nodes, module, x, shape, name)], name)


def _skip_concat(nodes: Nodes, module: SkipConcat, x: str, shape: Shape, name: str) -> str:
    return nodes.add("Concat", [_add_each(nodes, module, x, shape, name), x], name, axis=1)


def _weights(nodes: Nodes, module: Conv2d | TransposeConv2d, name: str) -> list[str]:
    """Names of the weight and, if there is one, of the bias."""
    return [nodes.weight(f"{name}.{key}", parameter.data) for key, parameter in module.named_parameters()]


def _conv(nodes: Nodes, module: Conv2d, x: str, _: Shape, name: str) -> str:
    return nodes.add(
        *("Conv", [x, *_weights(nodes, module, name)], name),
        kernel_shape=module.kernel_size,
        strides=module.stride,
        pads=module.padding * 2,
        dilations=module.dilation,
    )


def _transpose_conv(nodes: Nodes, module: TransposeConv2d, x: str, _: Shape, name: str) -> str:
    sizes = {"kernel_shape": module.kernel_size, "strides": module.stride, "dilations": module.dilation}
    if all(more < stride for more, stride in zip(module.output_padding, module.stride, strict=True)):
        pads, more = module.padding * 2, module.output_padding
        return nodes.add(
            "ConvTranspose", [x, *_weights(nodes, module, name)], name, pads=pads, output_padding=more, **sizes
        )
    # ONNX Runtime does not accept a larger output padding: pad afterwards; negative pads remove pixels.
    weight = nodes.weight(f"{name}.weight", module.weight.data)
    y = nodes.add("ConvTranspose", [x, weight], f"{name}.whole", **sizes)
    before = [-pixels for pixels in module.padding]
    after = [more - pixels for more, pixels in zip(module.output_padding, module.padding, strict=True)]
    y = nodes.add("Pad", [y, nodes.constant(f"{name}.pads", [0, 0, *before, 0, 0, *after])], f"{name}.padded")
    if module.bias is None:
        return y
    return nodes.add("Add", [y, nodes.weight(f"{name}.bias", module.bias.data[:, None, None])], name)


def _upsampling(nodes: Nodes, module: NearestUpsampling, x: str, _: Shape, name: str) -> str:
    scales = nodes.constant(f"{name}.scales", np.array([1, 1, *module.scale_factor], np.float32))
    modes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return nodes.add("Resize", [x, "", scales], name, **modes)


def _pixel_unshuffle(nodes: Nodes, module: PixelUnshuffle, x: str, shape: Shape, name: str) -> str:
    # SpaceToDepth orders its output by position in the block, then channel; PyTorch by channel, then position. So every
    # channel becomes an image. (OpenVINO 2026.4 wrongly merges a Gather that sorts the channels into the next layer.)
    gray = nodes.constant(f"{name}.gray", [-1, 1, 0, 0])  # 0 keeps a size, -1 is what remains
    planes = nodes.add("Reshape", [x, gray], f"{name}.planes")  # (N*C, 1, H, W)
    blocks = nodes.add("SpaceToDepth", [planes], f"{name}.blocks", blocksize=module.downscale_factor)
    channels = nodes.constant(f"{name}.channels", [-1, shape[1] * module.downscale_factor**2, 0, 0])
    return nodes.add("Reshape", [blocks, channels], name)


def _pixel_shuffle(nodes: Nodes, module: PixelShuffle, x: str, _: Shape, name: str) -> str:
    return nodes.add("DepthToSpace", [x], name, blocksize=module.upscale_factor, mode="CRD")


def _max_pool(nodes: Nodes, module: MaxPool2d, x: str, _: Shape, name: str) -> str:
    return nodes.add("MaxPool", [x], name, kernel_shape=module.kernel_size, strides=module.stride)


def _relu(nodes: Nodes, _: ReLU, x: str, __: Shape, name: str) -> str:
    return nodes.add("Relu", [x], name)


def _leaky_relu(nodes: Nodes, module: LeakyReLU, x: str, _: Shape, name: str) -> str:
    return nodes.add("LeakyRelu", [x], name, alpha=module.negative_slope)


def _sigmoid(nodes: Nodes, _: Sigmoid, x: str, __: Shape, name: str) -> str:
    return nodes.add("Sigmoid", [x], name)


_Make: TypeAlias = Callable[[Nodes, Any, str, Shape, str], str]

_NODES: dict[type[Module], _Make] = {  # by exact type: a subclass may compute something else
    Conv2d: _conv,
    TransposeConv2d: _transpose_conv,
    NearestUpsampling: _upsampling,
    PixelUnshuffle: _pixel_unshuffle,
    PixelShuffle: _pixel_shuffle,
    MaxPool2d: _max_pool,
    ReLU: _relu,
    LeakyReLU: _leaky_relu,
    Sigmoid: _sigmoid,
    Sequential: _add_each,
    Residual: _residual,
    SkipConcat: _skip_concat,
}
