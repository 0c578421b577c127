"""Export checkpoints without their training state, or the mean of several.

References
----------
Wortsman et al. (2022), "Robust fine-tuning of zero-shot models", arXiv:2109.01903: the mean of the weights before and
after fine-tuning. "Model soups", arXiv:2203.05482: the mean of the weights of several fine-tuned models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from n2n_cli.checkpoints.contents import config_in, naming_file
from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.errors import CheckpointError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.system.atomic_files import mode_of_copies

_FACTS = ("epoch", "psnr", "noisy_psnr", "pooled_psnr", "noisy_pooled_psnr")


def export(source: Path, target: Path, *, average: Sequence[Path] = (), half: bool = False) -> None:
    """Write the weights, configuration and scores of a checkpoint to a new one.

    Parameters
    ----------
    average : sequence of Path
        Checkpoints of the same network. The mean of their weights and those of `source` is written, with the
        configuration of `source` and without scores, which are those of no single checkpoint.
    half : bool
        Store weights as float16, in half the bytes. Computation remains in float32.

    Raises
    ------
    CheckpointError, ConfigError
        When a source cannot be read or holds another network, the target cannot be written, or a weight is too large
        for float16.
    """
    tree = read_checkpoint(source)
    config = config_in(tree, source)
    network = config.network.build(rng=UNDRAWN)
    weights = unwrap_state_dict(tree, dict(network.named_parameters()), path=source)
    with naming_file(source, hint="it is damaged: a checkpoint of `n2n train` holds the configuration of its weights"):
        network.load_state_dict(weights)
    if average:
        weights = _mean_weights(network, average)
    if half:
        with np.errstate(over="ignore"):  # reported below
            weights = {name: values.astype(np.float16) for name, values in weights.items()}
        large = [name for name, values in weights.items() if not np.isfinite(values).all()]
        if large:
            of = "the mean" if average else f"`{source}`"
            raise CheckpointError(
                f"{of} has weights in `{large[0]}` that are too large for float16, which ends at 65,504",
                hint="leave out `--half`",
            )
    facts = {name: tree[name] for name in _FACTS if isinstance(tree.get(name), int | float) and not average}
    tree = {"model": weights, **facts, "config": config.tables()}
    write_checkpoint(target, tree, mode=mode_of_copies(source, *average))


def _mean_weights(network: Module, others: Sequence[Path]) -> dict[str, Array]:
    """Mean of a network's weights and those of checkpoints of the same network."""
    means, kind = network.state_dict(), repr(network)
    for path in others:
        tree = read_checkpoint(path)
        with naming_file(path, hint="only checkpoints of one network have a mean; `n2n info FILE` shows a network"):
            weights = unwrap_state_dict(tree, dict(network.named_parameters()), path=path)
            if "config" in tree and repr(config_in(tree, path).network.build(rng=UNDRAWN)) != kind:
                raise CheckpointError("it holds another network")
            network.load_state_dict(weights)
        for name, values in network.state_dict().items():
            means[name] += values
    return {name: values / np.float32(1 + len(others)) for name, values in means.items()}
