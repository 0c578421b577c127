"""`n2n train`: what it prints, where, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress, TaskID

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.cli import console
from n2n_cli.cli.train import progress as train_progress
from n2n_cli.config import load_config
from n2n_cli.errors import TrainingError
from n2n_cli.models.model import Model
from n2n_cli.training.records import Epoch, Finished, Record, Started, Step
from n2n_cli.training.run_folder import Run
from tests.cli import N2N, TINY, environment, failure, n2n, photo, workplace

RESULT = r"{run}/best\.pth: noisy \d+\.\d\d dB, denoised \d+\.\d\d dB\n"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    workplace(tmp_path)
    return tmp_path


def on_a_terminal(*words: str, **variables: str) -> tuple[str, str]:
    """stdout, which is a pipe, and stderr, which is a terminal of 80 columns, of a training of its own process."""
    terminal, side = pty.openpty()
    command = [*N2N, *words, "train", "--config", "tiny.toml"]
    env = environment(COLUMNS="80", **variables)
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=side) as process:
        os.close(side)
        seen = b""
        while True:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # EIO: the other side is closed
                break
        os.close(terminal)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    assert process.returncode == 0, seen
    return out, seen.decode()


def test_a_training_from_start_to_end() -> None:
    answer = n2n("train", "--config", "tiny.toml", "--out", "run")
    assert answer.code == 0
    assert re.fullmatch(RESULT.format(run="run"), answer.out)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    best = max(line["psnr"] for line in lines)
    assert answer.out == f"run/best.pth: noisy {lines[0]['noisy_psnr']:.2f} dB, denoised {best:.2f} dB\n"
    told = answer.err.splitlines()
    assert told[:2] == ["run folder: run", "pictures: photos"]
    assert "validation PSNR is the figure to watch" in answer.err
    assert f"84 parameters, 3 epochs of 4 steps, noisy validation pictures at {lines[0]['noisy_psnr']:.2f} dB" in told
    shown = [line for line in told if line.startswith("epoch ")]
    pattern = r"epoch (\d)/3: loss (\d\.\d{5}), validation PSNR ([\d.]+) dB( \(best so far\))?, \d+ images/s.*, \d+ s"
    for line, wanted in zip(shown, lines, strict=True):
        match = re.fullmatch(pattern, line)
        assert match, line
        number, loss, psnr, is_best = match.groups()
        assert (number, loss, psnr) == (str(wanted["epoch"]), f"{wanted['loss']:.5f}", f"{wanted['psnr']:.2f}")
        assert bool(is_best) == wanted["best"]


def test_quiet_leaves_the_result() -> None:
    answer = n2n("--quiet", "train", "--config", "tiny.toml")
    assert (answer.code, answer.err) == (0, "")
    assert re.fullmatch(RESULT.format(run="runs/tiny-1"), answer.out)


def test_the_result_is_one_line_whatever_the_folder_is_called() -> None:
    answer = n2n("-q", "train", "--config", "tiny.toml", "--out", "a\nb\udcff")
    assert re.fullmatch(RESULT.format(run=r"a\\nb\\udcff"), answer.out)
    assert Path("a\nb\udcff/best.pth").is_file()


def test_options_reach_the_resolved_configuration() -> None:
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


def test_an_option_wins_over_set() -> None:
    n2n("train", "--config", "tiny.toml", "--lr", "0.25", "--set", "train.lr=0.75", "--epochs", "1", "--out", "run")
    assert load_config("run/config.toml").train.lr == 0.25


def test_the_built_in_pictures_are_announced_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pictures(*_: object, **__: object) -> Iterator[Record]:
        raise TrainingError("stop")
        yield

    monkeypatch.setattr("n2n_cli.training.loop.train", no_pictures)
    told = n2n("train").err.splitlines()
    assert told[1] == "pictures: dead-leaves (made when first asked for, which takes some seconds)"
    assert told[2] == "error: stop"


@pytest.mark.parametrize(
    ("noisy", "psnr", "warned"), [(20, 19.99, True), (20, 20.0, True), (20, 20.01, False), (math.inf, 30, False)]
)
def test_a_network_that_makes_pictures_worse_is_told(
    noisy: float, psnr: float, warned: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.settings, "quiet", False)
    train_progress.show_lines(iter([Finished(Path("a/best.pth"), noisy, psnr)]))
    told = capsys.readouterr()
    assert told.out == f"a/best.pth: noisy {noisy:.2f} dB, denoised {psnr:.2f} dB\n"
    assert ("does not denoise yet" in told.err) == warned


def test_help_gives_the_defaults_of_the_default_configuration() -> None:
    default = load_config("default")
    told = " ".join(n2n("train", "--help").out.split())
    assert re.findall(r"Default: as configured \(([^),]+)", told.replace("dead- leaves", "dead-leaves")) == [
        default.data.source,
        default.data.noise,
        str(default.train.epochs),
        f"{default.train.lr:g}",
        str(default.train.batch_size),
        str(default.train.seed),
    ]


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
        (["--data", "texts"], 1, "`texts/a.png` is not a whole PNG, JPEG, TIFF, WebP or BMP picture"),
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
def test_what_is_refused(words: list[str], code: int, message: str, here: Path) -> None:
    Path("wrong.toml").write_text(TINY + "momentun = 1\n")
    Path("empty").mkdir()
    photo(here / "texts" / "b.png").with_name("a.png").write_text("no picture")
    config = [] if "--config" in words else ["--config", "tiny.toml"]
    if "1000" in words:  # without its Sigmoid, the network can leave all bounds
        Path("tiny.toml").write_text(TINY.replace('  { type = "Sigmoid" },\n', ""))
    got = failure("train", *config, *words)
    assert got[0] == code
    assert message in got[1]
    assert not list(here.glob("runs/*")) or "1000" in words  # what failed at once left no run


def test_an_earlier_run_is_kept_unless_force_is_given() -> None:
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


def test_an_empty_folder_of_the_users_own_stays() -> None:
    Path("run").mkdir()
    failure("train", "--config", "tiny.toml", "--data", "missing", "--out", "run")
    assert Path("run").is_dir()


def test_ctrl_c_before_the_first_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> Iterator[Record]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("n2n_cli.training.loop.train", stop)
    hint = "nothing was saved yet: `runs/tiny-1` holds no checkpoint"
    assert failure("train", "--config", "tiny.toml") == (130, "interrupted", hint)
    assert not list(Path("runs").iterdir())


def test_a_failed_training_keeps_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, run: Run, *__: object, **___: object) -> Iterator[Record]:
        run.last.write_text("weights")
        raise TrainingError("stop", hint="go")
        yield

    monkeypatch.setattr("n2n_cli.training.loop.train", fail)
    assert failure("train", "--config", "tiny.toml") == (1, "stop", "go")
    assert Path("runs/tiny-1/last.pth").read_text() == "weights"


def test_a_terminal_shows_one_bar_and_a_line_per_epoch() -> None:
    out, seen = on_a_terminal()
    assert re.fullmatch(RESULT.format(run="runs/tiny-1"), out)
    assert "\x1b[" in seen
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", seen))
    bars = [line for line in lines if line.endswith(" left")]
    last = r"epoch 3/3 ━+ loss \d\.\d{5} PSNR \d+\.\d\d dB \d+ images/s 0:00:00 left"
    assert re.fullmatch(last, bars[-1]), bars
    assert all(len(bar) <= 80 for bar in bars)
    epochs = [line for line in lines if re.match(r"epoch \d/3: ", line)]
    assert [line[:10] for line in epochs] == ["epoch 1/3:", "epoch 2/3:", "epoch 3/3:"]
    shown = re.search(r"PSNR (\S+ dB)", bars[-1])
    assert shown
    assert f"validation PSNR {shown[1]}" in epochs[-1]


def test_a_terminal_without_colours_a_dumb_one_and_quiet() -> None:
    _, seen = on_a_terminal(NO_COLOR="1")
    assert " left" in seen
    assert not re.search(r"\x1b\[[0-9;]*[34]\d", seen)
    out, seen = on_a_terminal(TERM="dumb")
    assert "\x1b" not in seen
    assert len(re.findall(r"^epoch \d/3: ", seen, re.MULTILINE)) == 3
    assert re.fullmatch(RESULT.format(run="runs/tiny-2"), out)
    assert on_a_terminal("--quiet")[1] == ""


def bar_of(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What a bar is told, one dict for each call."""
    shown: list[dict[str, object]] = []
    add_task, reset = Progress.add_task, Progress.reset

    def add(self: Progress, description: str, **fields: Any) -> TaskID:
        shown.append(fields)
        return add_task(self, description, **fields)

    def again(self: Progress, task: TaskID, **fields: Any) -> None:
        shown.append(fields)
        reset(self, task, **fields)

    def update(self: Progress, task: TaskID, **fields: object) -> None:
        shown.append(fields)

    monkeypatch.setattr(Progress, "add_task", add)
    monkeypatch.setattr(Progress, "reset", again)
    monkeypatch.setattr(Progress, "update", update)
    train_progress.show_bar(iter(records))
    return shown


