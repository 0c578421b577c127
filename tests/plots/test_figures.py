"""Plots of trainings and sweeps: content, legibility and files."""

from __future__ import annotations

import math
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import N2NError, UsageError
from n2n_cli.images import read_picture
from n2n_cli.plots.figures import draw_runs, draw_sweep
from n2n_cli.plots.style import available, check_ending, line_styles
from n2n_cli.sweeps.results import Result
from n2n_cli.training.history import History


@pytest.fixture(autouse=True)
def matplotlib_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))


def history(epochs: int = 3, lr: float = 0.1, noisy: float = 20.5) -> History:
    return [
        {"epoch": e, "loss": 0.5 / e, "noisy_psnr": noisy, "psnr": noisy + e, "lr": lr / e}
        for e in range(1, epochs + 1)
    ]


def result(psnr: float | None, *, noisy: float = 20.5, status: str = "done", **values: Any) -> Result:
    named = {name.replace("_", ".", 1): value for name, value in values.items()}
    return Result(named, status, psnr, psnr, 1, psnr, 0.1, noisy, noisy, 1, 1.0, "run")


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_three_panels_of_several_runs(tmp_path: Path) -> None:
    figure = draw_runs({"a": history(), "b": history(2, lr=1)}, [tmp_path / "a.png"])
    loss, psnr, lr = figure.axes
    assert [points(line) for line in loss.lines] == [[(1, 0.5), (2, 0.25), (3, 0.5 / 3)], [(1, 0.5), (2, 0.25)]]
    assert [points(line) for line in psnr.lines[:2]] == [[(1, 21.5), (2, 22.5), (3, 23.5)], [(1, 21.5), (2, 22.5)]]
    assert [points(line) for line in lr.lines] == [[(1, 0.1), (2, 0.05), (3, 0.1 / 3)], [(1, 1), (2, 0.5)]]
    assert list(psnr.lines[2].get_ydata()) == [20.5, 20.5]
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "validation PSNR (dB)", "learning rate"]
    assert lr.get_xlabel() == "epoch"
    assert legend(figure) == ["a", "b", "before denoising"]
    assert (loss.get_yscale(), lr.get_yscale()) == ("linear", "log")
    assert all(float(tick).is_integer() for tick in lr.get_xticks())


def test_one_line_per_noisy_psnr(tmp_path: Path) -> None:
    histories = {"a": history(noisy=20), "b": history(noisy=24), "c": history(noisy=math.inf)}
    figure = draw_runs(histories, [tmp_path / "a.svg"])
    assert [line.get_ydata()[0] for line in figure.axes[1].lines[3:]] == [20, 24]
    assert legend(draw_runs({"c": history(noisy=math.inf)}, [tmp_path / "a.svg"])) == ["c"]


def test_sweep_over_one_key_is_drawn_as_a_line(tmp_path: Path) -> None:
    results = [result(21, train_lr=1e-4), result(22.504, train_lr=1e-2), result(None, train_lr=1.0, status="diverged")]
    figure = draw_sweep([*results, result(None, train_lr=0.1, status="failed")], [tmp_path / "a.png"])
    (axis,) = figure.axes
    assert points(axis.lines[0]) == [(1e-4, 21), (1e-2, 22.504)]
    assert [text.get_text() for text in axis.texts] == ["21.00", "22.50"]
    assert list(axis.lines[1].get_xdata()) == [1.0]
    assert list(axis.lines[2].get_ydata()) == [20.5, 20.5]
    assert legend(figure) == ["best epoch of each training", "diverged", "before denoising"]
    assert (axis.get_xscale(), axis.get_xlabel(), axis.get_ylabel()) == ("log", "learning rate", "validation PSNR (dB)")


@pytest.mark.parametrize(
    ("values", "scale"), [([1e-4, 1e-2], "log"), ([1, 2], "linear"), ([0, 100], "linear"), ([3], "linear")]
)
def test_axis_is_logarithmic_for_wide_ranges(values: list[float], scale: str, tmp_path: Path) -> None:
    figure = draw_sweep([result(21, train_weight_decay=value) for value in values], [tmp_path / "a.svg"])
    assert figure.axes[0].get_xscale() == scale


def test_ticks_of_a_logarithmic_axis_are_plain_numbers(tmp_path: Path) -> None:
    figure = draw_sweep([result(21, train_lr=1e-4), result(22, train_lr=1e-1)], [tmp_path / "a.svg"])
    (axis,) = figure.axes
    low, high = axis.get_xlim()
    shown = [tick.get_text() for tick in axis.get_xticklabels() if low <= tick.get_position()[0] <= high]
    assert shown == ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1"]


