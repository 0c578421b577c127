from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from n2n_cli.data.shrinking import shrunk


@pytest.mark.parametrize(("old", "new"), [(9, 8), (16, 8), (31, 10), (64, 33)])
def test_downscaling_matches_pillow_s_lanczos(old: int, new: int, rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (old, old, 3), dtype=np.uint8)
    wanted = [
        np.asarray(Image.fromarray(channel / np.float32(255)).resize((new, new), Image.Resampling.LANCZOS))
        for channel in np.moveaxis(picture, -1, 0)
    ]
    small = shrunk(picture, new)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, np.clip(np.stack(wanted, axis=-1), 0, 1), atol=1e-5)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_picture_stays_constant(value: int) -> None:
    small = shrunk(np.full((13, 13, 2), value, np.uint8), 5)
    np.testing.assert_allclose(small, value / 255, atol=1e-6)


def test_frequencies_above_nyquist_are_removed(rng: np.random.Generator) -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert shrunk(stripes, 16)[3:-3, 3:-3].std() < 0.01


def test_16_bit_pixels_are_scaled_to_1() -> None:
    picture = np.arange(64, dtype=np.uint16).reshape(8, 8, 1) * 1000
    assert shrunk(picture, 4).mean() == pytest.approx(31500 / 65535, abs=0.01)
