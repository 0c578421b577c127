"""Noise models: what turns a clean picture into the noisy ones that a network learns from.

A model is written `name:strength`, as in `gaussian:25`; of a range, as in `gaussian:0-50`, every view has a strength of
its own. A model draws independent noisy views of a clean picture and never clips or rounds them: that would give the
noise a mean, which Noise2Noise then learns (Lehtinen et al. 2018, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.lettering import cover_with_text
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.pixels import to_float


@dataclass(frozen=True)
class Strength:
    """A number, or a range that every view draws one from, all equally likely."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        return self.low if self.low == self.high else float(rng.uniform(self.low, self.high))

    def mean_square(self) -> float:
        """Of what is drawn."""
        return (self.low**2 + self.low * self.high + self.high**2) / 3

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}-{self.high:g}"


class NoiseModel:
    """A way to draw noisy views of a picture.

    Attributes
    ----------
    scale : int
        Pixels of the source, along each axis, that make one pixel of a view.
    floor : str
        Where the Noise2Noise loss levels off, for the log.
    """

    name: ClassVar[str]
    example: ClassVar[str]
    """How it is written."""
    needed: ClassVar[str]
    """What its strengths must be."""
    strengths: ClassVar[int] = 1
    """Numbers behind its name."""
    scale: int = 1
    floor: str

    def __init__(self, *strengths: Strength) -> None:
        raise NotImplementedError

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        """(H*scale, W*scale, C) source, integer or in [0, 1] -> (H, W, C) float32 view, noisy."""
        raise NotImplementedError

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        """A view to learn from: the same, but for models whose views are not the clean picture in the mean."""
        return self.draw(source, rng=rng)

    def clean(self, source: Array) -> Array:
        """(H*scale, W*scale, C) source -> (H, W, C) float32: what the views are noisy versions of."""
        return to_float(source)


class Gaussian(NoiseModel):
    """Independent normal noise on every value.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation in grey levels of 255.
    """

    name, example, needed = "gaussian", "gaussian:25", "from 0 to 255 grey levels"

    def __init__(self, sigma_255: Strength | float) -> None:
        self.sigma_255 = _within(self, sigma_255, 0, 255)
        self.floor = f"the noise variance, {self.sigma_255.mean_square() / 255**2:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        sigma = np.float32(self.sigma_255.draw(rng) / 255)
        view = self._standard(source.shape, rng=rng)
        view *= sigma
        view += to_float(source)
        return view

    def _standard(self, shape: Shape, *, rng: np.random.Generator) -> Array:
        """(H, W, C) noise of variance 1."""
        return rng.standard_normal(shape, dtype=np.float32)

    def __str__(self) -> str:
        return f"gaussian:{self.sigma_255}"


class Grain(Gaussian):
    """Normal noise, in half of the views such as pictures have that a camera or a scanner has processed.

    That hangs together between neighbouring pixels, as after a Gaussian blur, and between channels: some of it is gray,
    or all. A network that has seen nothing but independent noise takes any other for detail, and keeps it.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation in grey levels of 255, of all of it.
    blur : Strength or float
        Standard deviation of the blur, in pixels.
    """

    name, example, strengths = "grain", "grain:0-50,0-1", 2
    needed = "from 0 to 255 grey levels, and from 0 to 8 pixels"

    def __init__(self, sigma_255: Strength | float, blur: Strength | float) -> None:
        super().__init__(sigma_255)
        self.blur = _within(self, blur, 0, 8)

    def _standard(self, shape: Shape, *, rng: np.random.Generator) -> Array:
        noise = super()._standard(shape, rng=rng)
        if rng.integers(2):
            # Of the variance, between channels; of a gray picture's noise all is.
            shared = min(1, rng.uniform(0, 1.25))
            gray = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
            noise = np.float32(math.sqrt(1 - shared)) * noise + np.float32(math.sqrt(shared)) * gray
            noise = _blurred(noise, self.blur.draw(rng))
        return noise

    def __str__(self) -> str:
        return f"grain:{self.sigma_255},{self.blur}"


