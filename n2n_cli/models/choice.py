"""Find the checkpoint that a name stands for.

A name is a file or a bundled model; without one, it is the newest training's best checkpoint.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.errors import CheckpointError

FOLDER = Path(__file__).parent
DEFAULT = "photo"

RUNS = Path("runs")
"""Default parent of run folders, in the current folder."""

LAST, BEST = "last.pth", "best.pth"
"""File names of checkpoints in a run folder: the last epoch's, and that with the highest validation PSNR."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint, and its description for the user."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Name of the model without folders: that of a bundled model, or the checkpoint's file name."""
        return self.path.stem if self.path.parent == FOLDER else self.path.name


def bundled_models() -> dict[str, Path]:
    """Paths of the checkpoints that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.pth"))}


def choose_model(named: str | None) -> Choice:
    """Find a checkpoint by its path or by the name of a bundled model.

    Without a name it is the best checkpoint of the newest run in `runs/`, if there is one; else the bundled default.

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
    try:
        path = newest_checkpoint()
    except CheckpointError:
        if DEFAULT not in bundled:
            raise
        return Choice(bundled[DEFAULT], f"the bundled model {DEFAULT}; `n2n models` tells about it")
    return Choice(path, str(path))


def newest_checkpoint(runs: Path | None = None) -> Path:
    """Find the best checkpoint of the run that was saved last.

    Raises
    ------
    CheckpointError
        When no run has a checkpoint.
    """
    runs = RUNS if runs is None else runs
    found = []
    with suppress(OSError):  # no such folder, or no permission
        for folder in runs.iterdir():
            with suppress(OSError):  # likewise for one run
                found.append(((folder / LAST).stat().st_mtime, folder))
    if not found:
        raise CheckpointError(
            f"there is no model: no run in `{runs}` has a checkpoint",
            hint="make one with `n2n train`, or name one with `--model CHECKPOINT`",
        )
    _, newest = max(found, key=lambda item: item[0])
    best = newest / BEST
    return best if best.is_file() else newest / LAST
