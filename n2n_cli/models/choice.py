"""Which checkpoint a name stands for: a file, a bundled model, or the newest training's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.errors import CheckpointError

FOLDER = Path(__file__).parent
DEFAULT = "photo"

RUNS = Path("runs")
"""The folder, in the current one, of runs that were given no folder of their own."""

LAST, BEST = "last.pth", "best.pth"
"""The checkpoints in a run folder: of the last epoch, and of the one with the highest validation PSNR."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint, and its description for the user."""

    path: Path
    text: str


def bundled_models() -> dict[str, Path]:
    """Checkpoints that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.pth"))}


def choose_model(named: str | None) -> Choice:
    """The checkpoint that a user means: a file, or the name of a bundled model.

    Without a name it is the best checkpoint of the newest run in `runs/`, if there is one; else the bundled default.

    Raises
    ------
    CheckpointError
        When there is none.
    """
    bundled = bundled_models()
    if named is not None:
        if named in bundled and not Path(named).exists():
            return Choice(bundled[named], f"the bundled model {named}")
        return Choice(Path(named), named)
    try:
        path = newest_checkpoint()
    except CheckpointError:
        if DEFAULT not in bundled:
            raise
        return Choice(bundled[DEFAULT], f"the bundled model {DEFAULT}; `n2n models` tells about it")
    return Choice(path, str(path))


def newest_checkpoint(runs: Path | None = None) -> Path:
    """The best checkpoint of the run that wrote one last.

    Raises
    ------
    CheckpointError
        When no run has a checkpoint.
    """
    runs = RUNS if runs is None else runs
    found = []
    with suppress(OSError):  # no runs, or not ours to see
        for folder in runs.iterdir():
            with suppress(OSError):  # the same for one of them
                found.append(((folder / LAST).stat().st_mtime, folder))
    if not found:
        raise CheckpointError(
            f"there is no model: no run in `{runs}` has a checkpoint",
            hint="make one with `n2n train`, or name one with `--model CHECKPOINT`",
        )
    _, newest = max(found, key=lambda item: item[0])
    best = newest / BEST
    return best if best.is_file() else newest / LAST
