"""Measured values on the command line: train, denoise, eval, compare, info."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.config import load_config
from n2n_cli.images import Picture, read_picture, write_pages, write_picture
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.values.transform import parse_values
from tests.cli import failure, n2n
from tests.values.frames import blobs, counted, rms

GRAY = """
[network]
channels = 1
layers = [
  { type = "Conv2d", in_channels = 1, out_channels = 8, kernel_size = 3, padding = 1 },
  { type = "ReLU" },
  { type = "Conv2d", in_channels = 8, out_channels = 1, kernel_size = 3, padding = 1 },
]

[data]
size = 32
pairs = 200
validation_pairs = 20

[train]
epochs = 12
batch_size = 10
optimizer = "Adam"
lr = 0.01
"""
LINE = r"16 bit, [\d.]+ to [\d.]+ counts; photon noise, gain [\d.]+, read noise [\d.]+"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("gray.toml").write_text(GRAY)
    return tmp_path


def shots(count: int = 4, dtype: str = "u2", scale: float = 1.0) -> list[tuple[Array, Array, Array]]:
    """Scenes of counts: two noisy frames and the clean one."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        clean = 80 * blobs(96, rng)
        a, b = (counted(clean, "u2", rng, offset=100, read_noise=2) for _ in range(2))
        found.append((scale * a, scale * b, scale * (clean + 100)))
    return [tuple(picture.astype(dtype) for picture in three) for three in found]  # type: ignore[misc]


def write(folder: str, name: str, pixels: Array) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_picture(Path(folder, name), Picture(pixels[..., None]))


def write_pairs(dtype: str = "u2", scale: float = 1.0) -> list[tuple[Array, Array, Array]]:
    scenes = shots(dtype=dtype, scale=scale)
    for i, (a, b, clean) in enumerate(scenes):
        for folder, pixels in (("a", a), ("b", b), ("clean", clean)):
            write(folder, f"{i}.tif", pixels)
    return scenes


def errors_of(log: str) -> list[float]:
    """RMS errors of the validation, of the noisy images first."""
    return [float(number) for number in re.findall(r"RMS error ([\d.e+]+)", log)]


# Training


def test_training_does_not_depend_on_the_range_of_values() -> None:
    found = []
    for scale in (1, 300):
        write_pairs(scale=scale)
        words = ("--pairs", "a", "b", "--epochs", "2", "--values", "linear", "--out", f"run{scale}")
        answer = n2n("train", "--config", "gray.toml", *words)
        assert answer.code == 0, answer.err
        found.append([error / scale for error in errors_of(answer.err)])
    assert len(found[0]) == 3
    assert found[0] == pytest.approx(found[1], rel=0.002)


def test_training_on_16_bit_pairs_reports_and_denoises_counts() -> None:
    scenes = write_pairs()
    answer = n2n("train", "--config", "gray.toml", "--pairs", "a", "b", "--out", "run")
    assert answer.code == 0, answer.err
    noisy, *trained = errors_of(answer.err)
    # The target of a validation pair is the other shot, with the same noise.
    noise = np.mean([rms(a.astype(float) - clean) for a, _, clean in scenes])
    assert noisy == pytest.approx(2**0.5 * noise, rel=0.2)
    assert trained[-1] < 0.9 * noisy
    assert "train it for more epochs" not in answer.err
    text = tomllib.loads(Path("run/config.toml").read_text())["data"]["values"]
    kind, low, high = re.fullmatch(r"(\w+):([-\d.]+)~([-\d.]+)", text).groups()  # type: ignore[union-attr]
    assert kind == "linear"
    assert float(low) == pytest.approx(96, rel=0.05)
    assert 130 < float(high) < 230
    assert Model.from_checkpoint(Path("run/last.pth")).values == parse_values(text)
    assert f"values {float(low):.4g} to {float(high):.4g} are scaled to 0 to 1" in answer.err

    answer = n2n("denoise", "--model", "run/best.pth", "a/0.tif", "out.tif")
    assert answer.code == 0
    assert f"scaled as in training, {float(low):.4g} to {float(high):.4g}" in answer.err
    a, _, clean = scenes[0]
    denoised = read_picture("out.tif").pixels[..., 0]
    assert denoised.dtype == np.uint16
    assert rms(denoised - clean.astype(float)) < 0.7 * rms(a.astype(float) - clean)
    assert denoised.mean() == pytest.approx(a.mean(), rel=2e-3)


