"""Networks in ONNX Runtime and OpenVINO.

Both read the file that `n2n export --onnx` writes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np

from n2n_cli.models.onnx_file import INPUT, onnx_model
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.cpu import cpu_features

Run: TypeAlias = Callable[[Array], Array]

ONNX_RUNTIME, OPENVINO, BFLOAT16 = "ONNX Runtime", "OpenVINO", "OpenVINO bfloat16"


def installed() -> list[str]:
    """Ways to run a network that are installed and that the processor has, as names."""
    found = [ONNX_RUNTIME] if find_spec("onnxruntime") else []
    if find_spec("openvino"):
        found += [OPENVINO, *([BFLOAT16] if "avx512_bf16" in cpu_features() else [])]
    return found if find_spec("onnx") else []


def compiled(network: Module, way: str, threads: int, shape: Shape) -> Run:
    """Compile a network for inputs of one shape.

    A fixed shape lets both programs optimise most.

    Parameters
    ----------
    way : str
        One of `installed`. OpenVINO computes in float32, or in bfloat16 in the way that says so.
    threads : int
    shape : (N, C, H, W)
    """
    content = onnx_model(network, shape[1], shape=shape).SerializeToString()
    return _onnx_runtime(content, threads) if way == ONNX_RUNTIME else _openvino(content, threads, way == BFLOAT16)


def _onnx_runtime(content: bytes, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(x: Array) -> Array:
        y: Array = session.run(None, {INPUT: np.ascontiguousarray(x)})[0]
        return y

    return run


def _openvino(content: bytes, threads: int, bfloat16: bool) -> Run:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",  # one input at a time, on all threads
    }
    model = core.compile_model(core.read_model(content, b""), "CPU", settings)

    def run(x: Array) -> Array:
        y: Array = model(np.ascontiguousarray(x))[0]
        return y

    return run


def in_tiles(run_of: Callable[[Shape], Run], picture: Array, tile: int, margin: int) -> Array:
    """Denoise (C, H, W) in overlapping tiles, as a user of these programs would.

    Parameters
    ----------
    run_of : function
        Gives the network for a shape (N, C, H, W); compiled networks should be kept.
    tile, margin : int
        Side of a tile's output, and width of its surroundings, in pixels: multiples of the network's period.
    """
    h, w = picture.shape[1:]
    out = np.empty_like(picture)
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            bottom, right = min(top + tile, h), min(left + tile, w)
            above, before = max(0, top - margin), max(0, left - margin)
            part = picture[None, :, above : min(bottom + margin, h), before : min(right + margin, w)]
            y = run_of(part.shape)(part)[0]
            out[:, top:bottom, left:right] = y[:, top - above : bottom - above, left - before : right - before]
    return out
