"""ONNX files of networks, for ONNX Runtime, OpenVINO and others.

References
----------
ONNX, open format for neural networks: https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from n2n_cli.engine.tiles import kept_size, room_of
from n2n_cli.errors import CheckpointError, N2NError, ShapeError
from n2n_cli.models.onnx_nodes import FLOAT, Nodes, add_module
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.system.atomic_files import replacing, writing

OPSET, IR_VERSION = 13, 7
"""Versions of the operators and of the format, both of 2020, which all current programs can read."""
INPUT, OUTPUT = "noisy", "denoised"
INSTALL = "`--onnx` needs the package onnx: `pip install 'n2n-cli[onnx]'`"


def is_onnx(path: Path) -> bool:
    """True if a file's name ends in `.onnx`."""
    return path.suffix.lower() == ".onnx"


def write_onnx(
    path: Path,
    network: Module,
    channels: int,
    *,
    half: bool = False,
    facts: Mapping[str, str] | None = None,
    mode: int = 0o666,
) -> None:
    """Write a denoiser for images of any size; see `onnx_model`.

    The file is written whole, by rename. Equal arguments, with the same version of the package `onnx`, give equal
    bytes.

    Raises
    ------
    N2NError
        If the package `onnx` is not installed, or ONNX cannot express the network.
    CheckpointError
        If the file cannot be written.
    """
    content = onnx_model(network, channels, half=half, facts=facts).SerializeToString(deterministic=True)
    with writing(path, CheckpointError), replacing(path, mode=mode) as file:
        file.write(content)


def onnx_model(
    network: Module,
    channels: int,
    *,
    shape: Shape | None = None,
    half: bool = False,
    facts: Mapping[str, str] | None = None,
) -> Any:
    """Express a network in ONNX.

    By default the graph is a denoiser for batches of images of any size: like `Predictor.predict`, it pads the images
    by reflection and crops the output.

    Parameters
    ----------
    network : Module
        For a denoiser, it has to keep channels and size.
    channels : int
    shape : (N, C, H, W), optional
        Shape of the input. If given, the graph is the network alone, which need not keep channels and size.
    half : bool
        Store weights as float16, in half the bytes. Computation remains in float32.
    facts : mapping of str to str, optional
        Metadata of the file.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    N2NError
        If the package `onnx` is not installed, or ONNX cannot express the network.
    ShapeError
        If the network is not a denoiser of images with this number of channels.
    """
    try:
        from onnx import checker, helper
    except ImportError:
        raise N2NError("onnx is not installed", hint=INSTALL) from None

    from n2n_cli import __version__

    nodes = Nodes(half=half)
    x, sizes = INPUT, ""
    shapes: list[Sequence[int | str]]
    if shape is None:
        shape = (1, channels, *kept_size(network, (1, channels, 1, 1)))  # raises an error unless it is a denoiser
        x, sizes = _padded(nodes, network, channels)
        shapes = [("batch", channels, "height", "width")] * 2
    else:
        shapes = [shape, network.output_shape(shape)]
    y = add_module(nodes, network, x, shape, "network")
    if sizes:
        crop = nodes.constant("crop.start", [0, 0]), sizes, nodes.constant("crop.axes", [2, 3])
        nodes.add("Slice", [y, *crop], OUTPUT)
    else:
        nodes.add("Identity", [y], OUTPUT)
    ends = [
        helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in zip((INPUT, OUTPUT), shapes, strict=True)
    ]
    graph = helper.make_graph(nodes.nodes, "n2n", ends[:1], ends[1:], nodes.constants)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="n2n",
        producer_version=__version__,
    )
    texts = {name: text.encode(errors="backslashreplace").decode() for name, text in (facts or {}).items()}
    helper.set_model_props(model, texts)  # file names need not be valid Unicode
    checker.check_model(model, full_check=True)
    return model


def _padded(nodes: Nodes, network: Geometry, channels: int) -> tuple[str, str]:
    """Append nodes that pad the input as `kept_size` does.

    Returns
    -------
    str
        Name of the padded input.
    str
        Name of the input's height and width; empty if the network keeps every size.
    """
    periods = [network.period(axis) for axis in (0, 1)]
    least = [_least_size(network, channels, axis) for axis in (0, 1)]
    if periods == least == [1, 1]:
        return INPUT, ""
    shape = nodes.add("Shape", [INPUT], "shape")
    sizes = nodes.add("Gather", [shape, nodes.constant("size.axes", [2, 3])], "size", axis=0)
    period = nodes.constant("period", periods)
    more = nodes.add("Add", [sizes, nodes.constant("period.less_1", [p - 1 for p in periods])], "size.more")
    padded = nodes.add("Mul", [nodes.add("Div", [more, period], "size.periods"), period], "size.whole_periods")
    if least != periods:  # an image that is too small on one side is enlarged on both
        missing = nodes.add("Sub", [nodes.constant("least", least), padded], "least.missing")
        most = nodes.add("ReduceMax", [missing], "least.most_missing", axes=[0], keepdims=1)
        small = nodes.add("Greater", [most, nodes.constant("least.zero", [0])], "small")
        room = nodes.constant("room", [room_of(network, axis) for axis in (0, 1)])
        padded = nodes.add("Where", [small, nodes.add("Max", [padded, room], "size.room"), padded], "size.padded")
    x = INPUT
    for axis, name in enumerate(("rows", "columns")):
        x = _reflected(nodes, x, sizes, padded, axis, name)
    return x, sizes


def _reflected(nodes: Nodes, x: str, sizes: str, padded: str, axis: int, name: str) -> str:
    """Append nodes that extend an axis by reflection.

    Pixel i of the result is pixel min(i % 2n, 2n - 1 - i % 2n) of the n original pixels.
    """
    scalars = {"axis": axis, "zero": 0, "one": 1}
    which, zero, one = (nodes.constant(f"{name}.{key}", value) for key, value in scalars.items())
    size = nodes.add("Gather", [sizes, which], f"{name}.size")
    end = nodes.add("Gather", [padded, which], f"{name}.end")
    twice = nodes.add("Add", [size, size], f"{name}.twice")
    places = nodes.add("Mod", [nodes.add("Range", [zero, end, one], f"{name}.range"), twice], f"{name}.forward")
    last = nodes.add("Sub", [twice, one], f"{name}.last")
    nearest = nodes.add("Min", [places, nodes.add("Sub", [last, places], f"{name}.backward")], f"{name}.nearest")
    return nodes.add("Gather", [x, nearest], f"{name}.padded", axis=2 + axis)


def _least_size(network: Geometry, channels: int, axis: int) -> int:
    """Smallest multiple of the period that the network accepts along an axis."""
    kept, period = kept_size(network, (1, channels, 1, 1)), network.period(axis)

    def accepts(size: int) -> bool:
        sides = [size if a == axis else kept[a] for a in (0, 1)]
        try:
            network.output_shape((1, channels, *sides))
        except ShapeError:
            return False
        return True

    sizes = range(period, kept[axis], period)  # kept[axis] is accepted
    return period * (1 + bisect.bisect_left(sizes, True, key=accepts))
