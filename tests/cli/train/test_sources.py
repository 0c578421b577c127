"""Options of `n2n train` for real noisy images and for initial weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.cli.train.sources import spelled_out
from n2n_cli.config import Config, load_config
from n2n_cli.models.model import Model
from tests.cli import failure, n2n
from tests.pictures import save
from tests.shots import noisy, scene, write_bursts

FAST = ("--epochs", "1", "--out", "run")


@pytest.fixture(autouse=True)
def shots(here: Path) -> None:
    """Add `a/` and `b/` with three shots each, `pairs.csv`, and bursts in `scenes/`."""
    write_bursts(Path("scenes"), shots=3)
    rows = []
    for i in range(3):
        for j, folder in enumerate("ab"):
            Path(folder).mkdir(exist_ok=True)
            save(Path(folder, f"{i}.png"), noisy(scene(24, 32, seed=i), seed=10 * i + j))
        rows.append(f"a/{i}.png,b/{i}.png\n")
    Path("pairs.csv").write_text("".join(rows))


def trained(*words: str) -> tuple[Config, str]:
    """Train for one epoch; return the configuration of the run and stderr."""
    answer = n2n("train", "--config", "tiny.toml", *FAST, *words)
    assert answer.code == 0, answer.err
    return load_config("run/config.toml"), answer.err


# Sources of images


@pytest.mark.parametrize(
    ("words", "kind", "source", "second"),
    [
        (("--pairs", "a/", "b/"), "pairs", "a/", "b/"),
        (("--pairs", "a", "--pairs", "b"), "pairs", "a", "b"),
        (("--pairs", "pairs.csv"), "pairs", "pairs.csv", ""),
        (("--bursts", "scenes"), "bursts", "scenes", ""),
        (("--single-image", "a"), "single", "a", ""),
        (("--data", "photos"), "pictures", "photos", ""),
    ],
)
def test_source_options_are_in_the_configuration(words: tuple[str, ...], kind: str, source: str, second: str) -> None:
    config, text = trained(*words, "--seed", "3")
    assert (config.data.kind, config.data.source, config.data.second) == (kind, source, second)
    assert f"pictures: {source}{' and ' * bool(second)}{second}\n" in text
    if kind != "pictures":
        assert "validation PSNR is" in text
        assert "data.noise` is not used" in text
    again = n2n("train", "--config", "run/config.toml", "--out", "again")
    assert again.code == 0
    assert Path("again/best.pth").read_bytes() == Path("run/best.pth").read_bytes()
    assert n2n("eval", "run/best.pth").code == 0


def test_data_option_replaces_pairs() -> None:
    trained("--pairs", "a", "b", "--align", "--match-exposure")
    answer = n2n("train", "--config", "run/config.toml", "--data", "photos", "--out", "other")
    assert answer.code == 0
    assert load_config("other/config.toml").data == load_config("tiny.toml").data


def test_single_image_replaces_the_loss_of_the_configuration() -> None:
    config, _ = trained("--data", "photos", "--set", "train.loss=L1")
    assert config.train.loss == "L1"
    answer = n2n("train", "--config", "run/config.toml", "--single-image", "photos", "--out", "other")
    assert answer.code == 0
    assert load_config("other/config.toml").train.loss == "MSE"


def test_shots_that_differ_are_corrected_on_request() -> None:
    for i in range(3):
        save(Path("b", f"{i}.png"), noisy(0.7 * scene(26, 34, seed=i)[:24, :32], 1, seed=50 + i))
    config, text = trained("--pairs", "a", "b")
    assert "`--match-exposure` corrects it" in text
    assert not config.data.match_exposure
    assert not config.data.align
    config, text = trained("--pairs", "a", "b", "--match-exposure", "--align", "--force")
    assert "all are made as bright as the first" in text
    assert config.data.match_exposure
    assert config.data.align


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--pairs", "a", "b", "--data", "photos"], 2, "`--data` and `--pairs` cannot be used together"),
        (["--bursts", "x", "--single-image", "y"], 2, "`--bursts` and `--single-image` cannot be used together"),
        (["--pairs", "a", "b", "--pairs", "c"], 2, "`--pairs` got 3 names, it takes two folders or one table"),
        (["--pairs", "pairs.csv", "b"], 2, "got unexpected extra argument"),
        (["--pairs", "a"], 1, "`a` is a folder, not a table of pairs"),
        (["--pairs", "a", "a/"], 1, "`a` and `a` are the same folder"),
        (
            ["--pairs", "a", "photos", "--set", "data.size=24"],
            1,
            "`photos/0.png` is 20x24, RGB, 8 bits, `a/0.png` is 32x",
        ),
        (["--pairs", "a", "missing"], 1, "there is no folder `missing`"),
        (["--bursts", "a"], 1, "`a` holds no folders of shots"),
        (["--bursts", ""], 2, '`--bursts`: `data.source` is ""'),
        (
            ["--bursts", "dead-leaves"],
            2,
            '`--bursts`: `data.kind` is "bursts", but `data.source` is the built-in pictures',
        ),
        (["--match-exposure"], 2, '`data.match_exposure` is true, but `data.kind` is "pictures"'),
        (["--single-image", "a", "--align"], 2, '`data.align` is true, but `data.kind` is "single"'),
        (["--set", "data.second=b"], 2, '`data.second` is "b", but `data.kind` is "pictures"'),
        (["--set", "data.kind=photos"], 2, '`data.kind` is "photos", it must be one of "pictures", "pairs"'),
        (["--freeze", "7"], 2, '`--freeze`: `train.freeze` has "7", it must be the name or a pattern of parameters'),
        (["--init", "missing.pth"], 1, "there is no checkpoint `missing.pth`"),
        (["--init", "photo"], 1, "the weights do not fit the network: `0.weight` is missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("train", "--config", "tiny.toml", *words)
    assert got[0] == code
    assert message in got[1]
    assert not list(Path.cwd().glob("runs/*"))


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (["--pairs", "a", "b", "--out", "run"], ["--pairs", "a", "--pairs", "b", "--out", "run"]),
        (["--pairs", "a", "--out", "run"], ["--pairs", "a", "--out", "run"]),
        (["--pairs", "x.CSV", "b"], ["--pairs", "x.CSV", "b"]),
        (["--pairs", "a", "--pairs", "b"], ["--pairs", "a", "--pairs", "b"]),
        (["--pairs", "a", "-q", "b"], ["--pairs", "a", "-q", "b"]),
        (["--pairs", "a"], ["--pairs", "a"]),
        (["--pairs"], ["--pairs"]),
        (["--out", "run", "--", "--pairs", "a", "b"], ["--out", "run", "--", "--pairs", "a", "b"]),
    ],
)
def test_pairs_option_takes_one_or_two_values(words: list[str], spelled: list[str]) -> None:
    assert list(spelled_out(words)) == spelled


# Resuming


@pytest.mark.parametrize("option", ["--pairs", "--bursts", "--single-image"])
def test_run_on_shots_is_resumed_with_moved_pictures(option: str) -> None:
    words = {"--pairs": ("a", "b"), "--bursts": ("scenes",), "--single-image": ("a",)}[option]
    trained(option, *words)
    assert n2n("train", "--resume", "run", "--epochs", "2").code == 0
    for word in words:
        Path(word).rename(f"moved-{word}")
    moved = [f"moved-{word}" for word in words]
    answer = n2n("train", "--resume", "run", "--epochs", "3", option, *moved)
    assert answer.code == 0
    assert "continues after epoch 2" in answer.err
    assert load_config("run/config.toml").data.source == moved[0]


def test_resuming_with_another_kind_of_source_is_refused() -> None:
    trained("--bursts", "scenes")
    text = "`--data` cannot be used with `--resume`: the run was started with `--bursts`"
    assert failure("train", "--resume", "run", "--data", "photos")[:2] == (2, text)
    text = "`--align` and `--freeze` cannot be used with `--resume`: the run keeps its own"
    assert failure("train", "--resume", "run", "--freeze", "0", "--align")[:2] == (2, text)


# Initial weights


def weights(path: str) -> dict[str, Any]:
    state: dict[str, Any] = read_checkpoint(path)["model"]
    return state


def test_fine_tuning_keeps_the_configuration_of_the_checkpoint() -> None:
    tiny = load_config("tiny.toml").override_all([("train.seed", 8, "test"), ("data.size", 12, "test")])
    Model.from_config(tiny, threads=1).save("start.pth")
    answer = n2n("train", "--init", "start.pth", "--bursts", "scenes", "--freeze", "0.weight", *FAST)
    assert answer.code == 0, answer.err
    assert "starts from the weights of start.pth\n" in answer.err
    config = load_config("run/config.toml")
    assert (config.data.size, config.train.seed, config.train.init, config.train.freeze) == (
        12,
        8,
        "start.pth",
        ("0.weight",),
    )
    np.testing.assert_array_equal(weights("run/best.pth")["0.weight"], weights("start.pth")["0.weight"])
    assert (weights("run/best.pth")["0.bias"] != weights("start.pth")["0.bias"]).all()


def test_config_option_overrides_the_configuration_of_the_checkpoint() -> None:
    tiny = load_config("tiny.toml").override("data.size", 12, "test")
    Model.from_config(tiny, threads=1).save("start.pth")
    config, _ = trained("--init", "start.pth")
    assert config == load_config("tiny.toml").override_all([("train.epochs", 1, ""), ("train.init", "start.pth", "")])


def test_run_is_named_after_its_initial_checkpoint() -> None:
    answer = n2n("train", "--init", "tiny.pth", "--epochs", "1")
    assert answer.out.startswith("runs/tiny-1/best.pth: ")
