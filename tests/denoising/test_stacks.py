"""Denoising of stacks: transforms, progress, and pages of many channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from n2n_cli import denoise
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.errors import UsageError
from n2n_cli.images import read_picture
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.system.progress import reported_to
from tests.values.frames import blobs, counted


@pytest.fixture(scope="module")
def fluorescence() -> Array:
    """Photon counts of two channels that bleach, (T, C, H, W).

    The first channel is fifty times as bright as the second.
    """
    rng = np.random.default_rng(0)
    scene = blobs(64, rng)
    peaks = [[3000, 60], [2400, 60], [1500, 60]]
    return np.stack([np.stack([counted(peak * scene, "u2", rng, offset=100) for peak in row]) for row in peaks])


def through_a_file(model: Model, pages: Array, options: DenoiseOptions, **saving: Any) -> tuple[Array, Outcome]:
    tifffile.imwrite("in.tif", pages, **saving)
    (outcome,) = denoise_files(model, [DenoiseTask(Path("in.tif"), Path("out.tif"))], options)
    if outcome.error is not None:
        raise outcome.error
    return tifffile.imread("out.tif"), outcome


def test_each_channel_of_a_hyperstack_has_its_own_transform(white: Model, fluorescence: Array) -> None:
    metadata = {"axes": "TCYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    found, outcome = through_a_file(white, fluorescence, DenoiseOptions(), ome=True, metadata=metadata)
    (note,) = outcome.notes
    assert re.fullmatch(r"values: channel DAPI: 16 bit, .* counts; .*; channel GFP: 16 bit, .* counts; .*", note)
    for channel in range(2):
        alone = denoise(fluorescence[:, channel], white, axes="TYX")
        np.testing.assert_array_equal(found.reshape(3, 2, 64, 64)[:, channel], alone)
    np.testing.assert_array_equal(found.reshape(3, 2, 64, 64), denoise(fluorescence, white, axes="TCYX"))


def test_axes_option_names_the_axes_of_pages(white: Model, fluorescence: Array) -> None:
    plain = {"photometric": "minisblack", "metadata": None}
    pages = fluorescence.reshape(6, 64, 64)
    found, outcome = through_a_file(white, pages, DenoiseOptions(axes="T3CYX"), **plain)
    np.testing.assert_array_equal(found.reshape(3, 2, 64, 64), denoise(fluorescence, white, axes="TCYX"))
    assert outcome.notes[0].startswith("values: channel 1: 16 bit")
    with pytest.raises(UsageError, match=r"`--axes T4CYX` does not fit `in\.tif`, which has 6 pages"):
        through_a_file(white, pages, DenoiseOptions(axes="T4CYX"), **plain)


@pytest.mark.parametrize("options", [DenoiseOptions(), DenoiseOptions(strength=0), DenoiseOptions(pd=2)])
def test_progress_of_a_stack_covers_all_pages(white: Model, options: DenoiseOptions) -> None:
    done: list[float] = []
    pages = np.random.default_rng(0).integers(0, 255, (5, 32, 32)).astype(np.uint8)
    with reported_to(done.append):
        through_a_file(white, pages, options, photometric="minisblack")
    assert sum(done) == pytest.approx(1)
    assert max(done) <= 0.2 + 1e-9


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_more_than_four_channels_are_denoised_one_by_one(white: Model, fluorescence: Array, planar: Any) -> None:
    channels = fluorescence.reshape(6, 64, 64)
    pixels = channels if planar == "separate" else np.moveaxis(channels, 0, -1)
    saving = {"photometric": "minisblack", "planarconfig": planar, "metadata": None}
    done: list[float] = []
    with reported_to(done.append):
        found, outcome = through_a_file(white, pixels, DenoiseOptions(), **saving)
    wanted = denoise(np.moveaxis(channels, 0, -1), white, axes="YXC")
    np.testing.assert_array_equal(found, np.moveaxis(wanted, -1, 0) if planar == "separate" else wanted)
    assert outcome.notes[0] == "its 6 channels were denoised one after another"
    assert len(outcome.notes) == 2
    assert sum(done) == pytest.approx(1)


def test_fourth_channel_is_kept_if_the_output_format_can_hold_it(white: Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 40, 4)).astype(np.uint8)
    saving = {"photometric": "rgb", "extrasamples": ["unspecified"], "metadata": None}
    found, outcome = through_a_file(white, pixels, DenoiseOptions(strength=0), **saving)
    np.testing.assert_array_equal(found, pixels)
    assert outcome.notes == ["its 4 channels were denoised one after another"]
    (outcome,) = denoise_files(white, [DenoiseTask(Path("in.tif"), Path("out.png"))], DenoiseOptions(strength=0))
    assert outcome.notes == ["its fourth channel, whose meaning is not stated, was left out"]
    np.testing.assert_array_equal(read_picture("out.png").pixels, pixels[..., :3])


def test_colours_are_denoised_together_and_alpha_is_kept(white: Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 40, 5)).astype(np.uint8)
    saving = {"photometric": "rgb", "extrasamples": ["unspecified", "unassalpha"], "metadata": None}
    found, _ = through_a_file(white, pixels, DenoiseOptions(), **saving)
    np.testing.assert_array_equal(found[..., :3], denoise(pixels[..., :3], white))
    np.testing.assert_array_equal(found[..., 3], denoise(pixels[..., 3], white))
    np.testing.assert_array_equal(found[..., 4], pixels[..., 4])
    with tifffile.TiffFile("out.tif") as file:
        assert [int(value) for value in file.pages.first.extrasamples] == [0, 2]
        assert file.pages.first.photometric == 2