def _blurred(noise: Array, sigma: float) -> Array:
    """(H, W, C) white noise, blurred as if it went on beyond its edges with the opposite ones; its variance stays."""
    reach = math.ceil(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps /= np.linalg.norm(taps)
    for axis in (0, 1):
        noise = sum(
            (np.float32(tap) * np.roll(noise, shift, axis) for shift, tap in enumerate(taps, -reach)),
            start=np.zeros_like(noise),
        )
    return noise


class Poisson(NoiseModel):
    """Shot noise: the number of photons that a pixel counts, divided by their mean number on white.

    Parameters
    ----------
    peak : Strength or float
        Photons that a white pixel counts in the mean; fewer are more noise.
    """

    name, example, needed = "poisson", "poisson:30", "photons on white, from 0.1 to 1000000"

    def __init__(self, peak: Strength | float) -> None:
        self.peak = _within(self, peak, 0.1, 1e6)
        self.floor = "the mean of the pictures, divided by the photons on white"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        peak = self.peak.draw(rng)
        counts = rng.poisson(np.clip(to_float(source), 0, 1) * peak)
        return (counts / peak).astype(np.float32)

    def __str__(self) -> str:
        return f"poisson:{self.peak}"


class PoissonGaussian(NoiseModel):
    """Shot noise, and the normal noise that a camera adds when it reads the pixels.

    Parameters
    ----------
    peak : Strength or float
        Photons that a white pixel counts in the mean.
    sigma_255 : Strength or float
        Standard deviation of what is added, in grey levels of 255.
    """

    name, example, strengths = "poisson-gaussian", "poisson-gaussian:30,5", 2
    needed = "photons on white, from 0.1 to 1000000, and from 0 to 255 grey levels"

    def __init__(self, peak: Strength | float, sigma_255: Strength | float) -> None:
        self._shots = Poisson(_within(self, peak, 0.1, 1e6))
        self._reading = Gaussian(_within(self, sigma_255, 0, 255))
        self.floor = f"{self._shots.floor}, and {self._reading.sigma_255.mean_square() / 255**2:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._reading.draw(self._shots.draw(source, rng=rng), rng=rng)

    def __str__(self) -> str:
        return f"poisson-gaussian:{self._shots.peak},{self._reading.sigma_255}"


class Bernoulli(NoiseModel):
    """Pixels that are lost: black in all channels. Targets are brightened so that their mean is the clean picture.

    Parameters
    ----------
    lost : Strength or float
        Part of the pixels.
    """

    name, example, needed = "bernoulli", "bernoulli:0.5", "the part of the pixels that are lost, from 0 to 0.95"
    floor = "the mean square of the pictures, times lost / (1 - lost)"

    def __init__(self, lost: Strength | float) -> None:
        self.lost = _within(self, lost, 0, 0.95)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._drawn(source, rng)[0]

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        view, lost = self._drawn(source, rng)
        return view / np.float32(1 - lost)

    def _drawn(self, source: Array, rng: np.random.Generator) -> tuple[Array, float]:
        lost = self.lost.draw(rng)
        kept = rng.random((*source.shape[:2], 1), dtype=np.float32) >= lost
        return to_float(source) * kept, lost

    def __str__(self) -> str:
        return f"bernoulli:{self.lost}"


class Impulse(NoiseModel):
    """Pixels that show a random colour instead. Targets are stretched so that their mean is the clean picture.

    Parameters
    ----------
    wrong : Strength or float
        Part of the pixels.
    """

    name, example, needed = "impulse", "impulse:0.3", "the part of the pixels that are wrong, from 0 to 0.95"
    floor = "the mean square of what the wrong colours change, over (1 - wrong)"

    def __init__(self, wrong: Strength | float) -> None:
        self.wrong = _within(self, wrong, 0, 0.95)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._drawn(source, rng)[0]

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        # A value's mean is (1 - wrong) * clean + wrong / 2.
        view, wrong = self._drawn(source, rng)
        view -= np.float32(wrong / 2)
        view /= np.float32(1 - wrong)
        return view

    def _drawn(self, source: Array, rng: np.random.Generator) -> tuple[Array, float]:
        wrong = self.wrong.draw(rng)
        hit = rng.random((*source.shape[:2], 1), dtype=np.float32) < wrong
        return np.where(hit, rng.random(source.shape, dtype=np.float32), to_float(source)), wrong

    def __str__(self) -> str:
        return f"impulse:{self.wrong}"


class Text(NoiseModel):
    """Random letters all over the picture. Their mean is not zero: the loss has to be L1, whose target is the median.

    Parameters
    ----------
    covered : Strength or float
        Part of the pixels under letters, about.
    """

    name, example, needed = "text", "text:0.25", "the part of the pixels under letters, from 0 to 0.45"
    floor = "the mean difference that the letters make; the loss should be L1"

    def __init__(self, covered: Strength | float) -> None:
        self.covered = _within(self, covered, 0, 0.45)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return cover_with_text(to_float(source), self.covered.draw(rng), rng=rng)

    def __str__(self) -> str:
        return f"text:{self.covered}"


class Pixelate(NoiseModel):
    """Shrinking by a block size, where each pixel of a view is one random source pixel of its block.

    This is the noise of the EPFL EE-559 project: white, of zero mean, nothing in flat areas, strong at edges. The clean
    picture is the mean of each block.

    Parameters
    ----------
    block : Strength or float
        Side of a block, in source pixels; no range.
    """

    name, example, needed = "pixelate", "pixelate:8", "a whole number from 2 to 64 pixels"
    floor = "the mean variance inside a block"

    def __init__(self, block: Strength | float) -> None:
        side = _within(self, block, 2, 64)
        if side.low != side.high or side.low != int(side.low):
            raise ArgumentError(self.name, str(side), self.needed)
        self.scale = int(side.low)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        h, w = source.shape[0] // self.scale, source.shape[1] // self.scale
        picks = rng.integers(self.scale * self.scale, size=(h, w), dtype=np.int32)  # the same for all channels
        rows = np.arange(h, dtype=np.int32)[:, None] * self.scale + picks // self.scale
        columns = np.arange(w, dtype=np.int32) * self.scale + picks % self.scale
        return to_float(source[rows, columns])

    def clean(self, source: Array) -> Array:
        h, w = source.shape[0] // self.scale, source.shape[1] // self.scale
        whole = to_float(source[: h * self.scale, : w * self.scale])
        blocks = whole.reshape(h, self.scale, w, self.scale, source.shape[2])
        mean: Array = blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)  # (H, W, C)
        return mean

    def __str__(self) -> str:
        return f"pixelate:{self.scale}"


