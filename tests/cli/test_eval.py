"""`n2n eval`: tables, JSON, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoint import write_checkpoint
from n2n_cli.cli import eval as command
from n2n_cli.evaluation import Score, summarize
from n2n_cli.model import Model
from tests.cli import TINY, failure, n2n, photo, workplace


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    workplace(tmp_path)
    return tmp_path


def scores(*words: str) -> list[dict[str, Any]]:
    answer = n2n("-q", "eval", "tiny.pth", "--json", *words)
    assert (answer.code, answer.err) == (0, "")
    return [json.loads(line) for line in answer.out.splitlines()]


def test_json_has_an_object_a_picture_and_one_for_all() -> None:
    *pictures, summary = scores("--data", "photos")
    assert [line["picture"] for line in pictures] == ["0.png", "1.png", "2.png"]
    assert summary["pictures"] == 3
    for key in ("noisy_psnr", "psnr"):
        assert summary[key] == pytest.approx(np.mean([line[key] for line in pictures]))
    assert summary["noisy_psnr"] == pytest.approx(20.17, abs=0.6)  # of sigma 25: 20 log10(255 / 25), less for clipping
    assert list(summary) == ["summary", "pictures", "noisy_psnr", "psnr", "noisy_pooled_psnr", "pooled_psnr"]


def test_lines_for_a_pipe_and_the_whole_sets_figure_on_stderr() -> None:
    *pictures, summary = scores("--data", "photos")
    answer = n2n("eval", "tiny.pth", "--data", "photos")
    wanted = ["picture\tnoisy_psnr\tpsnr"]
    wanted += [f"{line['picture']}\t{line['noisy_psnr']:.2f}\t{line['psnr']:.2f}" for line in pictures]
    wanted += [f"mean of 3\t{summary['noisy_psnr']:.2f}\t{summary['psnr']:.2f}"]
    assert answer.out.splitlines() == wanted
    assert answer.err == (
        f"PSNR of the mean error over all pictures: noisy {summary['noisy_pooled_psnr']:.2f} dB, "
        f"denoised {summary['pooled_psnr']:.2f} dB\n"
    )


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    found = [Score("[red]:heart:\n.png", 0.01, 0.001), Score("b.png", 0.001, 0.01)]
    command._print_table(found, summarize(found))
    rows = [line.split() for line in terminal.getvalue().splitlines() if line.strip(" ─")]
    assert rows == [
        ["picture", "noisy", "dB", "denoised", "dB", "gain", "dB"],
        ["[red]:heart:\\n.png", "20.00", "30.00", "+10.00"],
        ["b.png", "30.00", "20.00", "-10.00"],
        ["mean", "of", "2", "25.00", "25.00", "+0.00"],
    ]


def test_names_that_are_no_text_stay_on_their_line(here: Path) -> None:
    folder = here / "odd"
    for i, name in enumerate(("a\tb\nc.png", "d\udcff.png")):
        photo(folder / f"{i}.png").rename(folder / name)
    answer = n2n("eval", "tiny.pth", "--data", "odd")
    assert [line.split("\t")[0] for line in answer.out.splitlines()[1:3]] == [r"a\tb\nc.png", r"d\udcff.png"]
    assert [line.get("picture") for line in scores("--data", "odd")] == ["a\tb\nc.png", "d\udcff.png", None]


def test_json_says_null_where_no_noise_is_left() -> None:
    assert [line["noisy_psnr"] for line in scores("--data", "photos", "--noise", "gaussian:0")] == [None] * 4


def test_options_are_heeded() -> None:
    plain = scores("--data", "photos")
    assert scores("--data", "photos", "--seed", "0") == plain
    assert scores("--data", "photos", "--seed", "1") != plain
    assert scores("--data", "photos", "--noise", "gaussian:5")[0]["noisy_psnr"] > plain[0]["noisy_psnr"] + 10
    assert scores("--data", "photos", "--crops", "5")[-1]["pictures"] == 5
    assert scores()[-1]["pictures"] == 4  # the training's own validation pairs


def test_weights_of_pytorch_need_a_configuration() -> None:
    write_checkpoint("weights.pth", Model.from_checkpoint("tiny.pth").network.state_dict())
    code, message, hint = failure("eval", "weights.pth", "--data", "photos")
    assert (code, "--config" in hint) == (1, True)
    assert "`weights.pth` holds weights but not the network" in message
    answer = n2n("-q", "eval", "weights.pth", "--config", "tiny.toml", "--data", "photos", "--json")
    assert [json.loads(line) for line in answer.out.splitlines()] == scores("--data", "photos")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.pth"], 1, "there is no checkpoint `missing.pth`"),
        (["photos"], 1, "`photos` is a folder, not a checkpoint"),
        (["photos/0.png"], 1, "`photos/0.png` is not a checkpoint: it is not in PyTorch's zip format"),
        (["tiny.pth", "--config", "default"], 1, "`tiny.pth`"),
        (["tiny.pth", "--config", "missing"], 2, "there is no configuration `missing`"),
        (["tiny.pth", "--data", "missing"], 1, "there is no folder `missing`"),
        (["tiny.pth", "--data", "photos", "--noise", "salt"], 2, '`--noise`: `data.noise` is "salt"'),
        (["tiny.pth", "--data", "photos", "--crops", "0"], 2, "`--crops` is '0', it must be a whole number of"),
        (["tiny.pth", "--data", "photos", "--seed", "x"], 2, "`--seed` is 'x', it must be a whole number of"),
        (["tiny.pth", "--data", "x.pkl", "--noise", "gaussian:9"], 2, "`--noise` cannot be used: the pairs of `x.pkl`"),
        (["tiny.pth", "--crops", "3"], 2, "`--crops` needs the pictures to cut from"),
    ],
)
def test_what_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("eval", *words)
    assert got[0] == code
    assert message in got[1]


def test_a_damaged_picture_is_named_after_the_scores_before_it() -> None:
    whole = Path("photos/1.png").read_bytes()
    Path("photos/1.png").write_bytes(whole[: len(whole) // 2])
    answer = n2n("eval", "tiny.pth", "--data", "photos", "--json")
    assert (answer.code, len(answer.out.splitlines())) == (1, 1)
    assert re.fullmatch(r"error: `photos/1\.png` [^\n]+\n\nhint: [^\n]+\n", answer.err)


def test_the_network_of_another_configuration_does_not_fit() -> None:
    Path("wide.toml").write_text(TINY.replace("kernel_size = 3, padding = 1", "kernel_size = 1"))
    code, message, _ = failure("eval", "tiny.pth", "--config", "wide.toml", "--data", "photos")
    assert code == 1
    assert "`tiny.pth`" in message
    assert "(3, 3, 3, 3)" in message
    assert "(3, 3, 1, 1)" in message
