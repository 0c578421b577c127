"""What a training begins with: new weights or those of a checkpoint, and the loss that its pictures need."""

from __future__ import annotations

from dataclasses import replace

from n2n_cli.checkpoints.contents import config_in
from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import Config
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.single_image.many_pictures import SingleImageModel
from n2n_cli.single_image.neighbor2neighbor import NeighborLoss


def config_to_tune(checkpoint: str) -> Config:
    """The configuration that a checkpoint was trained with, of a training that begins with its weights.

    Without the warm-up, which is for new weights, and may be longer than the whole of a fine-tuning.

    Parameters
    ----------
    checkpoint : str
        Its path, or the name of a bundled model.

    Raises
    ------
    CheckpointError, ConfigError
        When it cannot be read, or does not say how it was trained.
    """
    path = choose_model(checkpoint).path
    config = config_in(read_checkpoint(path), path)
    train = replace(config.train, init=checkpoint, freeze=())
    return replace(config, train=train, schedule=replace(config.schedule, warmup=0))


def starting_model(config: Config, *, threads: int | None = None, resumed: bool = False) -> Model:
    """The model that a training begins with: its weights are new, or those that `train.init` names.

    Parameters
    ----------
    resumed : bool
        Whether the weights will be those of the run's own checkpoint: what it once began with may be gone.

    Raises
    ------
    CheckpointError
        When the weights cannot be read; names what does not fit the configuration's network.
    """
    kind = SingleImageModel if config.data.kind == "single" else Model
    if config.train.init and not resumed:
        model = kind.from_checkpoint(choose_model(config.train.init).path, config, threads=threads)
        model.facts.clear()  # how well it once did says nothing about this training
    else:
        model = kind.from_config(config, threads=threads)
    if kind is SingleImageModel:
        model.trainer.criterion = NeighborLoss()
    return model
