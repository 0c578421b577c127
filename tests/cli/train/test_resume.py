"""`n2n train --resume`: equal weights, more epochs, and refused options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from tests.cli import failure, n2n

pytestmark = pytest.mark.usefixtures("here")


def test_run_is_resumed_for_more_epochs() -> None:
    first = n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    again = n2n("train", "--resume", "run")
    assert (again.code, again.out) == (0, first.out)
    assert "all epochs are done" in again.err
    assert not re.search("^epoch", again.err, re.MULTILINE)
    longer = n2n("train", "--resume", "run", "--epochs", "3", "--checkpoint-minutes", "0.001")
    assert longer.code == 0
    assert "continues after epoch 1" in longer.err
    assert re.findall(r"^epoch (\d)/3", longer.err, re.MULTILINE) == ["2", "3"]
    assert load_config("run/config.toml").train.epochs == 3
    whole = n2n("train", "--config", "tiny.toml", "--out", "whole")
    assert longer.out.replace("run/", "whole/") == whole.out


def test_run_is_resumed_with_moved_pictures() -> None:
    n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    Path("photos").rename("moved")
    assert failure("train", "--resume", "run", "--epochs", "2")[1] == "there is no folder `photos`"
    assert n2n("train", "--resume", "run", "--epochs", "2", "--data", "moved").code == 0
    assert load_config("run/config.toml").data.source == "moved"


def test_run_without_a_checkpoint_starts_again() -> None:
    whole = n2n("train", "--config", "tiny.toml", "--seed", "5", "--out", "whole")
    for name in ("last.pth", "best.pth"):
        Path("whole", name).unlink()
    again = n2n("train", "--resume", "whole")
    assert again.out == whole.out
    assert "it holds no `last.pth` yet: the training starts from the beginning, as its `config.toml` says" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.1"], "`--lr` cannot be used with `--resume`: the run keeps its own"),
        (["--config", "tiny.toml", "--seed", "1"], "`--seed` and `--config` cannot be used with `--resume`"),
        (["--set", "train.lr=1"], "`--set` cannot be used with `--resume`"),
        (["--noise", "gaussian:5", "--batch-size", "2"], "`--noise` and `--batch-size` cannot be used"),
        (["--out", "b", "--force"], "`--out` and `--force` cannot be used with `--resume`"),
        (["--epochs", "0"], "`--epochs`: `train.epochs` is 0"),
        (["--checkpoint-minutes", "0"], "`--checkpoint-minutes` is '0', it must be a number above 0"),
        (["--checkpoint-minutes", "nan"], "`--checkpoint-minutes` is 'nan', it must be a number above 0"),
        (["--checkpoint-minutes", "soon"], "`--checkpoint-minutes` is 'soon', it must be a number above 0"),
        (["--checkpoint-minutes", "inf"], "`--checkpoint-minutes` is 'inf', it must be a number above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_a_resumed_run_keeps_are_refused(words: list[str], message: str) -> None:
    n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    code, text, hint = failure("train", "--resume", "run", *words)
    assert (code, text[: len(message)]) == (2, message)
    assert hint
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before


def test_folder_without_a_resumable_run_is_refused(here: Path) -> None:
    assert failure("train", "--resume", "photos")[:2] == (2, "`photos` holds no `last.pth` to resume from")
    Path("run").mkdir()
    last = Path("run/last.pth")
    last.write_bytes(Path("tiny.pth").read_bytes())  # of a version that could not resume
    assert failure("train", "--resume", "run")[:2] == (1, "`run/last.pth` holds no training progress")
    write_checkpoint(last, Model.from_checkpoint("tiny.pth").network.state_dict())
    text = "`run/last.pth` cannot be resumed: it holds no `model`, no `optimizer`"
    assert failure("train", "--resume", "run")[:2] == (1, text)
    last.write_bytes(b"PK")
    assert failure("train", "--resume", "run")[0] == 1
    assert [path.name for path in Path("run").iterdir()] == ["last.pth"]


def test_resume_allows_or_refuses_every_option() -> None:
    text = n2n("train", "--help").out
    options = set(re.findall(r"^│ (--[a-z-]+)", text, re.MULTILINE))
    refused = {"--config", "--noise", "--lr", "--batch-size", "--seed", "--set", "--out", "--force"}
    refused |= {"--init", "--freeze", "--match-exposure", "--align", "--values", "--frame-gap", "--axes"}
    allowed = {"--data", "--pairs", "--bursts", "--single-image", "--movie"}  # for images that have moved
    allowed |= {"--epochs", "--resume", "--checkpoint-minutes", "--threads"}
    assert options - {"--help", "--quiet", "--verbose", "--debug", "--plugin"} == refused | allowed
