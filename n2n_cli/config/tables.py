"""The tables of a configuration, each with its keys, their defaults and what they may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n2n_cli.config import keys
from n2n_cli.config.keys import DEAD_LEAVES
from n2n_cli.nn import Sequential
from n2n_cli.nn.he import start_as_he
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.spec import LayerSpec, build


@dataclass(frozen=True)
class NetworkConfig:
    """The network: a Sequential that gives pictures of the size and channels that it gets.

    Attributes
    ----------
    init : str
        How its weights start: "uniform", as PyTorch's convolutions do, or "he" (He et al. 2015).
    """

    channels: int = keys.key(keys.whole(1, 4), 3)
    layers: tuple[LayerSpec, ...] = keys.key(keys.layers, ())
    init: str = keys.key(keys.one_of(("uniform", "he")), "uniform")

    def build(self, *, rng: np.random.Generator | None = None) -> Sequential:
        """The network with weights drawn by `rng`."""
        rng = np.random.default_rng() if rng is None else rng
        network = build(self.layers, rng=rng)
        if self.init == "he":
            start_as_he(network, rng=rng)
        return network


@dataclass(frozen=True)
class DataConfig:
    """The training pairs.

    Attributes
    ----------
    source : str
        "dead-leaves", a folder of pictures, or a file of pairs; where `kind` says so, something else.
    size : int
        Side of a training picture, in pixels of the network's input.
    pairs, validation_pairs : int
        How many pairs make an epoch, and how many of held-out pictures measure it.
    noise : str
        The noise model, as "gaussian:25".
    target_noise : str
        That of the targets, where it is another: the less noisy they are, the fewer it takes to learn as much. Empty:
        the same.
    redraw : bool
        Whether every epoch sees new noise on its pictures, or the same pairs again.
    recrop : bool
        Whether every epoch cuts its pairs from other places of the pictures.
    recolour : bool
        Whether every epoch gives half of its crops other colours.
    shrink : float
        Half of the crops of every epoch are cut from pictures made smaller, to a part of their size between this and 1.
    clip_inputs : bool
        Whether half of the inputs, and no target, are clipped and rounded as pictures of 8 bits are.
    augment : bool
        Whether every epoch flips and turns its pairs at random, and takes at random which of the two is the target.
    kind : str
        What the source holds: "pictures", to which noise is added; "pairs" of shots, in two folders or a table of two
        columns; "bursts", a folder for every scene; or "single" noisy pictures.
    second : str
        Of pairs in two folders, the one with the targets.
    match_exposure : bool
        Whether shots are made as bright as the first of their scene.
    align : bool
        Whether shots are cut to what all of their scene show, where they are shifted by whole pixels.
    """

    source: str = keys.key(keys.source, DEAD_LEAVES)
    size: int = keys.key(keys.whole(4, 1024), 32)
    pairs: int = keys.key(keys.whole(1, 100_000_000), 50_000)
    validation_pairs: int = keys.key(keys.whole(1, 1_000_000), 1000)
    noise: str = keys.key(keys.noise, "gaussian:25")
    target_noise: str = keys.key(keys.noise_or_none, "")
    redraw: bool = keys.key(keys.flag, True)
    recrop: bool = keys.key(keys.flag, False)
    recolour: bool = keys.key(keys.flag, False)
    shrink: float = keys.key(keys.number(0, 1), 1.0)
    clip_inputs: bool = keys.key(keys.flag, False)
    augment: bool = keys.key(keys.flag, False)
    kind: str = keys.key(keys.one_of(keys.KINDS), "pictures")
    second: str = keys.key(keys.path, "")
    match_exposure: bool = keys.key(keys.flag, False)
    align: bool = keys.key(keys.flag, False)


@dataclass(frozen=True)
class TrainConfig:
    """The training itself.

    Attributes
    ----------
    lr : float
        Learning rate, of which the schedule takes parts.
    momentum : float
        Of SGD.
    betas : (float, float)
        Of Adam, AdamW and Muon. The default is Adam's, for Muon too.
    weight_decay : float
        Of every optimiser; without it there is none, also with AdamW and Muon, whose classes have one by default.
    clip_norm : float
        What the gradients' common norm is cut to; 0: not at all.
    average : float
        Decay of the moving average of the weights, which then is what is measured and saved; 0: none.
    seed : int
        Seeds the weights, the order, the crops and the noise.
    init : str
        The checkpoint, or the name of a bundled model, whose weights the training starts from; none where it is empty.
    freeze : tuple of str
        Patterns of the parameters that stay as they are, by name.
    """

    epochs: int = keys.key(keys.whole(1, 1_000_000), 10)
    batch_size: int = keys.key(keys.whole(1, 100_000), 100)
    optimizer: str = keys.key(keys.one_of(OPTIMIZERS), "SGD")
    lr: float = keys.key(keys.number(0, 1000), 1.0)
    momentum: float = keys.key(keys.part(1), 0.0)
    betas: tuple[float, float] = keys.key(keys.betas, (0.9, 0.999))
    weight_decay: float = keys.key(keys.part(10), 0.0)
    clip_norm: float = keys.key(keys.part(1e9), 0.0)
    average: float = keys.key(keys.part(1), 0.0)
    loss: str = keys.key(keys.registered(LOSSES), "MSE")
    seed: int = keys.key(keys.whole(0, 2**63 - 1), 0)
    init: str = keys.key(keys.path, "")
    freeze: tuple[str, ...] = keys.key(keys.patterns, ())