def epoch(number: int = 1, of: int = 2, *, rate: float = 9.0, loading: float = 0.0) -> Epoch:
    return Epoch(number, of, 0.4, 20.0, 21.0, 20.0, 21.0, True, 1.0, rate, loading, 1.0)


def test_the_bar_shows_what_is_known_and_grows_by_every_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[Record] = [Step(1, 1, 0.5, 100.0), Step(1, 2, 0.4, 110.0), epoch()]
    rest: list[Record] = [Step(2, 1, 0.3, 120.0), Finished(Path("best.pth"), 20.0, 21.0)]
    assert bar_of([Started(2, 2, 0, 9, 20.0, ("`a\nb`",)), *first, *rest], monkeypatch) == [
        {"total": None, "epoch": "-", "loss": "-", "psnr": "-", "rate": "-"},
        {"total": 4, "completed": 0},
        {"completed": 1, "epoch": "1/2", "loss": "0.50000", "rate": "100"},
        {"completed": 2, "epoch": "1/2", "loss": "0.40000", "rate": "110"},
        {"psnr": "21.00"},
        {"completed": 3, "epoch": "2/2", "loss": "0.30000", "rate": "120"},
    ]
    told = capsys.readouterr()
    assert told.out == "best.pth: noisy 20.00 dB, denoised 21.00 dB\n"
    assert "`a\\nb`\n" in told.err


