"""The tables of a configuration with their keys, defaults and checks."""

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
    """The network: a Sequential that keeps the size and channels of pictures.

    Attributes
    ----------
    init : str
        Initialisation of the weights: "uniform", as PyTorch's convolutions, or "he" (He et al. 2015).
    """

    channels: int = keys.key(keys.whole(1, 96), 3)
    layers: tuple[LayerSpec, ...] = keys.key(keys.layers, ())
    init: str = keys.key(keys.one_of(("uniform", "he")), "uniform")

    def build(self, *, rng: np.random.Generator | None = None) -> Sequential:
        """Build the network with weights drawn by `rng`."""
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
        "dead-leaves", a folder of pictures, or a file of pairs; see `kind` for others.
    size : int
        Side of a training picture, in pixels of the network's input.
    pairs, validation_pairs : int
        Number of pairs of an epoch, and of validation pairs, from held-out pictures.
    noise : str
        The noise model, as "gaussian:25".
    target_noise : str
        Noise model of the targets; empty: the same. Less noisy targets need fewer pairs.
    redraw : bool
        Draw new noise in every epoch.
    recrop : bool
        Cut new crops in every epoch.
    recolour : bool
        Change the colours of half of the crops at random in every epoch.
    shrink : float
        Minimum scale, at most 1: half of the crops of every epoch are scaled by a random factor from this to 1.
    clip_inputs : bool
        Clip half of the inputs and round them to 8 bits; targets never.
    augment : bool
        Flip, rotate and swap the pairs at random in every epoch.
    kind : str
        Kind of the source: "pictures", to which noise is added; "pairs" of shots, in two folders or a table of two
        columns; "bursts", a folder for every scene; "single" noisy pictures; or a "movie", a file of frames or a folder
        of them.
    second : str
        Folder of the targets, for pairs in two folders.
    match_exposure : bool
        Match the brightness of shots to the first of their scene.
    align : bool
        Correct shifts of shots by whole pixels, by cropping them to their common area.
    values : str
        "auto", "display", "linear" or "photons": transform between the pictures' values and what the network sees. A
        training on measured values replaces it by the transform itself, as "linear:91.0~185.0".
    axes : str
        Axes of a movie, as "TZCYX"; empty: as the file says.
    frame_gap : int
        Maximum distance in time of input and target, in frames.
    frames : int
        Number of neighbouring frames of a movie that the network takes as its channels, an odd one.
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
    shrink: float = keys.key(keys.positive(1), 1.0)
    clip_inputs: bool = keys.key(keys.flag, False)
    augment: bool = keys.key(keys.flag, False)
    kind: str = keys.key(keys.one_of(keys.KINDS), "pictures")
    second: str = keys.key(keys.path, "")
    match_exposure: bool = keys.key(keys.flag, False)
    align: bool = keys.key(keys.flag, False)
    values: str = keys.key(keys.values, "auto")
    axes: str = keys.key(keys.axes, "")
    frame_gap: int = keys.key(keys.whole(1, 1000), 1)
    frames: int = keys.key(keys.odd(31), 1)


@dataclass(frozen=True)
class TrainConfig:
    """The training itself.

    Attributes
    ----------
    lr : float
        Learning rate, which the schedule scales.
    momentum : float
        Momentum of SGD.
    betas : (float, float)
        Decay rates of Adam, AdamW and Muon. The default is Adam's, for Muon too.
    bias_lr : float
        Learning rate of biases for Muon, as a fraction of `lr`.
    weight_decay : float
        For all optimisers. The default 0 also holds for AdamW and Muon, whose classes have another default.
    clip_norm : float
        Maximum norm of all gradients together; 0: no clipping.
    average : float
        Decay of the moving average of the weights, which is then validated and saved; 0: no averaging.
    seed : int
        Seed of the weights, the order of the pairs, the crops and the noise.
    init : str
        Checkpoint or bundled model whose weights the training starts from; empty: none.
    freeze : tuple of str
        Patterns of the names of parameters that are not trained.
    """

    epochs: int = keys.key(keys.whole(1, 1_000_000), 10)
    batch_size: int = keys.key(keys.whole(1, 100_000), 100)
    optimizer: str = keys.key(keys.one_of(OPTIMIZERS), "SGD")
    lr: float = keys.key(keys.positive(1000), 1.0)
    momentum: float = keys.key(keys.from_0_to_below(1), 0.0)
    betas: tuple[float, float] = keys.key(keys.betas, (0.9, 0.999))
    bias_lr: float = keys.key(keys.positive(1000), 1.0)
    weight_decay: float = keys.key(keys.from_0_to_below(10), 0.0)
    clip_norm: float = keys.key(keys.from_0_to_below(1e9), 0.0)
    average: float = keys.key(keys.from_0_to_below(1), 0.0)
    loss: str = keys.key(keys.registered(LOSSES), "MSE")
    seed: int = keys.key(keys.whole(0, 2**63 - 1), 0)
    init: str = keys.key(keys.path, "")
    freeze: tuple[str, ...] = keys.key(keys.patterns, ())
