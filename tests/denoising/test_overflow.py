"""Networks whose values overflow: no picture is written, no score is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli import denoise
from n2n_cli.config import Config
from n2n_cli.errors import DivergenceError
from n2n_cli.models.model import Model
from tests.cli import failure, n2n, photo

OVERFLOW = "the network's output is not finite: its weights are too large, or damaged"


@pytest.fixture(params=["", "Sigmoid", "ReLU", "LeakyReLU"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoint of three convolutions, which overflow only together.

    The parameter is its last layer.
    """
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "photos" / "a.png", (40, 36, 3))
    same: dict[str, Any] = {"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1}
    layers = [same, {"type": "ReLU"}, same, {"type": "LeakyReLU"}, same]
    layers += [{"type": request.param}] if request.param else []
    model = Model.from_config(Config.from_tables({"network": {"channels": 3, "layers": layers}}, "test"), threads=1)
    for values, _ in model.network.param():
        values *= np.float32(1e17)
    model.save("large.pth")
    return Path("large.pth")


@pytest.mark.parametrize("shape", [(24, 20, 3), (300, 280, 3), (24, 20)], ids=str)
def test_overflow_writes_no_picture(checkpoint: Path, shape: tuple[int, ...]) -> None:
    photo(Path("in.png"), shape)
    for words in ([], ["--ensemble"], ["--strength", "0.5"], ["--threads", "2"]):
        code, message, hint = failure("denoise", "--model", checkpoint, *words, "in.png", "out.png")
        assert (code, message, hint) == (
            1,
            OVERFLOW,
            "use another checkpoint, such as one of an earlier epoch",
        )
        assert not Path("out.png").exists()


def test_overflow_prints_no_score(checkpoint: Path) -> None:
    for words in ([], ["--json"], ["--csv"], ["--crops", "4"]):
        answer = n2n("eval", checkpoint, "--data", "photos", "--noise", "gaussian:25", *words)
        assert answer.code == 1
        assert f"error: {OVERFLOW}\n" in answer.err
        assert len(answer.out.splitlines()) <= 1  # the header of a table


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_overflow_raises_and_returns_no_array(checkpoint: Path, dtype: type[np.generic]) -> None:
    ramp = np.linspace(0.2, 0.8, 24 * 20 * 3).reshape(24, 20, 3)
    with pytest.raises(DivergenceError, match="not finite"):
        denoise((ramp * (1 if np.issubdtype(dtype, np.floating) else 200)).astype(dtype), str(checkpoint))
