"""A checkpoint without what only training needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from n2n_cli.checkpoint import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.errors import CheckpointError
from n2n_cli.model import Model
from n2n_cli.states import config_in

_FACTS = ("epoch", "psnr", "noisy_psnr")


def export(source: Path, target: Path, *, half: bool = False) -> None:
    """Write the weights, the configuration and the scores of a checkpoint, and nothing else.

    Parameters
    ----------
    half : bool
        Whether weights are stored as float16, in half the bytes; they are computed with as float32 all the same.

    Raises
    ------
    CheckpointError, ConfigError
        When the source cannot be read, the target cannot be written, or a weight is too large for float16.
    """
    tree = read_checkpoint(source)
    config = config_in(tree, source)
    weights = unwrap_state_dict(tree, path=source)
    Model.from_config(config, threads=1).network.load_state_dict(weights)  # sees that they fit
    if half:
        with np.errstate(over="ignore"):  # told of below
            weights = {name: values.astype(np.float16) for name, values in weights.items()}
        large = [name for name, values in weights.items() if not np.isfinite(values).all()]
        if large:
            raise CheckpointError(
                f"`{source}` has weights in `{large[0]}` that are too large for float16, which ends at 65,504",
                hint="leave out `--half`",
            )
    facts = {name: tree[name] for name in _FACTS if name in tree}
    write_checkpoint(target, {"model": weights, **facts, "config": config.tables()})
