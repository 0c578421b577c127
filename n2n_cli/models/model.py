"""Model: a network with its optimiser, loss and checkpoints.

A model is built from layers, from a configuration or from a checkpoint. It can be trained, denoise images, and be
saved.
"""

from __future__ import annotations

import itertools
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np

from n2n_cli.checkpoints.contents import check_resumable, config_in, facts_in, naming_file
from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.engine.executor import Executor
from n2n_cli.errors import ConfigError, ShapeError
from n2n_cli.models.predictor import Predictor
from n2n_cli.models.trainer import Trainer
from n2n_cli.nn import Loss, Module, Optimizer, arguments
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.freezing import trainable
from n2n_cli.nn.functional import Array
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.nn.losses import LOSSES, KnownOnly
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.state import LARGEST_WEIGHT
from n2n_cli.values.transform import Values, parse_values

_WITH_CONFIG = "pass the configuration that they were trained with: `--config FILE`"
_RESUME = "resume with the configuration that the training was started with"


class Model:
    """A network that learns to denoise images.

    Parameters
    ----------
    network : Module
        (N, C, H, W) -> (N, C, H, W), in [0, 1].
    optimizer : Optimizer
        Optimiser of the network's parameters.
    criterion : Loss
        The loss that training minimises.
    config : Config, optional
        The configuration that the network was built from. It is saved with the weights, so that `from_checkpoint` can
        build the network again.
    threads : int, optional
        Number of threads. Default: one per available core. Results do not depend on it, except for rounding.

    Attributes
    ----------
    facts : dict
        Other contents of the model's checkpoint, such as epoch and validation PSNR; empty for a new model.
    trainer : Trainer
    predictor : Predictor
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
        self.facts: dict[str, Any] = {}
        self._config = config
        channels = None if config is None else config.network.channels
        self.predictor = Predictor.of(network, channels, threads=threads)
        average, clip_norm = None, 0.0
        if config is not None:
            clip_norm = config.train.clip_norm
            if config.train.average:
                average = MovingAverage(network.named_parameters(), config.train.average)
        self.trainer = Trainer(self.predictor.executor, optimizer, criterion, average=average, clip_norm=clip_norm)

    @property
    def config(self) -> Config:
        """The configuration that the model was built from.

        Raises
        ------
        ConfigError
            If the model was built from a network and not from a configuration.
        """
        if self._config is None:
            raise ConfigError(
                "this model has no configuration: it was built from a network",
                hint="`Model.from_config` and `Model.from_checkpoint` build models that have one",
            )
        return self._config

    @property
    def values(self) -> Values | None:
        """Transform of the measured values in training; None for display pictures."""
        text = "auto" if self._config is None else self._config.data.values
        return parse_values(text) if ":" in text else None

    @property
    def frames(self) -> int:
        """Number of movie frames that the network takes as channels; 1 for pictures."""
        return 1 if self._config is None else self._config.data.frames

    @property
    def executor(self) -> Executor:
        """The compiled network."""
        return self.trainer.executor

    @property
    def optimizer(self) -> Optimizer:
        """The trainer's optimiser."""
        return self.trainer.optimizer

    @property
    def criterion(self) -> Loss:
        """The trainer's loss."""
        return self.trainer.criterion

    @property
    def average(self) -> MovingAverage | None:
        """Moving average of the weights; None if the configuration has none."""
        return self.trainer.average

    @property
    def channels(self) -> int:
        """Number of channels of the images that the network takes.

        Raises `ShapeError` as `Predictor.channels` does.
        """
        return self.predictor.channels

    @property
    def threads(self) -> int:
        """Number of threads that the model computes with."""
        return self.predictor.threads

    def predict_as_ensemble(self) -> None:
        """Average all later predictions over eight flips and rotations of the image."""
        self.predictor = self.predictor.as_ensemble()

    @classmethod
    def from_config(cls, config: Config, *, threads: int | None = None) -> Self:
        """Build a model with random weights, drawn with the configuration's seed."""
        return cls._built(config, np.random.default_rng(config.train.seed), threads)

    @classmethod
    def _built(cls, config: Config, rng: np.random.Generator, threads: int | None) -> Self:
        train = config.train
        network = config.network.build(rng=rng)
        params = trainable(network, train.freeze)
        own: dict[str, Any] = {"momentum": train.momentum} if train.optimizer == "SGD" else {"betas": train.betas}
        if train.optimizer == "Muon":
            own["bias_lr"] = train.bias_lr
        optimizer = OPTIMIZERS[train.optimizer](params, lr=train.lr, weight_decay=train.weight_decay, **own)
        return cls(network, optimizer, cls._criterion_of(config), config, threads=threads)

    @staticmethod
    def _criterion_of(config: Config) -> Loss:
        """Loss for a configuration."""
        loss = LOSSES[config.train.loss]()
        return KnownOnly(loss) if config.data.kind == "movie" else loss

    @classmethod
    def from_checkpoint(cls, path: Path | str, config: Config | None = None, *, threads: int | None = None) -> Self:
        """Build the model of a checkpoint, with its weights.

        Parameters
        ----------
        path : path
            A checkpoint of this program. With `config`, which describes the network, also any state dict in PyTorch's
            zip format.

        Raises
        ------
        CheckpointError
            If the file cannot be read, is not safe to read, or does not fit the network.
        ConfigError
            If the configuration in the checkpoint is invalid.
        """
        tree = read_checkpoint(path)
        model = cls._built(config_in(tree, path) if config is None else config, UNDRAWN, threads)
        model._load_tree(tree, path, hint=_WITH_CONFIG if config is None else _other_network(config))
        return model

    def step(self, noisy: Array, target: Array) -> float:
        """Take one optimiser step on a batch, as `Trainer.step`; return its loss."""
        return self.trainer.step(noisy, target)

    def train(
        self,
        input: Array,
        target: Array,
        num_epochs: int,
        batch_size: int = 100,
        *,
        rng: np.random.Generator | None = None,
    ) -> list[float]:
        """Train on pairs in memory, in a new random order each epoch.

        Parameters
        ----------
        input, target : (N, C, H, W) arrays
            Two noisy versions of the same pictures. Without noise, their values are in [0, 1].
        num_epochs, batch_size : int
        rng : numpy.random.Generator, optional
            Draws the order.

        Returns
        -------
        list of float
            The mean loss of each epoch.

        Raises
        ------
        ArgumentError
            If a number is not an integer or out of range.
        ShapeError
            If the arrays do not have four axes, differ in shape, are empty, or do not fit the network.
        TrainingError
            If the loss is not finite.
        """
        epochs = arguments.integer("num_epochs", num_epochs, 0)
        batch_size = arguments.integer("batch_size", batch_size, 1)
        if input.shape != target.shape:
            raise ShapeError(f"the inputs have shape {input.shape}, the targets {target.shape}; they must be equal")
        if input.ndim != 4:
            raise ShapeError(f"`train` got arrays of shape {input.shape}, it needs (N, C, H, W)")
        if len(input) == 0:
            raise ShapeError("there is no pair to learn from: the arrays are empty")
        rng = rng or np.random.default_rng()
        losses = []
        for _ in range(epochs):
            order = rng.permutation(len(input))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            total = sum(self.step(input[batch], target[batch]) * len(batch) for batch in batches)
            losses.append(total / len(input))
        return losses

    def predict(self, images: Array, **options: Any) -> Array:
        """Denoise (N, C, H, W) images of any size; options as `Predictor.predict`."""
        return self.predictor.predict(images, **options)

    def is_finite(self) -> bool:
        """True if training can continue from the current values.

        Weights, their average and the optimiser's state are all finite, and no weight is too large to load.
        """
        own = [parameter for parameter, _ in self.network.param()]
        averaged = [] if self.average is None else self.average.weights.values()
        kept = itertools.chain(*self.optimizer.kept.values())
        return all(np.isfinite(values).all() for values in kept) and all(
            np.abs(values).max(initial=0) <= LARGEST_WEIGHT for values in itertools.chain(own, averaged)
        )

    def averaged(self) -> AbstractContextManager[None]:
        """Context in which the network has the averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.applied()

    def save(self, path: Path | str, *, resumable: bool = True, follow_links: bool = True, **facts: Any) -> None:
        """Write a checkpoint that PyTorch can read.

        `torch.load(path, weights_only=True)["model"]` is a state dict of the same `torch.nn.Sequential`.

        Parameters
        ----------
        resumable : bool
            Include the state that is needed to resume the training: the optimiser's state and, if weights are averaged,
            the weights before averaging.
        follow_links : bool
            If True, replace the file that a symbolic link leads to. If False, refuse a link.
        **facts : plain values or arrays
            Other contents of the checkpoint.
        """
        own = self.network.state_dict()
        tree: dict[str, Any] = {"model": own if self.average is None else self.average.weights, **facts}
        if resumable:
            tree["optimizer"] = self.optimizer.state_dict()
            if self.average is not None:
                tree["own_weights"] = own
                tree["averaged_steps"] = self.average.updates
        if self._config is not None:
            tree["config"] = self._config.tables()
        write_checkpoint(path, tree, follow_links=follow_links)

    def load(self, path: Path | str) -> None:
        """Load the weights of a checkpoint and, if present, its optimiser state.

        Only a resumable checkpoint of this program has optimiser state.

        Raises
        ------
        CheckpointError
            If the file cannot be read, is not safe to read, or does not fit the network.
        """
        tree = read_checkpoint(path)
        self._load_tree(tree, path)
        if isinstance(tree, dict) and isinstance(tree.get("optimizer"), dict) and "lr" in tree["optimizer"]:
            self.optimizer.load_state_dict(tree["optimizer"])

    def resume(self, path: Path | str) -> dict[str, Any]:
        """Restore the state in a resumable checkpoint; return its facts.

        Raises
        ------
        CheckpointError
            If the file is not a resumable checkpoint, or does not fit the network.
        """
        tree = read_checkpoint(path)
        check_resumable(tree, path, averaged=self.average is not None)
        self._load_tree(tree, path, hint=_RESUME)
        with naming_file(path, hint=_RESUME):
            if self.average is not None:
                self._load_weights(tree["own_weights"], path)
                self.average.load_state_dict({"updates": tree["averaged_steps"], "weights": tree["model"]})
            self.optimizer.load_state_dict(tree["optimizer"])
        return self.facts

    def _load_tree(self, tree: Any, path: Path | str, *, hint: str = _WITH_CONFIG) -> None:
        """Load weights and facts from the contents of a checkpoint."""
        with naming_file(path, hint=hint):
            self._load_weights(tree, path)
        if self.average is not None:
            self.trainer.average = MovingAverage(self.network.named_parameters(), self.average.decay)
        self.facts = facts_in(tree)

    def _load_weights(self, tree: Any, path: Path | str) -> None:
        names = dict(self.network.named_parameters())
        self.network.load_state_dict(unwrap_state_dict(tree, names, path=path))


def _other_network(config: Config) -> str:
    return f"`{config.origin}` describes another network; `n2n info {shlex.quote(config.origin)}` shows it"