def test_training_on_bursts_of_float_exposures() -> None:
    for i, (a, b, _) in enumerate(shots(dtype="f4", scale=0.37)):
        for j, pixels in enumerate((a, b, a[::-1])[:2]):
            write(f"bursts/{i}", f"{j}.tif", pixels)
    answer = n2n("train", "--config", "gray.toml", "--bursts", "bursts", "--out", "run")
    assert answer.code == 0, answer.err
    noisy, *trained = errors_of(answer.err)
    assert 0.37 * 5 < noisy < 0.37 * 15
    assert trained[-1] < 0.9 * noisy
    answer = n2n("denoise", "--model", "run/best.pth", "bursts/0/0.tif", "out.tif")
    assert answer.code == 0
    assert read_picture("out.tif").pixels.dtype == np.float32


def test_training_on_single_pictures_and_folders_of_counts() -> None:
    write_pairs()
    for options in (("--single-image", "a"), ("--data", "clean", "--noise", "gaussian:10")):
        answer = n2n("train", "--config", "gray.toml", *options, "--epochs", "1", "--out", options[0][2:])
        assert answer.code == 0, answer.err
        assert "are scaled to 0 to 1" in answer.err
        assert len(errors_of(answer.err)) == 2


def test_resumed_training_keeps_its_transform() -> None:
    write_pairs()
    words = ("train", "--config", "gray.toml", "--pairs", "a", "b", "--out", "run")
    assert n2n(*words, "--epochs", "1").code == 0
    before = tomllib.loads(Path("run/config.toml").read_text())["data"]["values"]
    answer = n2n("train", "--resume", "run", "--epochs", "2")
    assert answer.code == 0, answer.err
    assert tomllib.loads(Path("run/config.toml").read_text())["data"]["values"] == before


def test_pictures_outside_the_training_range_have_their_own_transform() -> None:
    write_pairs()
    assert n2n("train", "--config", "gray.toml", "--pairs", "a", "b", "--epochs", "1", "--out", "run").code == 0
    write("far", "far.tif", shots(1)[0][0] + np.uint16(20_000))
    answer = n2n("denoise", "--model", "run/last.pth", "far/far.tif", "out.tif")
    assert answer.code == 0
    assert re.search(r"values: 16 bit, .*; far from the [\d.]+ to [\d.]+ of the training", answer.err)
    noisy, found = (read_picture(path).pixels for path in ("far/far.tif", "out.tif"))
    assert found.mean() == pytest.approx(noisy.mean(), rel=1e-3)


def test_training_on_display_pictures_reports_no_unit() -> None:
    for i, (a, b, _) in enumerate(shots()):
        for folder, pixels in (("a", a), ("b", b)):
            write(folder, f"{i}.png", np.clip(pixels, 0, 255).astype(np.uint8))
    words = ("train", "--config", "gray.toml", "--pairs", "a", "b", "--epochs", "1", "--out", "run")
    answer = n2n(*words, "--values", "display")
    assert answer.code == 0, answer.err
    assert errors_of(answer.err) == []
    assert tomllib.loads(Path("run/config.toml").read_text())["data"]["values"] == "display"


# Denoising


def test_values_are_reported_once_per_file() -> None:
    rng = np.random.default_rng(0)
    pages = [counted(80 * blobs(96, rng), "u2", rng, offset=100, read_noise=2)[..., None] for _ in range(3)]
    write_pages(Path("in.tif"), [Picture(page) for page in pages])
    answer = n2n("denoise", "in.tif", "out.tif")
    assert (answer.code, answer.out) == (0, "")
    assert len(re.findall(rf"^in\.tif: values: {LINE}$", answer.err, re.MULTILINE)) == 1
    assert n2n("-q", "denoise", "in.tif", "quiet.tif") == (0, "", "")


@pytest.mark.parametrize("mode", ["display", "linear", "photons"])
def test_values_option_chooses_the_mode(mode: str) -> None:
    write("a", "0.tif", shots(1)[0][0])
    answer = n2n("denoise", "--values", mode, "a/0.tif", "out.tif")
    assert answer.code == 0
    wanted = {"display": "16 bit, display", "linear": r"16 bit, .* counts; linear, noise [\d.]+", "photons": LINE}
    assert re.search(rf"^a/0\.tif: values: {wanted[mode]}$", answer.err, re.MULTILINE)


