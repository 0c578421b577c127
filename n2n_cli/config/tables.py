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
    """The network: a Sequential that keeps the channels and size of pictures.

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
    """Training and validation pairs.

    Attributes
    ----------
    source : str
        "dead-leaves", a folder of pictures, or a file of pairs; see `kind` for others.
    size : int
        Side of a training picture, in pixels of the network's input.
    pairs, validation_pairs : int
        Number of pairs per epoch, and of validation pairs, which are from held-out pictures.
    noise : str
        Noise model, such as "gaussian:25".
    target_noise : str
        Noise model of the targets; if empty, that of the inputs. Less noisy targets need fewer pairs.
    redraw : bool
        Draw new noise in every epoch.
    recrop : bool
        Choose new crops in every epoch.
    recolour : bool
        Change the colours of half of the crops at random in every epoch.
    gray : float
        Share of the crops of every epoch that are gray, with the same noise in all channels.
    shrink : float
        Minimum scale, at most 1: half of the crops of every epoch are scaled by a random factor from this to 1.
    clip_inputs : bool
        Clip half of the inputs and round them to 8 bits. Targets are never clipped.
    augment : bool
        Flip, rotate and swap the pairs at random in every epoch.
    kind : str
        Kind of the source: "pictures", to which noise is added; "pairs" of shots, in two folders or a table of two
        columns; "bursts", with a folder for every scene; "single" noisy pictures; or a "movie", a file or a folder of
        frames.
    second : str
        Folder of the targets, for pairs in two folders.
    match_exposure : bool
        Match the brightness of shots to the first shot of their scene.
    align : bool
        Correct shifts of shots by whole pixels, by cropping them to their common area.
    values : str
        "auto", "display", "linear" or "photons": transform between the pictures' values and network input. A training
        on measured values replaces it by the transform itself, such as "linear:91.0~185.0".
    axes : str
        Axes of a movie, such as "TZCYX"; if empty, those that the file names.
    frame_gap : int
        Maximum distance in time of input and target, in frames.
    frames : int
        Odd number of neighbouring frames of a movie that the network takes as its channels.
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
    gray: float = keys.key(keys.from_0_to_below(1), 0.0)
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
    """Optimiser, loss and length of a training.

    Attributes
    ----------
    lr : float
        Learning rate, which the schedule scales.
    momentum : float
        Momentum of SGD.
    betas : (float, float)
        Decay rates of Adam, AdamW and Muon. The default is that of Adam, also for Muon.
    bias_lr : float
        Learning rate of biases with Muon, as a fraction of `lr`.
    weight_decay : float
        Weight decay of all optimisers. The default is 0, also for AdamW and Muon, whose classes have other defaults.
    clip_norm : float
        Maximum total norm of the gradients; 0: no clipping.
    average : float
        Decay of the moving average of the weights; the averaged weights are validated and saved. 0: no averaging.
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
