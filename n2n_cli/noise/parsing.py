"""Noise models by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from n2n_cli.errors import ArgumentError
from n2n_cli.nn.registering import RegistrationError, register
from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.model import NoiseModel, Strength
from n2n_cli.noise.pixelate import Pixelate
from n2n_cli.noise.poisson import Poisson, PoissonGaussian
from n2n_cli.noise.replaced import Bernoulli, Impulse, Text

NOISE_MODELS: dict[str, type[NoiseModel]] = {
    model.name: model for model in (Gaussian, Grain, Poisson, PoissonGaussian, Bernoulli, Impulse, Text, Pixelate)
}
Kind = TypeVar("Kind", bound=type[NoiseModel])


def register_noise(cls: Kind) -> Kind:
    """Let configurations find a noise model by its `name`: `noise = "mine:25"`. Usable as a decorator.

    Parameters
    ----------
    cls : subclass of NoiseModel
        With `draw`, `name`, `example` and `needed`; its constructor takes as many strengths as `strengths` says.

    Raises
    ------
    RegistrationError
        When the class is not fit, or the name is taken.
    """
    shown = getattr(cls, "__name__", repr(cls))
    for attribute in ("name", "example", "needed"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise RegistrationError(f"the noise model `{shown}` needs a `{attribute}`, a text")
    if ":" in cls.name:
        raise RegistrationError(f"the noise model `{shown}` has the name `{cls.name}`: it must be without `:`")
    register(NOISE_MODELS, "noise model", cls.name, cls, NoiseModel, ("__init__", "draw"))
    return cls


def parse_noise(text: str) -> NoiseModel:
    """Parse a noise model: `gaussian:25`, `gaussian:0-50`, `poisson-gaussian:30,5`.

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
    """Parse a number or a range; neither may be negative."""
    parts: Sequence[str] = text.split("-")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:  # the minus of an exponent, 1e-3, does not make a range
        numbers = [float(text)]
    if len(numbers) > 2:
        raise ValueError(text)
    return Strength(numbers[0], numbers[-1])
