"""Photon noise: fit of its gain, and variance-stabilising transform."""

from __future__ import annotations

import math

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.noise.stabilisation import (
    FEW_PHOTONS,
    NoiseFit,
    fit_noise,
    stabilise,
    stabilised_variance,
    unstabilise,
)
from tests.values.frames import blobs


def fitted(frame: Array, valid: Array | None = None) -> NoiseFit:
    fit = fit_noise([frame], [np.ones(frame.shape, bool) if valid is None else valid])
    assert fit is not None
    return fit


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("read_noise", [0.0, 3.0])
@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("peak", [60, 1000])
def test_fit_finds_gain_and_variance(peak: int, gain: float, read_noise: float, offset: int) -> None:
    rng = np.random.default_rng([peak, offset])
    clean = peak * blobs(256, rng)
    frame = gain * rng.poisson(clean) + offset + rng.normal(0, read_noise, clean.shape)
    fit = fitted(frame)
    assert fit.gain == pytest.approx(gain, rel=0.2)
    brightest = math.sqrt(gain**2 * peak + read_noise**2)
    for photons in np.quantile(clean, (0.2, 0.5, 0.9)):
        truth = math.sqrt(gain**2 * photons + read_noise**2)
        assert fit.at(gain * photons + offset) == pytest.approx(truth, rel=0.12, abs=0.03 * brightest)


def test_fit_of_uniform_noise_has_no_gain(rng: np.random.Generator) -> None:
    clean = 1000 * blobs(256, rng)
    fit = fitted(clean + rng.normal(0, 30, clean.shape))
    assert abs(fit.gain) < 0.1  # the variance is 900 everywhere
    assert math.sqrt(fit.middle) == pytest.approx(30, rel=0.1)


def test_fit_ignores_invalid_pixels(rng: np.random.Generator) -> None:
    clean = 100 * blobs(256, rng)
    frame = rng.poisson(clean).astype(np.float64)
    valid = np.ones(frame.shape, bool)
    alone = fitted(frame)
    frame[40:90, 10:200] = -9999
    valid[40:90, 10:200] = False
    assert fitted(frame, valid).gain == pytest.approx(alone.gain, rel=0.1)


def test_fit_is_robust_to_hot_pixels(rng: np.random.Generator) -> None:
    frame = rng.poisson(100 * blobs(256, rng)).astype(np.float64)
    frame[rng.random(frame.shape) < 1e-4] = 60_000
    assert fitted(frame).gain == pytest.approx(1, rel=0.25)


def test_fit_needs_enough_blocks(rng: np.random.Generator) -> None:
    assert fit_noise([], []) is None
    assert fit_noise([rng.normal(size=(16, 16))], [np.ones((16, 16), bool)]) is None
    small = [rng.poisson(9, (24, 24)).astype(float) for _ in range(8)]
    assert fit_noise(small, [np.zeros((24, 24), bool)] * 8) is None
    assert fit_noise(small, [np.ones((24, 24), bool)] * 8) is not None


@pytest.mark.parametrize("photons", [4.0, 10.0, 50.0, 1000.0])
@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 0.0), (0.3, 0.5), (5.0, 10.0)])
def test_stabilised_noise_has_unit_variance(
    photons: float, gain: float, read_noise: float, rng: np.random.Generator
) -> None:
    x = gain * rng.poisson(photons, 200_000) + rng.normal(0, read_noise, 200_000)
    assert stabilise(x, gain, read_noise**2).std() == pytest.approx(1, abs=0.04)


def expectation(photons: float) -> float:
    """Mean of stabilised Poisson counts of a given mean, summed over the counts."""
    counts = np.arange(int(photons + 12 * math.sqrt(photons) + 30))
    factorials = np.array([math.lgamma(count + 1) for count in counts])
    shares = np.exp(counts * math.log(photons) - photons - factorials)
    return float(shares @ stabilise(counts.astype(float), 1.0, 0.0))


@pytest.mark.parametrize(
    ("photons", "most"), [(0.05, 0.02), (0.3, 0.03), (1, 0.05), (3, 0.03), (10, 0.02), (100, 0.02), (5000, 0.02)]
)
def test_inverse_of_the_mean_is_unbiased_for_poisson_counts(photons: float, most: float) -> None:
    mean = np.array([expectation(photons)])
    assert unstabilise(mean, 1.0, 0.0).item() == pytest.approx(photons, abs=most)


@pytest.mark.parametrize("signal", [0.0, 2.0, 20.0, 300.0])
@pytest.mark.parametrize(("gain", "read_noise", "offset"), [(1.0, 2.0, 0.0), (2.5, 8.0, 100.0), (0.2, 0.5, -30.0)])
def test_inverse_of_the_mean_is_unbiased_with_read_noise_and_an_offset(
    signal: float, gain: float, read_noise: float, offset: float, rng: np.random.Generator
) -> None:
    count = 400_000
    x = gain * rng.poisson(signal, count) + offset + rng.normal(0, read_noise, count)
    variance = read_noise**2 - gain * offset  # at x = 0, as the fit returns it
    mean = np.array([stabilise(x, gain, variance).mean()])
    error = unstabilise(mean, gain, variance).item() - (gain * signal + offset)
    noise = math.sqrt(gain**2 * signal + read_noise**2)
    assert abs(error) < 0.05 * noise


def test_transform_and_inverse_keep_order_and_dtype() -> None:
    for dtype in (np.float32, np.float64):
        x = np.linspace(-50, 5000, 400).astype(dtype)
        y = stabilise(x, 1.5, 4.0)
        assert y.dtype == dtype
        assert (np.diff(y) >= 0).all()
        back = unstabilise(y, 1.5, 4.0)
        assert back.dtype == dtype
        assert (np.diff(back) >= 0).all()
        assert np.isfinite(back).all()


def test_few_photons_leave_less_stabilised_noise(rng: np.random.Generator) -> None:
    means = np.array([0.0, 0.1, 0.5, 2.0, FEW_PHOTONS, 1e6])
    found = stabilised_variance(means)
    drawn = [stabilise(rng.poisson(mean, 200_000).astype(float), 1.0, 0.0).var() for mean in means[:-1]]
    assert found[0] == 0
    assert found[:-1] == pytest.approx(drawn, abs=0.02)
    assert found[-2:] == pytest.approx(1, abs=0.03)