NOISE_MODELS: dict[str, type[NoiseModel]] = {
    model.name: model for model in (Gaussian, Grain, Poisson, PoissonGaussian, Bernoulli, Impulse, Text, Pixelate)
}


def parse_noise(text: str) -> NoiseModel:
    """The noise model that `text` names: `gaussian:25`, `gaussian:0-50`, `poisson-gaussian:30,5`, `pixelate:8`.

    Raises
    ------
    ArgumentError
        When the name is unknown, or a strength is not a number or a range of numbers in its range.
    """
    name, _, behind = text.partition(":")
    model = NOISE_MODELS.get(name)
    if model is None:
        examples = ", ".join(f"`{known.example}`" for known in NOISE_MODELS.values())
        raise ArgumentError(
            "noise", text, f"a noise model and its strength, as {examples}, or a range, `gaussian:0-50`"
        )
    try:
        strengths = [_strength(part) for part in behind.split(",")]
        if len(strengths) != model.strengths:
            raise ValueError
        return model(*strengths)
    except (ValueError, OverflowError):  # ArgumentError is a ValueError
        raise ArgumentError("noise", text, f"`{model.example}`, {model.needed}") from None


def _strength(text: str) -> Strength:
    """A number or a range of two; neither is negative."""
    parts: Sequence[str] = text.split("-")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:  # the sign of an exponent is no range: 1e-3
        numbers = [float(text)]
    if len(numbers) > 2:
        raise ValueError(text)
    return Strength(numbers[0], numbers[-1])


def _within(model: NoiseModel, strength: Strength | float, low: float, high: float) -> Strength:
    if not isinstance(strength, Strength):
        strength = Strength(strength, strength)
    if not low <= strength.low <= strength.high <= high:  # also false for what is not a number
        raise ArgumentError(model.name, str(strength), model.needed)
    return strength
