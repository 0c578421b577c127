"""Small trainings, and the contents of their run folders."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import Config
from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images import Picture, write_picture
from n2n_cli.training.records import Epoch, Record
from n2n_cli.training.run_folder import Run

LAYERS: list[dict[str, Any]] = [
    {"type": "Conv2d", "in_channels": 3, "out_channels": 12, "kernel_size": 3, "stride": 2, "padding": 1},
    {"type": "ReLU"},
    {"type": "NearestUpsampling", "scale_factor": 2},
    {"type": "Conv2d", "in_channels": 12, "out_channels": 3, "kernel_size": 3, "padding": 1},
    {"type": "Sigmoid"},
]
_DATA_KEYS = (
    *("size", "pairs", "validation_pairs", "noise", "redraw"),
    *("recrop", "recolour", "gray", "shrink", "clip_inputs", "augment", "values"),
)
_TIMES = ("seconds", "images_per_second", "loading")


def write_leaves(folder: Path) -> Path:
    """Fill a folder with 24 images of 48x48 pixels."""
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(dead_leaves(24, 48, seed=1, threads=1)):
        write_picture(folder / f"{i:02}.png", Picture(pixels))
    return folder


def small_config(
    source: Path, *, layers: list[dict[str, Any]] = LAYERS, schedule: dict[str, Any] | None = None, **keys: Any
) -> Config:
    """Configuration of three epochs of four steps; `keys` go into [data] and [train]."""
    data: dict[str, Any] = {"source": str(source), "size": 8, "pairs": 25, "validation_pairs": 12}
    tables: dict[str, Any] = {"network": {"channels": 3, "layers": layers}, "data": data}
    tables["train"] = {"epochs": 3, "batch_size": 7, "lr": 0.5}
    if schedule is not None:
        tables["schedule"] = schedule
    for name, value in keys.items():
        tables["data" if name in _DATA_KEYS else "train"][name] = value
    return Config.from_tables(tables, "test")


def new_run(folder: Path) -> Run:
    folder.mkdir()
    return Run(folder)


def epochs_of(records: Iterable[Record]) -> list[Epoch]:
    return [record for record in records if isinstance(record, Epoch)]


def metrics_of(run: Run) -> list[dict[str, Any]]:
    """Parse `metrics.jsonl`, and check that each line is complete, valid JSON."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    text = run.metrics.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def timeless(tree: Any) -> Any:
    """A tree in a form that can be compared exactly.

    Arrays become dtype, shape and bytes, floats become text, and times become 0.
    """
    if isinstance(tree, dict):
        return {name: 0 if name in _TIMES else timeless(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [timeless(value) for value in tree]
    if isinstance(tree, np.ndarray):
        return tree.dtype.str, tree.shape, tree.tobytes()
    return repr(tree) if isinstance(tree, float) else tree


def left_by(run: Run) -> dict[str, Any]:
    """Contents of a run folder without times; equal trainings have equal contents.

    The bundled model's score is omitted: a signal may end a finished training before it is measured.
    """
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"last.pth", "best.pth", "config.toml", "metrics.jsonl"}
    return {
        "last": timeless(read_checkpoint(run.last)),
        "best": {name: facts for name, facts in timeless(read_checkpoint(run.best)).items() if name != "bundled"},
        "config": run.config.read_text(),
        "metrics": timeless(metrics_of(run)),
    }


def loaders() -> list[str]:
    """Names of the threads that load batches."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("n2n-loader")]
