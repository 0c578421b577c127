"""Model that a training starts with, and its loss.

Its weights are new or those of a checkpoint; the kind of training data decides the loss.
"""

from __future__ import annotations

from dataclasses import replace

from n2n_cli.checkpoints.contents import config_in
from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import Config
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.single_image.many_pictures import SingleImageModel


def config_to_tune(checkpoint: str) -> Config:
    """Make the configuration for fine-tuning a checkpoint.

    It is the configuration of the checkpoint, with these changes: training starts from its weights; there is no
    warm-up, which is for new weights and may be longer than the whole fine-tuning; no layer is frozen; and the
    transform of values is chosen for the new pictures.

    Parameters
    ----------
    checkpoint : str
        Path of the checkpoint, or name of a bundled model.

    Raises
    ------
    CheckpointError, ConfigError
        When the checkpoint cannot be read or holds no configuration.
    """
    path = choose_model(checkpoint).path
    config = config_in(read_checkpoint(path), path)
    train = replace(config.train, init=checkpoint, freeze=())
    data = replace(config.data, values="auto")  # other pictures may have another range
    return replace(config, data=data, train=train, schedule=replace(config.schedule, warmup=0))


def starting_model(config: Config, *, threads: int | None = None, resumed: bool = False) -> Model:
    """Build the model with new weights or with those that `train.init` names.

    Parameters
    ----------
    resumed : bool
        Ignore `train.init`, whose file may no longer exist: the run's own checkpoint will be loaded.

    Raises
    ------
    CheckpointError
        When the weights cannot be read or do not fit the configuration's network.
    """
    kind = SingleImageModel if config.data.kind == "single" else Model
    if config.train.init and not resumed:
        model = kind.from_checkpoint(choose_model(config.train.init).path, config, threads=threads)
        model.facts.clear()  # its scores say nothing about this training
    else:
        model = kind.from_config(config, threads=threads)
    return model
