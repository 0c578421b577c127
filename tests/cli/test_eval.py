"""`n2n eval`: tables, JSON and refusals."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.images import read_picture, write_pages, write_picture
from n2n_cli.models.model import Model
from tests.cli import TINY, failure, lines_of, n2n, on_a_terminal, photo, start

pytestmark = pytest.mark.usefixtures("here")
FIGURES = {"noisy_psnr": 2, "psnr": 2, "noisy_ssim": 4, "ssim": 4}  # decimal places


def scores(*words: str) -> list[dict[str, Any]]:
    answer = n2n("-q", "eval", "tiny.pth", "--json", *words)
    assert (answer.code, answer.err) == (0, "")
    return [json.loads(line) for line in answer.out.splitlines()]


def test_json_has_one_object_per_picture_and_a_summary() -> None:
    *pictures, summary = scores("--data", "photos")
    assert [line["picture"] for line in pictures] == ["0.png", "1.png", "2.png"]
    assert summary["pictures"] == 3
    figures = ["noisy_psnr", "psnr", "noisy_ssim", "ssim", "noisy_rms", "rms"]
    assert all(list(line) == ["picture", *figures] for line in pictures)
    for key in figures:
        assert summary[key] == pytest.approx(np.mean([line[key] for line in pictures]))
    assert summary["noisy_psnr"] == pytest.approx(20.17, abs=0.6)  # sigma 25: 20 log10(255 / 25), less by clipping
    assert list(summary) == [
        "summary",
        "pictures",
        "noisy_psnr",
        "psnr",
        "noisy_pooled_psnr",
        "pooled_psnr",
        *figures[2:],
    ]


def test_page_of_stacks(here: Path) -> None:
    for folder in ("noisy", "truth", "stacks"):
        (here / folder).mkdir()
    first, second = (read_picture(here / "photos" / f"{number}.png") for number in (0, 1))
    write_picture("noisy/a.png", first)
    for folder, page in (("stacks", first), ("truth", second)):
        write_pages(f"{folder}/a.tif", [page, second, page][::-1])
    single = scores("--data", "noisy", "--noise", "gaussian:25")
    stacked = scores("--data", "stacks", "--noise", "gaussian:25", "--page", "3")
    assert [line["psnr"] for line in stacked] == [line["psnr"] for line in single]
    assert scores("--data", "stacks", "--clean", "truth", "--page", "2")[0]["noisy_psnr"] is None  # infinite
    assert scores("--data", "stacks", "--clean", "truth", "--page", "1")[0]["noisy_psnr"] < 30
    assert "no page 4" in n2n("eval", "tiny.pth", "--data", "stacks", "--page", "4").err
    assert "`--page N`" in n2n("eval", "tiny.pth", "--data", "stacks").err
    assert failure("eval", "tiny.pth", "--page", "4")[0] == 2


def test_tab_separated_lines_and_pooled_psnr_on_stderr() -> None:
    *pictures, summary = scores("--data", "photos")
    answer = n2n("eval", "tiny.pth", "--data", "photos")
    wanted = ["picture\tnoisy_psnr\tpsnr\tnoisy_ssim\tssim\tnoisy_rms\trms"]
    for line in (*pictures, {**summary, "picture": "mean of 3"}):
        quality = (f"{line[key]:.{digits}f}" for key, digits in FIGURES.items())
        errors = (f"{line[key]:.4g}" for key in ("noisy_rms", "rms"))  # in grey levels of 255
        wanted.append("\t".join((line["picture"], *quality, *errors)))
    assert answer.out.splitlines() == wanted
    assert answer.err == (
        f"PSNR of the mean error over all pictures: noisy {summary['noisy_pooled_psnr']:.2f} dB, "
        f"denoised {summary['pooled_psnr']:.2f} dB\n"
    )


def test_table_on_a_terminal(here: Path) -> None:
    (here / "photos" / "0.png").rename(here / "photos" / "[red]:heart:\n.png")
    rows = [line.split("\t") for line in n2n("-q", "eval", "tiny.pth", "--data", "photos").out.splitlines()]
    _, seen = on_a_terminal("-q", "eval", "tiny.pth", "--data", "photos", stdout=True, TERM="dumb")
    shown = [line.split() for line in seen.splitlines() if line.strip(" ─")]
    assert shown[0] == ["picture", "noisy", "dB", "denoised", "dB", "gain", "dB", "noisy", "SSIM", "SSIM"]
    for row, (name, before, after, *ssim, _, _) in zip(shown[1:], rows[1:], strict=True):
        *words, noisy, denoised, gain, noisy_ssim, denoised_ssim = row
        assert [" ".join(words), noisy, denoised, noisy_ssim, denoised_ssim] == [name, before, after, *ssim]
        assert float(gain) == pytest.approx(float(after) - float(before), abs=0.011)
    assert rows[3][0] == r"[red]:heart:\n.png"
    assert rows[4][0] == "mean of 3"


def test_csv_has_one_row_per_picture_and_means_on_stderr(here: Path) -> None:
    photo(here / "photos" / "3.png", seed=4).rename(here / "photos" / 'z",\n.png')
    *pictures, summary = scores("--data", "photos")
    answer = n2n("eval", "tiny.pth", "--data", "photos", "--csv")
    rows = list(csv.DictReader(io.StringIO(answer.out, newline="")))
    assert rows == [{key: str(value) for key, value in line.items()} for line in pictures]
    assert "\n\n" not in answer.out
    assert rows[-1]["picture"] == 'z",\n.png'
    assert answer.err.splitlines() == [
        f"mean of 4: noisy {summary['noisy_psnr']:.2f} dB, denoised {summary['psnr']:.2f} dB; "
        f"SSIM {summary['noisy_ssim']:.4f}, {summary['ssim']:.4f}",
        f"PSNR of the mean error over all pictures: noisy {summary['noisy_pooled_psnr']:.2f} dB, "
        f"denoised {summary['pooled_psnr']:.2f} dB",
    ]


def test_real_pairs_are_scored_without_added_noise(here: Path) -> None:
    for i in range(3):
        photo(here / "real" / f"{i}.png", seed=i + (i == 1))
    first, second, third, summary = scores("--data", "real", "--clean", "photos")
    assert first["noisy_psnr"] is third["noisy_psnr"] is None  # equal pictures
    assert first["noisy_ssim"] == pytest.approx(1)
    assert second["noisy_psnr"] < 30
    assert summary["pictures"] == 3
    (here / "real" / "0.png").rename(here / "real" / "x.png")
    code, message, _ = failure("eval", "tiny.pth", "--data", "real", "--clean", "photos")
    assert code == 1
    assert message.endswith("`x.png` has no clean picture; `0.png` has no noisy picture")


@pytest.mark.parametrize("words", [[], ["--json"], ["--csv"]])
def test_each_score_is_printed_immediately(words: list[str], here: Path) -> None:
    for i in range(500):
        photo(here / "many" / f"{i:03}.png", (64, 64, 3))
    with start("eval", "tiny.pth", "--data", "many", *words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "001.png" in line:
                break
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize(
    ("words", "stdout", "drawn"),
    [
        ([], False, True),
        (["--json"], False, True),
        ([], True, True),
        (["--csv"], True, False),
        (["--json"], True, False),
    ],
)
def test_bar_is_drawn_unless_the_terminal_shows_the_scores(words: list[str], stdout: bool, drawn: bool) -> None:
    out, seen = on_a_terminal("eval", "tiny.pth", "--data", "photos", *words, stdout=stdout)
    bars = [line for line in lines_of(seen) if line.endswith(" left")]
    assert bool(bars) is drawn
    if drawn:
        assert bars[-1].startswith("3/3 ")
        assert "2.png" in bars[-1]
    if not stdout:
        assert out == n2n("-q", "eval", "tiny.pth", "--data", "photos", *words).out


def test_names_with_control_characters_stay_on_one_line(here: Path) -> None:
    folder = here / "odd"
    for i, name in enumerate(("a\tb\nc.png", "d\udcff.png")):
        photo(folder / f"{i}.png").rename(folder / name)
    answer = n2n("eval", "tiny.pth", "--data", "odd")
    assert [line.split("\t")[0] for line in answer.out.splitlines()[1:3]] == [r"a\tb\nc.png", r"d\udcff.png"]
    assert [line.get("picture") for line in scores("--data", "odd")] == ["a\tb\nc.png", "d\udcff.png", None]


def test_infinite_psnr_is_null_in_json() -> None:
    assert [line["noisy_psnr"] for line in scores("--data", "photos", "--noise", "gaussian:0")] == [None] * 4


def test_options_change_the_scores() -> None:
    plain = scores("--data", "photos")
    assert scores("--data", "photos", "--seed", "0") == plain
    assert scores("--data", "photos", "--seed", "1") != plain
    assert scores("--data", "photos", "--clip") != plain
    assert scores("--data", "photos", "--noise", "gaussian:5")[0]["noisy_psnr"] > plain[0]["noisy_psnr"] + 10
    assert scores("--data", "photos", "--crops", "5")[-1]["pictures"] == 5
    assert scores()[-1]["pictures"] == 4  # validation pairs of the training


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
        (["tiny.pth", "--json", "--csv"], 2, "`--json` and `--csv` cannot be used together"),
        (["tiny.pth", "--clean", "photos"], 2, "`--clean` needs the noisy pictures, too"),
        (["tiny.pth", "--data", "photos", "--clean", "photos", "--seed", "1"], 2, "`--seed` cannot be used"),
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
        (["tiny.pth", "--crops", "3"], 2, "`--crops` requires `--data`"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("eval", *words)
    assert got[0] == code
    assert message in got[1]


def test_ensemble_option_changes_the_scores() -> None:
    alone, eight = (
        json.loads(n2n("eval", "tiny.pth", "--data", "photos", "--json", *more).out.splitlines()[-1])
        for more in ([], ["--ensemble"])
    )
    assert alone["noisy_psnr"] == eight["noisy_psnr"]
    assert alone["psnr"] != eight["psnr"]


def test_damaged_picture_is_named_after_earlier_scores() -> None:
    whole = Path("photos/1.png").read_bytes()
    Path("photos/1.png").write_bytes(whole[: len(whole) // 2])
    answer = n2n("eval", "tiny.pth", "--data", "photos", "--json")
    assert (answer.code, len(answer.out.splitlines())) == (1, 1)
    assert re.fullmatch(r"error: `photos/1\.png` [^\n]+\n\nhint: [^\n]+\n", answer.err)


def test_configuration_of_another_network_is_refused() -> None:
    Path("wide.toml").write_text(TINY.replace("kernel_size = 3, padding = 1", "kernel_size = 1"))
    code, message, _ = failure("eval", "tiny.pth", "--config", "wide.toml", "--data", "photos")
    assert code == 1
    assert "`tiny.pth`" in message
    assert "(3, 3, 3, 3)" in message
    assert "(3, 3, 1, 1)" in message


def test_held_out_pictures_of_the_checkpoint_are_named() -> None:
    answer = n2n("eval", "tiny.pth")
    assert answer.code == 0
    assert answer.err.startswith("pictures: held out from photos\n")
    assert "held out" not in n2n("eval", "tiny.pth", "--data", "photos").err
