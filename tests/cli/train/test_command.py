"""`n2n train`: output and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from tests.cli import TINY, failure, n2n, photo

RESULT = r"{run}/best\.pth: noisy \d+\.\d\d dB, denoised \d+\.\d\d dB\n"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


pytestmark = pytest.mark.usefixtures("here")


def test_training_from_start_to_end() -> None:
    answer = n2n("train", "--config", "tiny.toml", "--out", "run")
    assert answer.code == 0
    assert re.fullmatch(RESULT.format(run="run"), answer.out)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    best = max(line["psnr"] for line in lines)
    assert answer.out == f"run/best.pth: noisy {lines[0]['noisy_psnr']:.2f} dB, denoised {best:.2f} dB\n"
    log = answer.err.splitlines()
    assert log[:2] == ["run folder: run", "pictures: photos"]
    assert "validation PSNR is the figure to watch" in answer.err
    assert f"84 parameters, 3 epochs of 4 steps, noisy validation pictures at {lines[0]['noisy_psnr']:.2f} dB" in log
    shown = [line for line in log if line.startswith("epoch ")]
    pattern = r"epoch (\d)/3: loss (\d\.\d{5}), validation PSNR ([\d.]+) dB( \(best so far\))?, \d+ images/s.*, \d+ s"
    for line, wanted in zip(shown, lines, strict=True):
        match = re.fullmatch(pattern, line)
        assert match, line
        number, loss, psnr, is_best = match.groups()
        assert (number, loss, psnr) == (str(wanted["epoch"]), f"{wanted['loss']:.5f}", f"{wanted['psnr']:.2f}")
        assert bool(is_best) == wanted["best"]


def test_result_is_one_line_for_any_folder_name() -> None:
    answer = n2n("train", "--config", "tiny.toml", "--out", "a\nb\udcff")
    assert re.fullmatch(RESULT.format(run=r"a\\nb\\udcff"), answer.out)
    assert Path("a\nb\udcff/best.pth").is_file()


def test_options_are_in_the_resolved_configuration() -> None:
    Path("tiny.toml").write_text(TINY.replace("photos", "elsewhere"))
    flags = {
        "--data": "photos",
        "--noise": "gaussian:10",
        "--epochs": "1",
        "--lr": ".5",
        "--batch-size": "7",
        "--seed": "3",
    }
    words = [word for flag in flags.items() for word in flag]
    keys = ("--set", "data.pairs=6", "--set", "data.validation_pairs=2")
    answer = n2n("train", "--config", "tiny.toml", *words, *keys, "--out", "run")
    assert answer.code == 0
    config = load_config("run/config.toml")
    assert (config.data.source, config.data.noise, config.data.pairs) == ("photos", "gaussian:10", 6)
    assert config.data.validation_pairs == 2
    assert (config.train.epochs, config.train.lr, config.train.batch_size, config.train.seed) == (1, 0.5, 7, 3)
    assert "1 epoch of 1 step," in answer.err


def test_option_overrides_set() -> None:
    n2n("train", "--config", "tiny.toml", "--lr", "0.25", "--set", "train.lr=0.75", "--epochs", "1", "--out", "run")
    assert load_config("run/config.toml").train.lr == 0.25


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--config", "missing.toml"], 2, "there is no configuration `missing.toml`"),
        (["--config", "photos/0.png"], 2, "`photos/0.png` is not TOML"),
        (["--config", "photos"], 2, "`photos`"),
        (["--config", "wrong.toml"], 2, "`wrong.toml`: unknown key `train.momentun`"),
        (["--set", "train.epoch=3"], 2, "`--set train.epoch=3`: unknown key `train.epoch`"),
        (["--set", "train.epochs"], 2, "`--set train.epochs` has no `=`"),
        (["--set", "train.lr=fast"], 2, '`train.lr` is "fast", it must be a number above 0'),
        (["--epochs", "0"], 2, "`--epochs`: `train.epochs` is 0, it must be a whole number from 1"),
        (["--epochs", "1.5"], 2, "`train.epochs` is 1.5, it must be a whole number"),
        (["--epochs", "ten"], 2, '`train.epochs` is "ten", it must be a whole number'),
        (["--batch-size", "-1"], 2, "`train.batch_size` is -1, it must be a whole number from 1"),
        (["--seed", "-1"], 2, "`train.seed` is -1, it must be a whole number from 0"),
        (["--lr", "nan"], 2, "`train.lr` is NaN, it must be a number above 0"),
        (["--noise", "salt:3"], 2, '`--noise`: `data.noise` is "salt:3", it must be a noise model'),
        (["--noise", "gaussian:256"], 2, "from 0 to 255 grey levels"),
        (["--data", "missing"], 1, "there is no folder `missing`"),
        (["--data", "tiny.toml"], 1, "`tiny.toml` is not a folder of pictures"),
        (["--data", "texts"], 1, "`texts/a.png` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture"),
        (["--data", "empty"], 1, "the folder `empty` holds no pictures"),
        (["--data", "missing.pkl"], 1, "`missing.pkl`"),
        (["--data", "a\nb"], 1, "there is no folder `a\\nb`"),
        (["--out", "tiny.toml"], 2, "the run folder `tiny.toml` cannot be"),
        (["--out", "tiny.toml/run"], 2, "the run folder `tiny.toml/run` cannot be"),
        (["--out", "/proc/run"], 2, "the run folder `/proc/run` cannot be"),
        (["--lr", "1000", "--set", "train.epochs=300"], 1, "training stopped at step"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str, here: Path) -> None:
    Path("wrong.toml").write_text(TINY + "momentun = 1\n")
    Path("empty").mkdir()
    photo(here / "texts" / "b.png").with_name("a.png").write_text("no picture")
    config = [] if "--config" in words else ["--config", "tiny.toml"]
    if "1000" in words:  # without its Sigmoid the network's output is unbounded
        Path("tiny.toml").write_text(TINY.replace('  { type = "Sigmoid" },\n', ""))
    got = failure("train", *config, *words)
    assert got[0] == code
    assert message in got[1]
    assert not list(here.glob("runs/*")) or "1000" in words  # a refused command leaves no run


def test_earlier_run_is_kept_without_force() -> None:
    command = ("train", "--config", "tiny.toml", "--epochs", "1", "--out", "run")
    n2n(*command)
    before = Path("run/metrics.jsonl").read_bytes()
    code, message, hint = failure(*command)
    assert (code, message) == (2, "`run` holds a run already")
    assert "--force" in hint
    assert Path("run/metrics.jsonl").read_bytes() == before
    assert failure(*command, "--force", "--data", "missing")[1] == "there is no folder `missing`"
    assert Path("run/metrics.jsonl").read_bytes() == before
    assert n2n(*command, "--force", "--epochs", "2").code == 0
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 2


def test_run_does_not_overwrite_its_inputs() -> None:
    assert n2n("train", "--config", "tiny.toml", "--epochs", "1", "--out", "run").code == 0
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    for words in (["--init", "run/best.pth"], ["--config", "run/config.toml"], ["--init", "./run/last.pth"]):
        code, message, hint = failure("train", *words, "--out", "run", "--force")
        assert (code, hint) == (2, "another folder: `--out FOLDER`")
        assert message.startswith("the command would overwrite its own input `")
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before


def test_refused_training_keeps_an_empty_folder() -> None:
    Path("run").mkdir()
    failure("train", "--config", "tiny.toml", "--data", "missing", "--out", "run")
    assert Path("run").is_dir()


def test_failed_training_keeps_its_checkpoints() -> None:
    Path("tiny.toml").write_text(TINY.replace('  { type = "Sigmoid" },\n', ""))  # unbounded output
    words = ("--lr", "1000", "--epochs", "300", "--checkpoint-minutes", "1e-9")
    assert failure("train", "--config", "tiny.toml", *words)[:1] == (1,)
    assert Model.from_checkpoint("runs/tiny-1/last.pth")
