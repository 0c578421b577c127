"""`n2n sweep`: output, exit codes, signals and errors."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import load_config
from n2n_cli.images import read_picture
from tests.cli import N2N, Answer, environment, failure, n2n, start

BARE = """
[network]
layers = [{ type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 1 }]
[data]
source = "photos"
size = 8
pairs = 20
validation_pairs = 4
[train]
epochs = 1
batch_size = 1
"""


@pytest.fixture(autouse=True)
def here(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPLCONFIGDIR", str(here / "matplotlib"))
    (here / "bare.toml").write_text(BARE)
    return here


def sweep(*words: str, config: str = "tiny.toml") -> Answer:
    return n2n("sweep", "--config", config, "--epochs", "1", *words)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.plots.style.available", lambda: False)


@pytest.mark.slow
def test_sweep_from_start_to_end() -> None:
    answer = sweep("--param", "optim.lr", "--values", "1e-3,0.5")
    assert answer.code == 0
    folder = "runs/sweep-tiny-lr"
    stored = json.loads(Path(folder, "sweep.json").read_text())
    assert [point["train.lr"] for point in stored["points"]] == [0.001, 0.5]
    best = stored["best"]
    assert answer.out == (
        f"train.lr={best['train.lr']:g}: noisy {best['noisy_psnr']:.2f} dB, denoised {best['psnr']:.2f} dB: "
        f"{best['run']}/best.pth\n"
    )
    assert Path(best["run"], "best.pth").is_file()
    lines = answer.err.splitlines()
    assert lines[0] == f"sweep folder: {folder}: 2 trainings"
    assert re.search(r"^train.lr=0.001: epoch 1/1: validation PSNR \d+\.\d\d dB$", answer.err, re.MULTILINE)
    assert re.search(r"^train.lr=0.5: done, \d+\.\d\d dB after epoch 1, \d+ s$", answer.err, re.MULTILINE)
    assert lines[-1] == f"plot: {folder}/sweep.svg, {folder}/sweep.png"
    assert read_picture(Path(folder, "sweep.png")).pixels.shape[1] == 1050
    assert Path(folder, "sweep.svg").read_text().startswith("<?xml")
    again = sweep("--param", "train.lr", "--values", "1e-3,0.5", "--json")
    assert json.loads(again.out) == best
    assert again.out.count("\n") == 1
    assert again.err.splitlines()[0] == f"sweep folder: {folder}: 2 trainings, 2 of them finished"


def test_grid_of_two_keys_with_other_settings(no_plots: None) -> None:
    words = ("--param", "train.optimizer", "--values", "SGD,Adam", "--param", "data.noise", "--values", "gaussian:9")
    answer = sweep(
        *words, "--set", "train.seed=5", "--data", "photos", "--out", "here", "--jobs", "2", "--threads", "2"
    )
    assert answer.code == 0
    assert answer.err.endswith("no plot is drawn: plots need matplotlib: `pip install 'n2n-cli[plot]'`\n")
    assert not list(Path("here").glob("*.svg"))
    for optimizer in ("SGD", "Adam"):
        config = load_config(f"here/train.optimizer={optimizer},data.noise=gaussian-9/config.toml")
        assert (config.train.optimizer, config.train.seed, config.data.noise) == (optimizer, 5, "gaussian:9")


def test_divergence_is_logged_and_failure_exits_with_1(no_plots: None) -> None:
    answer = sweep("--param", "train.lr", "--values", "1000,0.01", config="bare.toml")
    assert answer.code == 0
    assert answer.out.startswith("train.lr=0.01: noisy ")
    assert "\ntrain.lr=1000: diverged: training stopped at step " in answer.err
    answer = n2n("-q", "sweep", "--param", "data.source", "--values", "photos,none", "--config", "bare.toml")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err == (
        "error: data.source=none: there is no folder `none`\n"
        "error: 1 of 2 trainings failed: data.source=none\n\n"
        "hint: a data source is a folder of pictures, or a file of pairs: .pkl, .pth, .pt; "
        "the same command repeats only unfinished trainings\n"
    )


def test_no_best_value_when_all_diverge(no_plots: None) -> None:
    words = ("sweep", "--param", "train.lr", "--values", "1000", "--config", "bare.toml")
    assert failure(*words) == (1, "every training diverged: there is no best value", "try smaller values")


@pytest.mark.slow
def test_terminal_shows_one_bar_for_all_trainings() -> None:
    terminal, side = pty.openpty()
    words = ("sweep", "--param", "train.lr", "--values", "0.1,1", "--config", "tiny.toml")
    command, env = [*N2N, *words], environment(COLUMNS="90")
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=side) as process:
        os.close(side)
        seen = b""
        with suppress(OSError):  # EIO when the process has closed its side
            while part := os.read(terminal, 65536):
                seen += part
        os.close(terminal)
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"train.lr=")
    assert process.returncode == 0
    best = json.loads(Path("runs/sweep-tiny-lr/sweep.json").read_text())["best"]["psnr"]
    assert re.search(rf"2/2 trainings .* best {best:.2f} dB", seen.decode())
    assert re.search(r"train.lr=1: epoch 3/3: validation PSNR", seen.decode())


def runs(group: int) -> bool:
    """Test if a process group has a process."""
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_the_same_command_resumes(number: signal.Signals) -> None:
    words = [
        "sweep",
        "--param",
        "train.lr",
        "--values",
        "0.1,1",
        "--config",
        "tiny.toml",
        "--out",
        "run",
        "--jobs",
        "2",
    ]
    with start(*words, "--epochs", "100000", start_new_session=True) as process:
        assert process.stderr is not None
        seen: set[str] = set()
        while len(seen) < 2:
            seen |= {*re.findall(r"^(train.lr=\S+): epoch [2-9]", process.stderr.readline())}
        os.killpg(process.pid, number)  # as a terminal sends it, to every process
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "")
    assert err.endswith("\n\nhint: finished work is saved: the same command continues it\n")
    assert "Traceback" not in err
    for folder in ("run/train.lr=0.1", "run/train.lr=1"):
        assert read_checkpoint(f"{folder}/last.pth")["progress"]["epoch"] > 2
        assert not Path(folder, "lock").exists()
    stored = json.loads(Path("run/sweep.json").read_text())
    assert [(point["status"], point["epochs"] > 1) for point in stored["points"]] == [("unfinished", True)] * 2
    assert stored["best"] is None


@pytest.mark.slow
def test_second_signal_ends_all_processes_at_once() -> None:
    words = ["sweep", "--param", "train.lr", "--values", "0.1", "--config", "tiny.toml", "--epochs", "100000"]
    with start(*words, start_new_session=True) as process:
        assert process.stderr is not None
        while "epoch 2/" not in process.stderr.readline():
            pass
        worker = int(Path("runs/sweep-tiny-lr/train.lr=0.1/lock").read_text().split()[1])
        os.kill(worker, signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=10)[1].endswith("\n\nhint: the same command continues it\n")
    assert process.returncode == 130
    assert not runs(process.pid)
    assert not runs(worker)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--param", "train.lr"], 2, "missing option '--values'"),
        (["--values", "1"], 2, "missing option '--param'"),
        (["--param", "train.lr", "--values", "1", "--values", "2"], 2, "`--param` is given 1 time and `--values` 2 t"),
        (["--param", "train.lr", "--values", " "], 2, "`--values` is ' ', it must be values separated by commas"),
        (["--param", "train.lr", "--values", "1,x"], 2, '`train.lr` is "x", it must be a number above 0'),
        (["--param", "optim.lrr", "--values", "1"], 2, "unknown key `train.lrr`"),
        (["--param", "train.lr", "--values", "1,1"], 2, "`train.lr=1` occurs twice among the values"),
        (["--param", "train.lr", "--values", "1", "--jobs", "0"], 2, "`--jobs` is '0', it must be a whole number"),
        (["--param", "train.lr", "--values", "1", "--epochs", "0"], 2, "`--epochs`: `train.epochs` is 0"),
        (["--param", "train.lr", "--values", "1", "--set", "x=1"], 2, "`--set x=1`: unknown key `x`"),
        (["--param", "train.lr", "--values", "1", "--config", "none"], 2, "there is no configuration `none`"),
        (["--param", "train.lr", "--values", "1", "--data", "none"], 1, "there is no folder `none`"),
        (["--param", "train.lr", "--values", "1", "--out", "tiny.toml"], 2, "`tiny.toml` cannot be written"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    config = [] if "--config" in words else ["--config", "tiny.toml"]
    got = failure("sweep", *words, *config)
    assert got[0] == code
    assert message in got[1]


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    code, message = failure("sweep", "--config", "tiny.toml", "--param", "train.lr", "--values", "0.5")[:2]
    assert code == 2
    assert message == "2 processes were started together (PMI_RANK), and each would sweep all of the grid"
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["sweep", "plot"])
def test_help_shows_two_examples(command: str) -> None:
    examples = n2n(command, "--help").out.partition("Examples:")[2].partition("Options")[0]
    assert len(re.findall(rf"^ +n2n {command} \S", examples, re.MULTILINE)) == 2


def test_shipped_configuration_is_the_founding_one_with_adam() -> None:
    adam, founding = load_config("ee559-adam"), load_config("ee559")
    assert (adam.network, adam.data) == (founding.network, founding.data)
    changes = [("train.optimizer", "Adam", ""), ("train.lr", 0.001, ""), ("train.epochs", adam.train.epochs, "")]
    assert adam == founding.override_all(changes)
