"""Export of checkpoints without training state, or of their mean; also as ONNX.

References
----------
Wortsman et al. (2022), "Robust fine-tuning of zero-shot models", arXiv:2109.01903: the mean of the weights before and
after fine-tuning. "Model soups", arXiv:2203.05482: the mean of the weights of several fine-tuned models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from n2n_cli import __version__
from n2n_cli.checkpoints.contents import config_in, naming_file
from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.errors import CheckpointError
from n2n_cli.models.choice import FOLDER, bundled_models
from n2n_cli.models.onnx_file import write_onnx
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.system.atomic_files import mode_of_copies
from n2n_cli.system.notes import note
from n2n_cli.values.transform import parse_values

MODEL_CARD = FOLDER / "MODEL_CARD.md"
_FACTS = ("epoch", "psnr", "noisy_psnr", "pooled_psnr", "noisy_pooled_psnr")
_WORDS = ("license",)
_TRANSFORM = ("kind", "low", "high", "gain", "variance", "start", "span")


def export(source: Path, target: Path, *, average: Sequence[Path] = (), half: bool = False) -> None:
    """Write the weights, configuration and scores of a checkpoint to a new one.

    Of each path in the configuration, only the last component is written.

    Parameters
    ----------
    average : sequence of Path
        Checkpoints of the same network. The mean of their weights and those of `source` is written, with the
        configuration of `source` and without scores, because none were measured for the mean.
    half : bool
        Store weights as float16, in half the bytes. Computation remains in float32.

    Raises
    ------
    CheckpointError, ConfigError
        If a source cannot be read or holds another network, the target cannot be written, or a weight is too large
        for float16.
    """
    chosen = _read(source, average, half)
    tree = {"model": chosen.weights, **chosen.facts, "config": chosen.config.tables()}
    write_checkpoint(target, tree, mode=mode_of_copies(source, *average))


def export_onnx(source: Path, target: Path, *, average: Sequence[Path] = (), half: bool = False) -> None:
    """Write the network of a checkpoint as an ONNX file: see `onnx_file`.

    Arguments as for `export`. The metadata of the file contain the configuration, the scores and the range or transform
    of the values that the network takes.

    Raises
    ------
    CheckpointError, ConfigError
        As `export`.
    N2NError
        If the package `onnx` is not installed, or ONNX cannot express the network.
    """
    chosen = _read(source, average, half)
    network, channels = chosen.network, chosen.config.network.channels
    network.load_state_dict(chosen.weights)
    facts: dict[str, Any] = {
        "n2n_version": __version__,
        "source": ", ".join(map(_name, (source, *average))),
        "channels": channels,
        "value_range": "0 to 1",
        **chosen.facts,
    }
    if source in bundled_models().values() and not average:
        facts["model_card"] = MODEL_CARD.read_text(encoding="utf-8")
    text = chosen.config.data.values
    if ":" in text:
        values = parse_values(text)
        facts["values"] = text
        facts["transform"] = json.dumps({name: getattr(values, name) for name in _TRANSFORM})
        note(f"`{target}` takes measured values after the transform {text}: see docs/DEPLOY.md")
    facts["config"] = chosen.config.to_toml()
    mode = mode_of_copies(source, *average)
    write_onnx(target, network, channels, half=half, facts={name: str(fact) for name, fact in facts.items()}, mode=mode)


class _Chosen(NamedTuple):
    """Weights to export, their network and configuration, and facts such as scores."""

    network: Module
    weights: dict[str, Array]
    config: Config
    facts: dict[str, Any]


def _read(source: Path, average: Sequence[Path], half: bool) -> _Chosen:
    """Read what `export` writes: no folders of the machine that trained."""
    tree = read_checkpoint(source)
    config = config_in(tree, source)
    network = config.network.build(rng=UNDRAWN)
    weights = unwrap_state_dict(tree, dict(network.named_parameters()), path=source)
    with naming_file(source, hint="it is damaged: its configuration does not describe the network of its weights"):
        network.load_state_dict(weights)
    if average:
        weights = _mean_weights(network, average)
    if half:
        with np.errstate(over="ignore"):  # reported below
            weights = {name: values.astype(np.float16) for name, values in weights.items()}
        large = [name for name, values in weights.items() if not np.isfinite(values).all()]
        if large:
            owner = "the mean" if average else f"`{source}`"
            raise CheckpointError(
                f"{owner} has weights in `{large[0]}` that are too large for float16, at most 65,504",
                hint="leave out `--half`",
            )
    facts = {name: tree[name] for name in _FACTS if isinstance(tree.get(name), int | float) and not average}
    facts |= {name: tree[name] for name in _WORDS if isinstance(tree.get(name), str)}
    return _Chosen(network, weights, config.without_folders(), facts)


def _name(source: Path) -> str:
    return source.stem if source in bundled_models().values() else source.name


def _mean_weights(network: Module, others: Sequence[Path]) -> dict[str, Array]:
    """Mean of a network's weights and those of checkpoints of the same network."""
    means, layers = network.state_dict(), repr(network)
    for path in others:
        tree = read_checkpoint(path)
        with naming_file(path, hint="average checkpoints of the same network; `n2n info FILE` shows a network"):
            weights = unwrap_state_dict(tree, dict(network.named_parameters()), path=path)
            if "config" in tree and repr(config_in(tree, path).network.build(rng=UNDRAWN)) != layers:
                raise CheckpointError("it holds another network")
            network.load_state_dict(weights)
        for name, values in network.state_dict().items():
            means[name] += values
    return {name: values / np.float32(1 + len(others)) for name, values in means.items()}
