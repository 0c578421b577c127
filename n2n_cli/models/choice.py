"""Find the checkpoint that a name stands for.

A name is a file or a bundled model; without one, it is the best checkpoint of the newest training that denoises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n2n_cli.checkpoints.contents import facts_in
from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.errors import CheckpointError, counted

FOLDER = Path(__file__).parent
DEFAULT = "photo"

RUNS = Path("runs")
"""Default parent of run folders, in the current folder."""

LAST, BEST = "last.pth", "best.pth"
"""File names of checkpoints in a run folder: the last epoch's, and that with the highest validation PSNR."""

MIN_GAIN = 1.0
"""Minimum gain in PSNR over the noisy held-out pictures, in dB, of a run that is used by default."""
_MIN_GAIN_NOISY = 10 * math.log10(2 / (1 + 10 ** (-MIN_GAIN / 10)))
"""The same for targets that are as noisy as the inputs: both errors contain the targets' noise."""


NOTICEABLE = 0.1
"""Difference in PSNR, in dB, from which a model is called better than another."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint, and its description for the user.

    Attributes
    ----------
    path : Path
    text : str
    note : str
        Runs that were passed over, and why; empty if there are none.
    by_default : bool
        True for the bundled default, if no model was named and no run denoises.
    """

    path: Path
    text: str
    note: str = ""
    by_default: bool = False

    @property
    def name(self) -> str:
        """Name of a bundled model, or file name of a checkpoint."""
        return self.path.stem if self.path.parent == FOLDER else self.path.name


def bundled_models() -> dict[str, Path]:
    """Paths of the checkpoints that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.pth"))}


def choose_model(named: str | None) -> Choice:
    """Find a checkpoint by its path or by the name of a bundled model.

    Without a name it is the best checkpoint of the newest run in `runs/` that denoises; else the bundled default.

    Raises
    ------
    CheckpointError
        When there is no model to choose.
    """
    bundled = bundled_models()
    if named is not None:
        if named in bundled and not Path(named).exists():
            return Choice(bundled[named], f"the bundled model {named}")
        return Choice(Path(named), named)
    passed: list[str] = []
    for path in run_checkpoints():
        reason = _unfit(path)
        if not reason:
            return Choice(path, str(path), _note(passed))
        passed.append(f"{path} is not used: {reason}")
    if DEFAULT not in bundled:
        raise CheckpointError(
            f"there is no model: no run in `{RUNS}` has a checkpoint of a network that denoises",
            hint="make one with `n2n train`, or name one with `--model CHECKPOINT`",
        )
    text = f"the bundled model {DEFAULT}; `n2n models` lists it"
    return Choice(bundled[DEFAULT], text, _note(passed), by_default=True)


def run_checkpoints(runs: Path | None = None) -> list[Path]:
    """Best checkpoint of each run in a folder, the most recently saved run first."""
    found = []
    with suppress(OSError):  # no such folder, or no permission
        for folder in (RUNS if runs is None else runs).iterdir():
            with suppress(OSError):  # likewise for one run
                found.append(((folder / LAST).stat().st_mtime, folder))
    newest = [folder for _, folder in sorted(found, key=lambda item: item[0], reverse=True)]
    return [folder / BEST if (folder / BEST).is_file() else folder / LAST for folder in newest]


def denoises(facts: Mapping[str, Any], *, noisy_targets: bool = False) -> bool:
    """Test whether a network gains enough to be used by default.

    The gain is that in PSNR over the noisy held-out pictures.

    Parameters
    ----------
    facts : mapping
        `psnr` and `noisy_psnr` of the held-out pictures, in dB, and their `pooled_psnr` and `noisy_pooled_psnr`, which
        are used if the former are infinite because a picture equals its target. Without any, the result is True.
    noisy_targets : bool
        True if the pictures were compared with other noisy ones.
    """
    figures = _figures(facts)
    return figures is None or figures[1] - figures[0] >= (_MIN_GAIN_NOISY if noisy_targets else MIN_GAIN)


def better_bundled(facts: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """Bundled model that denoises the held-out pictures better, if known.

    Returns
    -------
    (str, float, float) or None
        The name, its PSNR, and that of the network with these facts, in dB.
    """
    score = facts.get("bundled")
    if not isinstance(score, dict):
        return None
    name = score.get("name")
    if isinstance(name, str) and name in bundled_models():
        theirs, own = _finite(score.get("psnr")), _finite(score.get("own_psnr"))
        if theirs is not None and own is not None and theirs - own >= NOTICEABLE:
            return name, theirs, own
    return None


def _unfit(path: Path) -> str:
    """Reason not to use a run's checkpoint by default; empty if none is known."""
    try:
        tree = read_checkpoint(path, weights=False)
    except CheckpointError:  # reported when the weights are read: the user expects this run
        return ""
    facts, kind = facts_in(tree), "pictures"
    if facts.get("epoch") == 0:
        return "it has not finished its first epoch"
    with suppress(KeyError, TypeError):  # weights alone, or an untrusted checkpoint
        kind = tree["config"]["data"]["kind"]
    figures = _figures(facts)
    if figures is None or denoises(facts, noisy_targets=kind != "pictures"):
        return ""
    return (
        f"it does not denoise, its held-out pictures have {figures[0]:.2f} dB before and {figures[1]:.2f} dB after it"
    )


def _figures(facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """PSNR of held-out pictures before and after denoising, in dB, where it is finite."""
    for name in ("psnr", "pooled_psnr"):
        before, after = _finite(facts.get(f"noisy_{name}")), _finite(facts.get(name))
        if before is not None and after is not None:
            return before, after
    return None


def _note(passed: list[str]) -> str:
    if len(passed) > 1:
        return f"{passed[0]}; {counted(len(passed) - 1, 'older run')} likewise"
    return "".join(passed)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
