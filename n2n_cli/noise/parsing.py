"""A noise model from its text."""

from __future__ import annotations

from collections.abc import Sequence

from n2n_cli.errors import ArgumentError
from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.model import NoiseModel, Strength
from n2n_cli.noise.pixelate import Pixelate
from n2n_cli.noise.poisson import Poisson, PoissonGaussian
from n2n_cli.noise.replaced import Bernoulli, Impulse, Text

NOISE_MODELS: dict[str, type[NoiseModel]] = {
    model.name: model for model in (Gaussian, Grain, Poisson, PoissonGaussian, Bernoulli, Impulse, Text, Pixelate)
}


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
