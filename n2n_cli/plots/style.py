"""How plots look: readable in grey, and by those who see colours differently; and how they become files."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

from n2n_cli.errors import N2NError, UsageError, printable
from n2n_cli.system.atomic_files import replacing, writing

FORMATS = (".png", ".svg")
INSTALL = "plots need matplotlib: `pip install 'n2n-cli[plot]'`"
_WIDE = 20  # times that the largest value is the smallest, from which an axis is logarithmic
_LONGEST = 40  # characters of a label
_LEGEND_ROW = 0.22  # inches
# Okabe and Ito (2008), "Color universal design", without their yellow, which is too light on white; neighbours differ
# in lightness, too.
_COLOURS = ("#000000", "#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#CC79A7", "#009E73")
_DASHES = ("-", "--", "-.", (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
REFERENCE = {"color": "#666666", "linestyle": ":", "linewidth": 1.5}
_STYLE: dict[str, Any] = {
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.hashsalt": "n2n",  # the same plot is the same file
}


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    return True


def check_ending(path: Path) -> None:
    """See that a plot of this name can be written.

    Raises
    ------
    UsageError
        When its ending is of no format that plots have.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"`{path}` does not end in {' or '.join(FORMATS)}", hint="name a file as `plot.png`")


@contextmanager
def drawing(paths: Sequence[Path], inches: tuple[float, float]) -> Iterator[Any]:
    """A figure to draw in, which is written, whole, at the end of the block."""
    if not available():
        raise N2NError("matplotlib is not installed", hint=INSTALL)
    import matplotlib
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks
        figure = Figure(inches, layout="constrained")
        yield figure
        for path in paths:
            data = BytesIO()
            ending = path.suffix.lower()[1:]
            # An SVG would say when it was made.
            figure.savefig(data, format=ending, metadata={"Date": None} if ending == "svg" else {})
            with writing(path, N2NError), replacing(path) as file:
                file.write(data.getbuffer())


def line_styles() -> Iterator[dict[str, Any]]:
    """How one line after the other is drawn: they also differ without colours."""
    for colour, dashes, marker in zip(cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS), strict=False):
        yield {"color": colour, "linestyle": dashes, "marker": marker}


def scale(axis: Any, values: Sequence[float]) -> None:
    """Make the axis logarithmic where that fits the values."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) < _WIDE * min(finite):
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    decades = math.log10(max(finite) / min(finite))
    axis.set_major_locator(LogLocator(subs=(1, 3) if decades <= 4 else (1,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def add_legend(figure: Any, lines: Sequence[Any], labels: Sequence[str]) -> None:
    """Say below the axes what the lines are."""
    names = [shown_name(label) for label in labels]
    columns = 1 if max(map(len, names)) > 25 else 3
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _LEGEND_ROW * math.ceil(len(names) / columns))
    legend = figure.legend(lines, ["x"] * len(lines), loc="outside lower center", ncols=columns)
    for shown, name in zip(legend.get_texts(), names, strict=True):
        shown.set_text(name)  # given above, a name that begins with `_` would be left out


def shown_name(name: str) -> str:
    """A name of any characters as matplotlib writes it, not too long."""
    name = printable(name)
    if len(name) > _LONGEST:
        name = "..." + name[3 - _LONGEST :]  # the ends of paths differ
    return name.replace("$", r"\$")
