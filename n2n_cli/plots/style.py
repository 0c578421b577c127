"""Style of figures, legible in grey and for the colour-blind, and their files."""

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
_WIDE_RANGE = 20  # minimum ratio of largest to smallest value for a logarithmic axis
_MAX_LABEL = 40  # maximum length of a label, in characters
_LEGEND_ROW = 0.22  # height of a row, in inches
# Okabe and Ito (2008), "Color universal design", without yellow, which is too light on white; in an order in which
# adjacent colours also differ in lightness.
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
    "svg.hashsalt": "n2n",  # makes the SVG file reproducible
}


def available() -> bool:
    """True if matplotlib is installed."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    return True


def check_ending(path: Path) -> None:
    """Check that a file name has the extension of a supported format.

    Raises
    ------
    UsageError
        When it does not end in .png or .svg.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"`{path}` does not end in {' or '.join(FORMATS)}", hint="name a file as `plot.png`")


@contextmanager
def drawing(paths: Sequence[Path], inches: tuple[float, float], *, follow_links: bool = True) -> Iterator[Any]:
    """Context that provides a figure and saves it; `follow_links` as in `replacing`."""
    if not available():
        raise N2NError("matplotlib is not installed", hint=INSTALL)
    import matplotlib
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks
        figure = Figure(inches, layout="constrained")
        yield figure
        for path in paths:
            data = BytesIO()
            ending = path.suffix.lower()[1:]
            # Without the date, the SVG file is reproducible.
            figure.savefig(data, format=ending, metadata={"Date": None} if ending == "svg" else {})
            with writing(path, N2NError), replacing(path, follow_links=follow_links) as file:
                file.write(data.getbuffer())


def line_styles() -> Iterator[dict[str, Any]]:
    """Yield line styles that differ in more than colour."""
    for colour, dashes, marker in zip(cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS), strict=False):
        yield {"color": colour, "linestyle": dashes, "marker": marker}


def scale(axis: Any, values: Sequence[float]) -> None:
    """Make the axis logarithmic if the values are positive and span a wide range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) < _WIDE_RANGE * min(finite):
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    decades = math.log10(max(finite) / min(finite))
    axis.set_major_locator(LogLocator(subs=(1, 3) if decades <= 4 else (1,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def add_legend(figure: Any, lines: Sequence[Any], labels: Sequence[str]) -> None:
    """Add a legend below the axes."""
    names = [shown_name(label) for label in labels]
    columns = 1 if max(map(len, names)) > 25 else 3
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _LEGEND_ROW * math.ceil(len(names) / columns))
    legend = figure.legend(lines, ["x"] * len(lines), loc="outside lower center", ncols=columns)
    for shown, name in zip(legend.get_texts(), names, strict=True):
        shown.set_text(name)  # `legend` itself would omit a name that begins with `_`


def shown_name(name: str) -> str:
    """Escape a name for matplotlib, and shorten a long one."""
    name = printable(name)
    if len(name) > _MAX_LABEL:
        name = "..." + name[3 - _MAX_LABEL :]  # keep the end, as paths tend to differ there
    return name.replace("$", r"\$")