def test_unsuitable_values_option_is_refused() -> None:
    write("a", "0.tif", np.arange(100, 400, 3, dtype=np.uint16).reshape(10, 10))
    answer = n2n("-q", "denoise", "--values", "photons", "a/0.tif", "out.tif")
    assert answer.code == 1
    assert "too small to measure its noise" in answer.err
    assert "`--values linear`" in answer.err
    assert not Path("out.tif").exists()
    assert n2n("denoise", "--values", "counts", "a/0.tif", "out.tif").code == 2


# Scores and sheets


def test_eval_reports_the_error_in_counts() -> None:
    scenes = write_pairs()
    assert n2n("train", "--config", "gray.toml", "--pairs", "a", "b", "--out", "run").code == 0
    answer = n2n("eval", "run/last.pth", "--data", "a", "--clean", "clean", "--json")
    assert answer.code == 0, answer.err
    *lines, summary = (json.loads(line) for line in answer.out.splitlines())
    for line, (a, _, clean) in zip(lines, scenes, strict=True):
        truth = clean.astype(float)  # rounded as in the file
        assert line["noisy_rms"] == pytest.approx(rms(a - truth), rel=1e-3)
        assert line["rms"] < line["noisy_rms"]
    for key in ("noisy_rms", "rms"):
        assert summary[key] == pytest.approx(np.mean([line[key] for line in lines]))
    answer = n2n("eval", "run/last.pth", "--data", "a", "--clean", "clean")
    assert (
        f"measured values: RMS error noisy {summary['noisy_rms']:.4g}, denoised {summary['rms']:.4g} in their own units"
        in answer.err
    )


def test_psnr_of_8_bit_counts_refers_to_255() -> None:
    """So it can be compared with `--values display`, and with published figures."""
    Model.from_config(load_config("gray.toml"), threads=1).save("model.pth")
    rng = np.random.default_rng(0)
    signal = 60 * blobs(192, rng)
    noisy, clean = counted(signal, "u1", rng), np.rint(signal).astype(np.uint8)
    write("noisy", "0.png", noisy)
    write("clean", "0.png", clean)
    for mode in ("auto", "photons", "linear", "display"):
        answer = n2n("eval", "model.pth", "--data", "noisy", "--clean", "clean", "--values", mode, "--json")
        line, _ = map(json.loads, answer.out.splitlines())
        error = rms(noisy.astype(float) - clean)
        assert line["noisy_rms"] == pytest.approx(error, rel=1e-4)
        assert line["noisy_psnr"] == pytest.approx(20 * np.log10(255 / error), rel=1e-4)
        assert line["psnr"] == pytest.approx(20 * np.log10(255 / line["rms"]), rel=1e-4)


def test_compare_scales_all_panels_alike() -> None:
    ((noisy, _, clean),) = shots(1)
    write("a", "noisy.tif", noisy)
    write("a", "clean.tif", clean)
    answer = n2n("compare", "a/noisy.tif", "a/clean.tif", "a/clean.tif", "-o", "sheet.png")
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"noisy: RMS error {rms(noisy.astype(float) - clean):.4g}, PSNR ")
    sheet = read_picture("sheet.png").pixels
    assert (sheet > 200).mean() > 0.01
    words = ("compare", "--values", "display", "a/noisy.tif", "a/clean.tif", "a/clean.tif", "-o", "black.png")
    assert n2n(*words).code == 0
    black = read_picture("black.png").pixels
    assert sheet.mean(dtype=float) > 1.1 * black.mean(dtype=float)


def test_info_describes_the_values() -> None:
    write("a", "0.tif", shots(1)[0][0])
    assert re.search(rf"^values +{LINE}$", n2n("info", "a/0.tif").out, re.MULTILINE)
    assert re.fullmatch(LINE, json.loads(n2n("info", "a/0.tif", "--json").out)["values"])


def test_invalid_values_in_a_configuration_are_refused() -> None:
    write_pairs()
    code, message, hint = failure(
        "train", "--config", "gray.toml", "--pairs", "a", "b", "--set", "data.values=linear:5~1", "--out", "run"
    )
    assert code != 0
    assert "data.values" in message + hint
