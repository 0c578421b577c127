"""Model: a network with the way it is trained; from a configuration, from a checkpoint, to a checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from n2n_cli import tiling
from n2n_cli.checkpoint import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.errors import CheckpointError, ConfigError, ShapeError, TrainingError
from n2n_cli.machine import available_cores, one_blas_thread, small_product
from n2n_cli.nn import Loss, Module, Optimizer, channels_last
from n2n_cli.nn.functional import Array
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.parallel import Team

channels_last.small_product = small_product()


class Model:
    """A network that learns to denoise pictures.

    Parameters
    ----------
    network : Module
        (N, C, H, W) -> (N, C, H, W), in [0, 1].
    optimizer : Optimizer
        Of the network's parameters.
    criterion : Loss
    config : Config, optional
        What it was built from; saved with it, so that `from_checkpoint` can build it again.
    threads : int, optional
        By default one for each core that this process may use. Results do not depend on it.

    Attributes
    ----------
    facts : dict
        What else its checkpoint held (its epoch, its validation PSNR), as it stood there; empty for a new model.
    """

    def __init__(
        self,
        network: Module,
        optimizer: Optimizer,
        criterion: Loss,
        config: Config | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.criterion = criterion
        self.facts: dict[str, Any] = {}
        self._config = config
        self._team = Team(network, threads=available_cores() if threads is None else threads)

    @property
    def config(self) -> Config:
        """What the model was built from.

        Raises
        ------
        ConfigError
            When it was built from a network and not from a configuration.
        """
        if self._config is None:
            raise ConfigError(
                "this model has no configuration: it was built from a network",
                hint="`Model.from_config` and `Model.from_checkpoint` give models that have one",
            )
        return self._config

    @property
    def threads(self) -> int:
        """Threads that it computes with."""
        return self._team.threads

    @classmethod
    def from_config(cls, config: Config, *, threads: int | None = None) -> Self:
        """A model with new weights, drawn from the configuration's seed."""
        network = config.network.build(rng=np.random.default_rng(config.train.seed))
        optimizer = OPTIMIZERS[config.train.optimizer](network.param(), lr=config.train.lr)
        return cls(network, optimizer, LOSSES[config.train.loss](), config, threads=threads)

    @classmethod
    def from_checkpoint(cls, path: Path | str, config: Config | None = None, *, threads: int | None = None) -> Self:
        """The model that a checkpoint holds.

        Parameters
        ----------
        path : path
            A checkpoint of this program; or, where `config` says what network it fits, any state dict in PyTorch's
            zip format.

        Raises
        ------
        CheckpointError
            When the file cannot be read, is not safe to read, or does not fit the network.
        ConfigError
            When the checkpoint's own configuration is wrong.
        """
        tree = read_checkpoint(path)
        if config is None:
            if not isinstance(tree, dict) or not isinstance(tree.get("config"), dict):
                raise CheckpointError(
                    f"`{path}` holds weights but not the network they belong to",
                    hint="name its configuration: `--config configs/ee559.toml`",
                )
            config = Config.from_tables(tree["config"], os.fspath(path))
        model = cls.from_config(config, threads=threads)
        model._take(tree, path)
        return model

    def step(self, noisy: Array, target: Array) -> float:
        """One step of the optimiser on one batch; returns the batch's loss before the step.

        Parameters
        ----------
        noisy, target : (N, C, H, W) arrays
            In [0, 1] but for their noise.

        Raises
        ------
        TrainingError
            When the loss is not finite; the parameters are then as they were.
        """
        self.optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the loss tells
            loss = self._team.accumulate(noisy, target, self.criterion)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss}", hint="try a smaller learning rate")
        self.optimizer.step()
        return loss

    def train(
        self,
        input: Array,
        target: Array,
        num_epochs: int,
        batch_size: int = 100,
        *,
        rng: np.random.Generator | None = None,
    ) -> list[float]:
        """Learn from pairs in memory, in a new random order each epoch.

        Parameters
        ----------
        input, target : (N, C, H, W) arrays
            Two noisy views of the same pictures, in [0, 1] but for their noise.
        num_epochs, batch_size : int
        rng : numpy.random.Generator, optional
            Draws the order.

        Returns
        -------
        list of float
            The mean loss of each epoch.
        """
        if input.shape != target.shape:
            raise ShapeError(f"the inputs have shape {input.shape}, the targets {target.shape}; they must be alike")
        rng = rng or np.random.default_rng()
        self.network.train()
        losses = []
        for _ in range(num_epochs):
            order = rng.permutation(len(input))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            total = sum(self.step(input[batch], target[batch]) * len(batch) for batch in batches)
            losses.append(total / len(input))
        return losses

    def predict(
        self,
        images: Array,
        *,
        before: Callable[[Array], Array] = lambda part: part,
        after: Callable[[Array], Array] = lambda part: part,
        out: Array | None = None,
    ) -> Array:
        """Denoise pictures of any size.

        Parameters
        ----------
        images : (N, C, H, W) array
            In [0, 1], or what `before` brings there.
        before, after : function
            What is done to the input and to the output of the network, a tile at a time.
        out : (N, C, H, W) array, optional
            Takes what `after` gives.

        Returns
        -------
        (N, C, H, W) array
            The network's output; a network without a final Sigmoid may leave [0, 1].
        """
        if images.ndim != 4:
            raise ShapeError(f"`predict` got an array of shape {images.shape}, it needs (N, C, H, W)")
        training = self.network.training
        self.network.eval()
        try:
            with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
                return tiling.apply(self._team, images, before=before, after=after, out=out)
        finally:
            self.network.train(training)

    def save(self, path: Path | str, **facts: Any) -> None:
        """Write a checkpoint: `torch.load(path, weights_only=True)["model"]` fits the same `torch.nn.Sequential`.

        Parameters
        ----------
        **facts : plain values or arrays
            What else the checkpoint shall hold.
        """
        tree: dict[str, Any] = {"model": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), **facts}
        if self._config is not None:
            tree["config"] = self._config.tables()
        write_checkpoint(path, tree)

    def load(self, path: Path | str) -> None:
        """Take over the weights (and, if it is one of this program's checkpoints, the optimiser) of a file."""
        self._take(read_checkpoint(path), path)

    def _take(self, tree: Any, path: Path | str) -> None:
        try:
            self.network.load_state_dict(unwrap_state_dict(tree, path=path))
        except CheckpointError as error:
            message = error.message if str(path) in error.message else f"`{path}`: {error.message}"
            raise CheckpointError(message, hint=error.hint) from None
        if isinstance(tree, dict) and isinstance(tree.get("optimizer"), dict) and "lr" in tree["optimizer"]:
            self.optimizer.load_state_dict(tree["optimizer"])
        own = tree.items() if isinstance(tree, dict) and "model" in tree else ()
        self.facts = {name: value for name, value in own if name not in ("model", "optimizer", "config")}
