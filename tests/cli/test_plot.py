"""`n2n plot`: file, output and refusals."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from n2n_cli.images import read_picture
from tests.cli import failure, n2n

LINE = '{"epoch": 1, "loss": 0.5, "noisy_psnr": 20.5, "psnr": 21.5, "lr": 0.1}\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    for run in ("runs/a", "runs/b", "old/a"):
        Path(run).mkdir(parents=True)
        Path(run, "metrics.jsonl").write_text(LINE)
    return tmp_path


def test_several_runs_in_one_plot() -> None:
    assert n2n("plot", "runs/a", "runs/b/metrics.jsonl", "-o", "plot.png") == (0, "plot.png\n", "")
    pixels = read_picture("plot.png").pixels
    assert pixels.shape[1] == 1050
    assert len({tuple(colour) for colour in pixels[::3, ::3].reshape(-1, 3).tolist()}) > 20
    assert n2n("plot", "runs/a", "--out", "plot.svg").code == 0
    assert "<!-- validation PSNR (dB) -->" in Path("plot.svg").read_text()


def test_runs_have_different_names() -> None:
    assert n2n("plot", "runs/a", "runs/b", "old/a/", "-o", "plot.svg").code == 0
    texts = re.findall(r"<!-- (.*) -->", Path("plot.svg").read_text())
    assert [text for text in dict.fromkeys(texts) if text in ("a", "b", "runs/a", "old/a")] == ["runs/a", "b", "old/a"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runs/a"], 2, "missing option '--out'"),
        (["-o", "a.png"], 2, "missing argument 'RUN...'"),
        (["missing", "-o", "a.gif"], 2, "`a.gif` does not end in .png or .svg"),
        (["missing", "-o", "a.png"], 1, "there is no run `missing`"),
        (["runs", "-o", "a.png"], 1, "`runs` holds no `metrics.jsonl`"),
        (["runs/a", "-o", "no/a.png"], 1, "`no/a.png` cannot be written: No such file or directory"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("plot", *words)
    assert (got[0], message in got[1]) == (code, True), got
    assert not Path("a.png").exists()


def test_plot_does_not_overwrite_its_inputs() -> None:
    Path("a.png").write_text(LINE)
    Path("b.svg").symlink_to("runs/b/metrics.jsonl")
    for words in (["a.png", "-o", "a.png"], ["runs/a", "runs/b", "-o", "b.svg"]):
        assert failure("plot", *words)[1].startswith("the command would overwrite its own input `")
    assert Path("runs/b/metrics.jsonl").read_text() == LINE


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    got = failure("plot", "runs/a", "-o", "a.png")
    assert got == (1, "matplotlib is not installed", "plots need matplotlib: `pip install 'n2n-cli[plot]'`")
