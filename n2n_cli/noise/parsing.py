"""Noise models by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from n2n_cli.errors import ArgumentError
from n2n_cli.nn.registering import RegistrationError, register
from n2n_cli.noise.camera import Camera
from n2n_cli.noise.compression import Jpeg, Rounded
from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.mixture import Mixture
from n2n_cli.noise.model import NoiseModel, Strength
from n2n_cli.noise.pixelate import Pixelate
from n2n_cli.noise.poisson import Poisson, PoissonGaussian
from n2n_cli.noise.replaced import Bernoulli, Impulse, Text
from n2n_cli.noise.structured import Blurred, Row

NOISE_MODELS: dict[str, type[NoiseModel]] = {
    model.name: model
    for model in (
        *(Gaussian, Grain, Poisson, PoissonGaussian, Blurred, Row, Camera),
        *(Rounded, Jpeg, Bernoulli, Impulse, Text, Pixelate),
    )
}
Kind = TypeVar("Kind", bound=type[NoiseModel])


def register_noise(cls: Kind) -> Kind:
    """Register a noise model for use in configurations, as in `noise = "mine:25"`.

    Usable as a class decorator.

    Parameters
    ----------
    cls : subclass of NoiseModel
        Defines `draw`, `name`, `example` and `needed`; its constructor takes `strengths` strengths.

    Raises
    ------
    RegistrationError
        When the class lacks one of these, or the name is taken.
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
    """Parse a noise model, or a mixture of several.

    `gaussian:25` has one strength, `gaussian:0-50` draws it from a range, `gaussian:1~50` draws it uniformly in the
    logarithm, and `poisson-gaussian:30,5` has two strengths. `mix: 2 gaussian:0-50; 1 poisson:4~1000` uses the first
    model for two of three pairs of views.

    Raises
    ------
    ArgumentError
        When the name is unknown, or a strength is not a number or a range of numbers in its range.
    """
    name, _, behind = text.partition(":")
    if name == Mixture.name:
        return _mixture(text, behind)
    model, strengths = _model(text, text)
    return model(*strengths)


def _mixture(text: str, parts: str) -> Mixture:
    models = []
    for part in parts.split(";"):
        share, _, noise = part.strip().partition(" ")
        try:
            number = float(share)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ArgumentError("noise", text, f"{Mixture.needed}, as `{Mixture.example}`, not {part.strip()!r}")
        models.append((number, *_model(noise.strip(), text)))
    if len({model(*strengths).scale for _, model, strengths in models}) > 1:
        raise ArgumentError("noise", text, "a mixture of models whose views are of one size")
    return Mixture(models)


def _model(text: str, whole: str) -> tuple[type[NoiseModel], list[Strength]]:
    """Parse type and strengths of a model; `whole` is the user's text, for errors."""
    name, _, behind = text.partition(":")
    model = NOISE_MODELS.get(name)
    inside = "" if text == whole else f", in place of {text!r}"
    if model is None:
        examples = ", ".join(f"`{known.example}`" for known in NOISE_MODELS.values())
        raise ArgumentError(
            "noise", whole, f"a noise model and its strength, as {examples}, or a range, `gaussian:0-50`{inside}"
        )
    try:
        strengths = [_strength(part) for part in behind.split(",")]
        if len(strengths) != model.strengths:
            raise ValueError
        model(*strengths)
    except (ValueError, OverflowError):  # ArgumentError is a ValueError
        raise ArgumentError("noise", whole, f"`{model.example}`, {model.needed}{inside}") from None
    return model, strengths


def _strength(text: str) -> Strength:
    """Parse a non-negative number, or a range: `-` is uniform, `~` log-uniform."""
    if "~" in text:
        low, high = map(float, text.split("~"))
        if not low > 0:
            raise ValueError(text)
        return Strength(low, high, log=True)
    parts: Sequence[str] = text.split("-")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:  # the `-` may belong to an exponent, as in 1e-3
        numbers = [float(text)]
    if len(numbers) > 2:
        raise ValueError(text)
    return Strength(numbers[0], numbers[-1])