def test_the_bar_of_a_resumed_run_starts_where_it_was_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = bar_of([Started(5, 4, 7, 9, 20.0, ()), Step(2, 4, 0.5, 100.0)], monkeypatch)
    assert shown[1:] == [
        {"total": 20, "completed": 7},
        {"completed": 8, "epoch": "2/5", "loss": "0.50000", "rate": "100"},
    ]
    assert "goes on after step 3 of epoch 2\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (0, None),
        (3, "goes on after step 3 of epoch 1"),
        (4, "goes on after epoch 1"),
        (20, "all epochs are done: `--epochs` with a larger number goes on"),
        (24, "all epochs are done: `--epochs` with a larger number goes on"),
    ],
)
def test_what_is_told_of_a_run_that_goes_on(done: int, told: str | None) -> None:
    assert list(train_progress._introduction(Started(5, 4, done, 9, 20.0, ())))[1:] == ([] if told is None else [told])


@pytest.mark.parametrize(
    ("noisy", "told"), [(20, "20.00 dB"), (math.inf, "inf dB, because one of them equals its target")]
)
def test_how_noisy_the_validation_pictures_are(noisy: float, told: str) -> None:
    (line,) = train_progress._introduction(Started(5, 4, 0, 9, noisy, ()))
    assert line.endswith(f"noisy validation pictures at {told}")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (epoch(), "(best so far), 9 images/s, 1 s"),
        (epoch(loading=0.099), "(best so far), 9 images/s, 1 s"),
        (epoch(loading=0.125), "(best so far), 9 images/s (12% of the time waiting for pictures), 1 s"),
        (epoch(rate=0.0), "(best so far), 1 s"),  # its steps were taken in an earlier sitting
    ],
)
def test_waiting_is_told_of_where_it_is_much(record: Epoch, told: str) -> None:
    assert train_progress._line(record) == f"epoch 1/2: loss 0.40000, validation PSNR 21.00 dB {told}"


