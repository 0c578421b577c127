"""Mean, error, black pixels and drift of denoised photon counts.

The table has many peaks, offsets, types and numbers of pages.

A frame of 128x128 pixels shows blobs, soft-edged cells on a dark background, up to a peak of 5 to 20,000 photons (a
gain of 1). Each page has Poisson noise of its own, an offset, and Gaussian read noise: its standard deviation is 1
count at a peak of 5, and 2 counts above. Integers are rounded. Unsigned integers without an offset have no read noise:
the clipping at zero would change the mean of the noisy frame. Combinations that a type cannot hold are left out. Stacks
of five pages have one hot pixel, of 60,000 or the type's maximum.

The mean may differ by 3 standard errors of the noisy pages; the root mean squared error, relative to that of the noisy
pages, may reach `LIMITS`. Integers at a peak of 5 cannot reach 0.3: rounding a smooth area to integers, f above the
lower one, without changing its mean has at least the variance f (1 - f), on average 0.25 of the noise. There, this
variance is added to the square of the limit. The hot pixel is not scored.

Gray 8-bit pictures with a peak of 60 or more and no offset get `values="photons"`: otherwise some of them are taken for
photographs.
"""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import denoise
from n2n_cli.models.model import Model
from tests.values.frames import blobs, counted, rms

LIMITS = {5: 0.3, 20: 0.3, 60: 0.3, 300: 0.3, 1000: 0.4, 5000: 0.8, 20_000: 0.8}
TYPES = ["u1", "u2", "i2", "u4", "f4", "f8"]
OFFSETS = [0, 100, 1000]
SIDE = 128


def fits(dtype: str, most: float) -> bool:
    return dtype[0] == "f" or most <= np.iinfo(dtype).max


CASES = [
    (peak, offset, dtype)
    for peak in LIMITS
    for offset in OFFSETS
    for dtype in TYPES
    if fits(dtype, offset + peak + 6 * peak**0.5)
]


@pytest.mark.parametrize(("peak", "offset", "dtype"), CASES)
def test_counts_keep_their_mean_and_lose_their_noise(peak: int, offset: int, dtype: str, white: Model) -> None:
    pages = 5 if CASES.index((peak, offset, dtype)) % 2 else 1
    rng = np.random.default_rng([peak, offset, pages])
    clean = peak * blobs(SIDE, rng)
    read_noise = 0.0 if offset == 0 and dtype[0] == "u" else 1.0 if peak < 20 else 2.0
    noisy = counted(np.broadcast_to(clean, (pages, SIDE, SIDE)), dtype, rng, offset=offset, read_noise=read_noise)
    known = np.ones(noisy.shape, bool)
    if pages > 1:
        known[2, SIDE // 3, SIDE // 4] = False
        noisy[~known] = 60_000 if fits(dtype, 60_000) else np.iinfo(dtype).max
    sure = dtype != "u1" or peak < 60 or offset > 0
    denoised = denoise(noisy, white, axes="TYX", values="auto" if sure else "photons")
    assert denoised.dtype == noisy.dtype

    before, after = ((frames - (clean + offset))[known] for frames in (noisy.astype(float), denoised.astype(float)))
    share = clean % 1 if peak == 5 and dtype[0] != "f" else np.zeros_like(clean)
    rounding = np.sqrt(np.mean(share * (1 - share)))
    print(f"error {rms(after) / rms(before):.2f}")  # `pytest -rP` shows it
    assert rms(after) <= np.hypot(LIMITS[peak] * rms(before), rounding)
    assert abs(after.mean()) <= 3 * rms(before) / before.size**0.5
    if offset:
        assert not ((denoised == 0) & (noisy != 0)).any()
    means = np.array([frame[valid].mean(dtype=float) for frame, valid in zip(denoised, known, strict=True)])
    own = np.array([frame[valid].mean(dtype=float) for frame, valid in zip(noisy, known, strict=True)])
    # Pages with few photons differ by noise alone; the denoised ones must not differ more.
    assert np.ptp(means) / means.mean() <= max(0.002, 1.02 * np.ptp(own) / own.mean())
