"""Analysis of noise: levels, correlation, brightness, and pictures that have nothing to measure."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import LUMA, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.noise.analysis import analyse_noise

MARGIN = 0.25
KINDS = ("gaussian:10", "gaussian:40", "grain:20,1", "camera:0.002", "camera:0.01", "poisson:30", "row:3,10")


@pytest.fixture(scope="module")
def photographs() -> list[Array]:
    """Clean pictures of dead leaves, and a gray one."""
    pictures = list(dead_leaves(3, 384, seed=3))
    return [*pictures, to_integer(to_float(pictures[1]) @ LUMA, np.uint8)]


def levels(difference: Array) -> tuple[float, float]:
    """True standard deviations of luma and chroma."""
    if difference.shape[2] == 1:
        return float(difference.std()), 0.0
    luma = (difference @ LUMA)[..., 0]
    chroma = np.stack([difference[..., 2] - luma, difference[..., 0] - luma])
    return float(luma.std()), float(np.sqrt(np.mean(chroma**2)))


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_luma_and_chroma(kind: str, photographs: list[Array]) -> None:
    for seed, clean in enumerate(photographs):
        noisy = to_integer(parse_noise(kind).draw(clean, rng=np.random.default_rng(seed)), np.uint8)
        found = analyse_noise(noisy)
        assert (found.luma, found.chroma) == pytest.approx(levels(noisy.astype(float) - clean), rel=MARGIN), (
            kind,
            seed,
        )
