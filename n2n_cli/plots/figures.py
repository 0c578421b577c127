"""Figures of trainings and sweeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from n2n_cli.plots.style import REFERENCE, add_legend, drawing, line_styles, scale, shown_name
from n2n_cli.sweeps.grid import text
from n2n_cli.sweeps.results import Result
from n2n_cli.training.history import History

_MAX_ANNOTATIONS = 12  # maximum number of PSNR values written into a plot
_ANNOTATION = {
    "textcoords": "offset points",
    "ha": "center",
    "size": 8,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},  # hides the lines behind the text
}
_KEYS = {
    "train.lr": "learning rate",
    "train.batch_size": "batch size (pairs)",
    "train.epochs": "epochs",
    "train.optimizer": "optimizer",
    "train.loss": "loss",
    "train.seed": "seed",
    "data.noise": "noise",
    "train.weight_decay": "weight decay",
    "train.clip_norm": "maximum gradient norm",
    "data.pairs": "training pairs",
    "data.size": "side of a training picture (pixels)",
}


def draw_runs(histories: Mapping[str, History], paths: Sequence[Path]) -> Any:
    """Draw loss, validation PSNR and learning rate over the epochs of trainings.

    Parameters
    ----------
    histories : dict
        History of each training, by its name in the legend.
    paths : sequence of path
        PNG or SVG files to write; existing ones are replaced.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    N2NError
        When matplotlib is not installed, or a file cannot be written.
    """
    with drawing(paths, (7, 7.8)) as figure:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots(3, 1, sharex=True)
        # PSNR would mislead for measured values, because its range is that of the data set.
        measured = all(epoch.get("rms") is not None for history in histories.values() for epoch in history)
        quality = ("rms", "RMS error (in the data's units)") if measured else ("psnr", "validation PSNR (dB)")
        labels = list(histories)
        for axis, (key, title) in zip(axes, (("loss", "loss"), quality, ("lr", "learning rate")), strict=True):
            lines = []
            for history, style in zip(histories.values(), line_styles(), strict=False):
                (line,) = axis.plot(*([epoch[name] for epoch in history] for name in ("epoch", key)), **style)
                lines.append(line)
            axis.set_ylabel(title)
            if key not in ("psnr", "rms"):
                scale(axis.yaxis, [epoch[key] for history in histories.values() for epoch in history])
        # Draw a single line if all trainings have the same held-out pictures.
        levels = {round(history[0]["noisy_psnr"], 2) for history in histories.values()} if not measured else set()
        for noisy in sorted(filter(math.isfinite, levels)):
            reference = axes[1].axhline(noisy, **REFERENCE)
        if any(map(math.isfinite, levels)):
            lines.append(reference)
            labels.append("before denoising")
        axes[2].set_xlabel("epoch")
        axes[2].xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(figure, lines, labels)
    return figure


def draw_sweep(results: Sequence[Result], paths: Sequence[Path]) -> Any:
    """Draw the validation PSNR of a sweep's trainings over the settings' values.

    With two settings, one is the horizontal axis and each value of the other is a line. The axis is logarithmic if the
    values span a wide range.

    Parameters
    ----------
    results : sequence of Result
        Results of one sweep.
    paths : sequence of path
        PNG or SVG files to write; existing ones are replaced, but symbolic links are refused.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    N2NError
        When matplotlib is not installed, or a file cannot be written.
    """
    along, *others = sorted(results[0].values, key=lambda name: not _is_numeric(results, name))  # a stable sort
    with drawing(paths, (7, 4.2), follow_links=False) as figure:
        axis = figure.subplots()
        numeric = _is_numeric(results, along)
        ticks = list(dict.fromkeys(text(result.values[along]) for result in results))

        def place(result: Result) -> float:
            value = result.values[along]
            return float(value) if numeric else float(ticks.index(text(value)))

        lines, labels = [], []
        groups: dict[str, list[Result]] = {}
        for result in results:
            name = " ".join(f"{_KEYS.get(other, other)} {text(result.values[other])}" for other in others)
            groups.setdefault(name, []).append(result)
        for (name, group), style in zip(groups.items(), line_styles(), strict=False):
            done = sorted((place(result), result.psnr) for result in group if result.psnr is not None)
            if not numeric:
                style["linestyle"] = "none"  # the values have no order
            (line,) = axis.plot([at for at, _ in done], [psnr for _, psnr in done], **style)
            lines.append(line)
            labels.append(name or "best epoch of each training")
            if len(results) <= _MAX_ANNOTATIONS and not others:
                axis.margins(y=0.12)
                for at, psnr in done:
                    axis.annotate(f"{psnr:.2f}", (at, psnr), (0, 7), **_ANNOTATION)
        diverged = [place(result) for result in results if result.status == "diverged"]
        if diverged:
            (line,) = axis.plot(
                diverged, [0.03] * len(diverged), "kx", transform=axis.get_xaxis_transform(), markersize=8
            )
            lines.append(line)
            labels.append("diverged")
        noisy = [result.noisy_psnr for result in results if result.noisy_psnr is not None]
        if len({round(psnr, 2) for psnr in noisy if math.isfinite(psnr)}) == 1:  # the same noise in all trainings
            lines.append(axis.axhline(noisy[0], **REFERENCE))
            labels.append("before denoising")
        axis.set_xlabel(_KEYS.get(along, along))
        axis.set_ylabel("validation PSNR (dB)")
        if numeric:
            scale(axis.xaxis, [place(result) for result in results])
        else:
            axis.set_xticks(
                range(len(ticks)), [shown_name(tick) for tick in ticks], rotation=20 if len(ticks) > 4 else 0
            )
        add_legend(figure, lines, labels)
    return figure


def _is_numeric(results: Sequence[Result], name: str) -> bool:
    values = [result.values[name] for result in results]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
