"""The models that come with the package, and which model is meant where none is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from n2n_cli.errors import CheckpointError
from n2n_cli.runs import newest_checkpoint

FOLDER = Path(__file__).parent / "models"
DEFAULT = "photo"


@dataclass(frozen=True)
class Choice:
    """A checkpoint, and for the user what it is."""

    path: Path
    text: str


def bundled_models() -> dict[str, Path]:
    """Checkpoints by name."""
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