# Going on


def test_a_run_goes_on_and_longer_than_was_planned() -> None:
    first = n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    again = n2n("train", "--resume", "run")
    assert (again.code, again.out) == (0, first.out)
    assert "all epochs are done" in again.err
    assert not re.search("^epoch", again.err, re.MULTILINE)
    longer = n2n("train", "--resume", "run", "--epochs", "3", "--checkpoint-minutes", "0.001")
    assert longer.code == 0
    assert "goes on after epoch 1" in longer.err
    assert re.findall(r"^epoch (\d)/3", longer.err, re.MULTILINE) == ["2", "3"]
    assert load_config("run/config.toml").train.epochs == 3
    whole = n2n("train", "--config", "tiny.toml", "--out", "whole")
    assert longer.out.replace("run/", "whole/") == whole.out


def test_a_run_whose_pictures_have_moved_goes_on() -> None:
    n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    Path("photos").rename("moved")
    assert failure("train", "--resume", "run", "--epochs", "2")[1] == "there is no folder `photos`"
    assert n2n("train", "--resume", "run", "--epochs", "2", "--data", "moved").code == 0
    assert load_config("run/config.toml").data.source == "moved"


def test_a_run_that_has_no_checkpoint_yet_begins_anew() -> None:
    whole = n2n("train", "--config", "tiny.toml", "--seed", "5", "--out", "whole")
    for name in ("last.pth", "best.pth"):
        Path("whole", name).unlink()
    again = n2n("train", "--resume", "whole")
    assert again.out == whole.out
    assert "it holds no `last.pth` yet: the training begins anew, as its `config.toml` says" in again.err


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
def test_what_a_run_that_goes_on_keeps(words: list[str], message: str) -> None:
    n2n("train", "--config", "tiny.toml", "--out", "run", "--epochs", "1")
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    code, told, hint = failure("train", "--resume", "run", *words)
    assert (code, told[: len(message)]) == (2, message)
    assert hint
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before


def test_what_is_no_run_cannot_be_gone_on_with(here: Path) -> None:
    assert failure("train", "--resume", "photos")[:2] == (2, "`photos` holds no `last.pth` to go on from")
    Path("run").mkdir()
    last = Path("run/last.pth")
    last.write_bytes(Path("tiny.pth").read_bytes())  # of a version that could not go on
    assert failure("train", "--resume", "run")[:2] == (1, "`run/last.pth` does not say how far its training has come")
    write_checkpoint(last, Model.from_checkpoint("tiny.pth").network.state_dict())
    told = "`run/last.pth` is no checkpoint to go on from: it holds no `model`, no `optimizer`"
    assert failure("train", "--resume", "run")[:2] == (1, told)
    last.write_bytes(b"PK")
    assert failure("train", "--resume", "run")[0] == 1
    assert [path.name for path in Path("run").iterdir()] == ["last.pth"]


def test_the_options_that_resume_refuses_are_all_but_two() -> None:
    told = n2n("train", "--help").out
    options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", told, re.MULTILINE))
    refused = {"--config", "--noise", "--lr", "--batch-size", "--seed", "--set", "--out", "--force"}
    refused |= {"--init", "--freeze", "--match-exposure", "--align"}
    allowed = {"--data", "--pairs", "--bursts", "--single-image"}  # where the pictures have moved
    allowed |= {"--epochs", "--resume", "--checkpoint-minutes", "--threads"}
    assert options - {"--help", "--quiet", "--verbose", "--debug", "--plugin"} == refused | allowed
