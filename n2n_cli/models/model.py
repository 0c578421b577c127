"""Model: a network with the way it is trained; from a configuration, from a checkpoint, to a checkpoint."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from n2n_cli.checkpoints.contents import check_resumable, config_in, facts_in, told_of
from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.engine import tiling
from n2n_cli.engine.stoppable import StoppableReplicas
from n2n_cli.errors import ConfigError, ShapeError, TrainingError
from n2n_cli.models.self_ensemble import SelfEnsemble
from n2n_cli.nn import Loss, Module, Optimizer, arguments
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.freezing import trainable
from n2n_cli.nn.functional import Array
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.optim import OPTIMIZERS, clip_gradient_norm
from n2n_cli.system.blas import one_blas_thread
from n2n_cli.system.cpu import available_cores

if TYPE_CHECKING:
    from n2n_cli.engine.workers import Parts

_WITH_CONFIG = "pass the configuration that they were trained with: `--config FILE`"
_GO_ON = "go on with the configuration that the training was begun with"


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
        By default one for each core that this process may use. Results do not depend on it but for rounding.

    Attributes
    ----------
    facts : dict
        What else its checkpoint held (its epoch, its validation PSNR), as it stood there; empty for a new model.
    average : MovingAverage or None
        Of the weights, where the configuration asks for one: then that is what is saved, and measured in `averaged`.
    clip_norm : float
        What the gradients' common norm is cut to; 0: not at all.
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
        self.average: MovingAverage | None = None
        self.clip_norm = 0.0
        if config is not None:
            self.clip_norm = config.train.clip_norm
            if config.train.average:
                self.average = MovingAverage(network.named_parameters(), config.train.average)
        self._config = config
        self._ranks = ALONE
        self._replicas = StoppableReplicas(network, threads=available_cores() if threads is None else threads)
        self._predicting = self._replicas

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
    def channels(self) -> int:
        """Of the pictures that the network takes: as configured, or else the first of 3, 1, 2, 4 that its layers allow.

        Raises
        ------
        ShapeError
            When there is no configuration, and the network takes none of them, or does not keep their size.
        """
        if self._config is not None:
            return self._config.network.channels
        for channels in (3, 1, 2, 4):  # RGB and gray before what only a configuration asks for
            shape = (1, channels, 64 * self.network.period(0), 64 * self.network.period(1))
            with suppress(ShapeError):
                if self.network.output_shape(shape) == shape:
                    return channels
        raise ShapeError("this model's network takes no pictures of 1 to 4 channels, or does not keep their size")

    @property
    def threads(self) -> int:
        """Threads that it computes with."""
        return self._predicting.threads

    def between(self, ask: Callable[[], None]) -> None:
        """Let `ask` be called before each part of a step or a prediction, by any thread.

        What it raises ends them; a step then leaves the weights as they were.
        """
        self._replicas.between = ask

    @contextmanager
    def in_processes(self, parts: Parts) -> Iterator[None]:
        """Take the steps of the block with processes in place of threads; see `ProcessReplicas`."""
        if self.threads == 1:
            yield
            return
        from n2n_cli.engine.workers import ProcessReplicas  # here: what starts processes is not free to import

        alone = self._replicas
        shared = ProcessReplicas(self.network, self.criterion, parts, processes=self.threads)
        shared.between, self._replicas = alone.between, shared
        try:
            yield
        finally:
            alone.between, self._replicas = shared.between, alone
            shared.close()

    def join(self, ranks: Ranks) -> None:
        """Learn together with the same model on other ranks from now on; all are then as the first one's is.

        The gradients become parts of one array, which the ranks add up at each step.
        """
        self._ranks = ranks
        if ranks.count == 1:
            return
        learned = {id(values) for values, _ in self.optimizer.params}
        own = [parameter for _, parameter in self.network.named_parameters() if id(parameter.data) in learned]
        ends = list(itertools.accumulate(parameter.data.size for parameter in own))
        flat = ranks.gradients(ends[-1])
        for parameter, end in zip(own, ends, strict=True):
            parameter.grad = flat[end - parameter.data.size : end].reshape(parameter.data.shape)
        grads = {id(parameter.data): parameter.grad for parameter in own}
        self.optimizer.params = [(values, grads[id(values)]) for values, _ in self.optimizer.params]
        weights, optimizer, average = ranks.from_first(
            lambda: (
                self.network.state_dict(),
                self.optimizer.state_dict(),
                None if self.average is None else self.average.state_dict(),
            )
        )
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
        if self.average is not None and average is not None:
            self.average.load_state_dict(average)

    def predict_as_ensemble(self) -> None:
        """Let each prediction from now on be the mean over eight turns and flips of the picture: see `SelfEnsemble`."""
        ensemble = SelfEnsemble(self.network).train(self.network.training)
        self._predicting = StoppableReplicas(ensemble, threads=self.threads)

    @classmethod
    def from_config(cls, config: Config, *, threads: int | None = None) -> Self:
        """A model with new weights, drawn from the configuration's seed."""
        return cls._built(config, np.random.default_rng(config.train.seed), threads)

    @classmethod
    def _built(cls, config: Config, rng: np.random.Generator, threads: int | None) -> Self:
        train = config.train
        network = config.network.build(rng=rng)
        params = trainable(network, train.freeze)
        own = {"momentum": train.momentum} if train.optimizer == "SGD" else {"betas": train.betas}
        optimizer = OPTIMIZERS[train.optimizer](params, lr=train.lr, weight_decay=train.weight_decay, **own)
        return cls(network, optimizer, LOSSES[train.loss](), config, threads=threads)

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
        model = cls._built(config_in(tree, path) if config is None else config, UNDRAWN, threads)
        model._take(tree, path)
        return model

    def step(self, noisy: Array, target: Array) -> float:
        """One step of the optimiser on one batch; returns the batch's loss before the step.

        Parameters
        ----------
        noisy, target : (N, C, H, W) arrays
            In [0, 1] but for their noise. Where the model learns together with others, this rank's part of the batch,
            which may be empty.

        Raises
        ------
        TrainingError
            When the loss is not finite; the parameters are then as they were.
        StopError
            When what `between` was given raises it, on any rank; the same.
        """
        self.network.zero_grad()  # also of what is frozen, which the optimiser does not know
        loss = 0.0
        if len(noisy) or self._ranks.count == 1:
            with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the loss tells
                loss = self._replicas.accumulate(noisy, target, self.criterion)
        loss = self._ranks.add_up(loss, len(noisy))
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss}", hint="try a smaller learning rate")
        if self.clip_norm:
            clip_gradient_norm(self.optimizer.params, self.clip_norm)
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the next loss tells
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
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

        Raises
        ------
        ArgumentError
            When a number is not whole, or out of range.
        ShapeError
            When the arrays do not have four axes, differ in shape, hold nothing, or do not fit the network.
        TrainingError
            When the loss is not finite.
        """
        epochs = arguments.integer("num_epochs", num_epochs, 0)
        batch_size = arguments.integer("batch_size", batch_size, 1)
        if input.shape != target.shape:
            raise ShapeError(f"the inputs have shape {input.shape}, the targets {target.shape}; they must be alike")
        if input.ndim != 4:
            raise ShapeError(f"`train` got arrays of shape {input.shape}, it needs (N, C, H, W)")
        if len(input) == 0:
            raise ShapeError("there is no pair to learn from: the arrays are empty")
        rng = rng or np.random.default_rng()
        self.network.train()
        losses = []
        for _ in range(epochs):
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
        memory: int | None = None,
        margin: int = 0,
        advance: Callable[[float], None] = lambda part: None,
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
        memory : int, optional
            Bytes that may be taken beside `images` and `out`; by default as `tiling.apply` says.
        margin : int
            Pixels of the pictures' mirror image that the network sees around them.
        advance : function
            Told, by any thread, what part of the work was done; all parts add up to 1.

        Returns
        -------
        (N, C, H, W) array
            The network's output; a network without a final Sigmoid may leave [0, 1].

        Raises
        ------
        ShapeError
            When the array does not fit the network.
        MemoryLimitError
            When `memory` does not hold the smallest tile.
        """
        if images.ndim != 4:
            raise ShapeError(f"`predict` got an array of shape {images.shape}, it needs (N, C, H, W)")
        network = self._predicting.network
        training = network.training
        network.eval()
        try:
            with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
                return tiling.apply(
                    self._predicting,
                    images,
                    before=before,
                    after=after,
                    out=out,
                    memory=memory,
                    margin=margin,
                    advance=advance,
                )
        finally:
            network.train(training)

    def is_finite(self) -> bool:
        """Whether weights, their average and the optimiser's state are: no training goes on from others."""
        own = [parameter for parameter, _ in self.network.param()]
        averaged = [] if self.average is None else self.average.weights.values()
        kept = itertools.chain(*self.optimizer.kept.values())
        return all(np.isfinite(values).all() for values in itertools.chain(own, averaged, kept))

    def averaged(self) -> AbstractContextManager[None]:
        """Let the network have the averaged weights inside the block; its own where there is no average."""
        return nullcontext() if self.average is None else self.average.applied()

    def save(self, path: Path | str, *, resumable: bool = True, **facts: Any) -> None:
        """Write a checkpoint: `torch.load(path, weights_only=True)["model"]` fits the same `torch.nn.Sequential`.

        Parameters
        ----------
        resumable : bool
            Whether a training can go on from it: it then holds the optimiser's state, and, where the weights are
            averaged, the network's own beside the average.
        **facts : plain values or arrays
            What else the checkpoint shall hold.
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
        write_checkpoint(path, tree)

    def load(self, path: Path | str) -> None:
        """Take over the weights (and, if it is one of this program's checkpoints, the optimiser) of a file.

        Raises
        ------
        CheckpointError
            When the file cannot be read, is not safe to read, or does not fit the network.
        """
        tree = read_checkpoint(path)
        self._take(tree, path)
        if isinstance(tree, dict) and isinstance(tree.get("optimizer"), dict) and "lr" in tree["optimizer"]:
            self.optimizer.load_state_dict(tree["optimizer"])

    def resume(self, path: Path | str) -> dict[str, Any]:
        """Be as the model was that saved a resumable checkpoint; gives the facts that it holds.

        Raises
        ------
        CheckpointError
            When it is none, or does not fit.
        """
        tree = read_checkpoint(path)
        check_resumable(tree, path, averaged=self.average is not None)
        self._take(tree, path, hint=_GO_ON)
        with told_of(path, hint=_GO_ON):
            if self.average is not None:
                self.network.load_state_dict(unwrap_state_dict(tree["own_weights"], path=path))
                self.average.load_state_dict({"updates": tree["averaged_steps"], "weights": tree["model"]})
            self.optimizer.load_state_dict(tree["optimizer"])
        return self.facts

    def _take(self, tree: Any, path: Path | str, *, hint: str = _WITH_CONFIG) -> None:
        with told_of(path, hint=hint):
            self.network.load_state_dict(unwrap_state_dict(tree, path=path))
        if self.average is not None:
            self.average = MovingAverage(self.network.named_parameters(), self.average.decay)
        self.facts = facts_in(tree)