def test_numeric_key_is_the_axis_of_a_sweep_over_two_keys(tmp_path: Path) -> None:
    grid = [(name, lr) for name in ("gaussian:9", "bernoulli:0.5") for lr in (1.0, 0.5)]
    results = [result(20 + i, data_noise=name, train_lr=lr) for i, (name, lr) in enumerate(grid)]
    figure = draw_sweep(results, [tmp_path / "a.svg"])
    (axis,) = figure.axes
    assert axis.get_xlabel() == "learning rate"
    assert [points(line) for line in axis.lines[:2]] == [[(0.5, 21), (1, 20)], [(0.5, 23), (1, 22)]]
    assert legend(figure) == ["noise gaussian:9", "noise bernoulli:0.5", "before denoising"]


def test_values_that_are_no_numbers_are_categories(tmp_path: Path) -> None:
    noises = ("gaussian:25", "pixelate:8", "gaussian:5")
    results = [result(20, noisy=18 + i, data_noise=noise) for i, noise in enumerate(noises)]
    figure = draw_sweep(results, [tmp_path / "a.svg"])
    (axis,) = figure.axes
    assert points(axis.lines[0]) == [(0, 20), (1, 20), (2, 20)]
    assert axis.lines[0].get_linestyle() == "None"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(noises)
    assert legend(figure) == ["best epoch of each training"]  # no common level of the noisy images


def test_sweep_without_results_is_drawn(tmp_path: Path) -> None:
    results = [result(None, train_lr=lr, status="diverged") for lr in (1.0, 2.0)]
    assert legend(draw_sweep(results, [tmp_path / "a.png"]))[1] == "diverged"


def test_lines_differ_in_style_and_lightness() -> None:
    styles = [style for _, style in zip(range(60), line_styles(), strict=False)]
    assert len({(str(style["linestyle"]), style["marker"]) for style in styles[:45]}) == 45
    rgb = [[int(style["color"][i : i + 2], 16) for i in (1, 3, 5)] for style in styles[:7]]
    lightness = np.array(rgb) @ [0.2126, 0.7152, 0.0722]
    assert np.abs(np.diff(lightness)).min() > 20


def test_names_of_runs_are_escaped_and_shortened(tmp_path: Path) -> None:
    names = ["_hidden", "$x$", "a\nb", "日本", "long/" * 20 + "end"]
    shown = legend(draw_runs({name: history() for name in names}, [tmp_path / "a.svg"]))
    assert shown[:4] == ["_hidden", r"\$x\$", "a\\nb", "日本"]
    assert re.fullmatch(r"\.\.\..{33}/end", shown[4])
    assert "<!-- $x$ -->" in (tmp_path / "a.svg").read_text()


def test_figure_grows_with_the_number_of_runs(tmp_path: Path) -> None:
    heights = []
    for count in (2, 40):
        histories = {f"a run with a rather long name {i}": history() for i in range(count)}
        figure = draw_runs(histories, [tmp_path / f"{count}.png"])
        heights.append(figure.axes[0].get_position().height * figure.get_size_inches()[1])
    few, many = heights
    assert many > 0.9 * few


def test_labels_do_not_overlap(tmp_path: Path) -> None:
    results = [result(21, data_noise=f"poisson-gaussian:{i},25") for i in range(6)]
    for figure in (
        draw_runs({f"run {i}": history() for i in range(5)}, [tmp_path / "a.png"]),
        draw_sweep(results, [tmp_path / "a.png"]),
    ):
        boxes = [axis.get_tightbbox() for axis in figure.axes] + [figure.legends[0].get_window_extent()]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(figure.bbox.padded(1).containsx(box.x0) and figure.bbox.padded(1).containsx(box.x1) for box in boxes)
        labels = [tick.get_window_extent() for tick in figure.axes[-1].get_xticklabels() if tick.get_text()]
        rotated = figure.axes[-1].get_xticklabels()[0].get_rotation() > 0
        assert rotated or not any(a.overlaps(b) for a, b in pairwise(labels))


@pytest.mark.parametrize("name", ["a.png", "a.svg", "A.PNG"])
def test_files_are_reproducible_and_ignore_other_settings(name: str, tmp_path: Path) -> None:
    import matplotlib

    draw_runs({"a": history()}, [tmp_path / name])
    first = (tmp_path / name).read_bytes()
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        draw_runs({"a": history()}, [tmp_path / name])
    assert (tmp_path / name).read_bytes() == first
    assert dict(matplotlib.rcParams) == before
    if name == "a.png":
        assert read_picture(tmp_path / name).pixels.shape[1] == 1050


def test_unwritable_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(N2NError, match=r"^`.*/no/a.png` cannot be written: No such file or directory$"):
        draw_runs({"a": history()}, [tmp_path / "no" / "a.png"])
    with pytest.raises(UsageError, match=r"^`a.pdf` does not end in .png or .svg$"):
        check_ending(Path("a.pdf"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not available()
    with pytest.raises(N2NError, match=r"^matplotlib is not installed$") as caught:
        draw_runs({"a": history()}, [tmp_path / "a.png"])
    assert caught.value.hint == "plots need matplotlib: `pip install 'n2n-cli[plot]'`"
    assert not (tmp_path / "a.png").exists()
