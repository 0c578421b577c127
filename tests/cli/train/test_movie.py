"""`n2n train --movie`, and `n2n denoise` with its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from n2n_cli.config import load_config
from n2n_cli.images import read_pages
from tests.cli import failure, n2n
from tests.movies import counted, still, write_movie

CONFIG = """
[network]
channels = 3
layers = [{ type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 3, padding = 1 }]
[data]
size = 16
pairs = 8
validation_pairs = 4
augment = true
frames = 3
[train]
epochs = 1
batch_size = 4
lr = 0.01
"""


@pytest.fixture(autouse=True)
def here(here: Path) -> Path:
    """Add the movie `m.tif` of 24 frames, and `frames.toml`."""
    write_movie(Path("m.tif"), counted(still(24)))
    Path("frames.toml").write_text(CONFIG)
    return here


def test_training_on_a_movie_and_denoising_it(here: Path) -> None:
    answer = n2n("train", "--config", "frames.toml", "--movie", "m.tif", "--axes", "TYX", "--out", "run")
    assert answer.code == 0, answer.err
    for line in (
        "24 frames of 48x40; 6 of them, in blocks of time, are held out for validation",
        "pairs of stacks of 3 frames, 2 apart; input and target are neighbouring, in both orders",
        "0.0% of the pixels moved between two frames; they do not count in the loss",
        "brightness changes by +0.0% from the first frames to the last",
        "the scene shifts by 0 down and 0 right pixels from the first frames to the last",
    ):
        assert line in answer.err
    data = load_config("run/config.toml").data
    assert (data.kind, data.source, data.axes, data.frames) == ("movie", "m.tif", "TYX", 3)
    assert data.values.startswith("linear:")
    again = n2n("train", "--config", "run/config.toml", "--out", "again")
    assert again.code == 0, again.err
    assert Path("again/best.pth").read_bytes() == Path("run/best.pth").read_bytes()
    answer = n2n("denoise", "--model", "run/best.pth", "m.tif", "out.tif")
    assert answer.code == 0, answer.err
    assert len(list(read_pages(Path("out.tif")))) == 24


def test_model_of_single_frames_trains_on_a_movie() -> None:
    answer = n2n(
        "train", "--config", "tiny.toml", "--movie", "m.tif", "--frame-gap", "2", "--epochs", "1", "--out", "run"
    )
    assert answer.code == 0, answer.err
    assert "pairs of frames; input and target are up to 2 apart" in answer.err
    assert load_config("run/config.toml").data.frame_gap == 2
    assert n2n("denoise", "--model", "run/best.pth", "m.tif", "out.tif").code == 0
    other = n2n("train", "--config", "run/config.toml", "--data", "photos", "--out", "other")
    assert other.code == 0, other.err
    assert load_config("other/config.toml").data.frame_gap == 1
    code, message, *_ = failure("eval", "run/best.pth")
    assert code == 2
    assert "held-out frames of a movie" in message


def test_training_on_a_movie_is_resumed() -> None:
    words = ("--config", "frames.toml", "--movie", "m.tif")
    assert n2n("train", *words, "--epochs", "2", "--out", "whole").code == 0
    assert n2n("train", *words, "--epochs", "1", "--out", "run").code == 0
    Path("moved").mkdir()
    Path("m.tif").rename("moved/m.tif")
    answer = n2n("train", "--resume", "run", "--movie", "moved/m.tif", "--epochs", "2")
    assert answer.code == 0, answer.err
    assert load_config("run/config.toml").data.source == "moved/m.tif"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--movie", "m.tif", "--data", "photos"], 2, "`--data` and `--movie` cannot be used together"),
        (["--data", "photos"], 1, "takes 3 frames of a movie, but `photos` is not a movie"),
        (["--data", "photos", "--frame-gap", "2"], 2, '`data.frame_gap` is 2, but `data.kind` is "pictures"'),
        (["--data", "photos", "--axes", "TYX"], 2, '`data.axes` is "TYX", but `data.kind` is "pictures"'),
        (["--movie", "none.tif"], 1, "there is no movie `none.tif`"),
        (["--movie", "m.tif", "--axes", "ZYX"], 1, "have no frames in time"),
        (["--movie", "m.tif", "--set", "data.frames=5"], 2, "`network.channels` is 3, it must be a multiple of"),
        (["--movie", "m.tif", "--frame-gap", "9"], 1, "is too short: 24 frames in time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("train", "--config", "frames.toml", *words)
    assert got[0] == code
    assert message in got[1]
