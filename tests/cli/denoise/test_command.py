"""`n2n denoise`: pictures of every size and kind, and early refusals."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2n_cli.config import load_config
from n2n_cli.denoising.picture import MARGIN
from n2n_cli.images import Part, Picture, Stored, write_pages
from n2n_cli.models.model import Model
from tests.cli import N2N, ended, environment, failure, n2n, photo, start

MODEL = ("--model", "tiny.pth")


pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("shape", [(24, 20, 3), (1, 1, 3), (7, 13, 3), (9, 11)], ids=str)
def test_output_is_the_prediction_of_the_model(shape: tuple[int, ...], here: Path) -> None:
    source = photo(here / "in.png", shape)
    answer = n2n("denoise", *MODEL, "in.png", "out.png")
    assert answer == (0, "", "model: tiny.pth\n")
    pixels = np.asarray(Image.open(source)).reshape(*shape[:2], -1)
    planes = np.moveaxis(pixels.repeat(4 - len(shape) if len(shape) == 3 else 3, axis=2), -1, 0) / np.float32(255)
    denoised = np.moveaxis(Model.from_checkpoint("tiny.pth").predict(planes[None], margin=MARGIN)[0], 0, -1)
    wanted = denoised if len(shape) == 3 else denoised.mean(axis=2)
    got = np.asarray(Image.open("out.png"))
    assert got.shape == shape
    assert np.abs(got - wanted * 255).max() <= 0.51
    assert (got != pixels.reshape(shape)).any()


def test_ensemble_averages_eight_orientations() -> None:
    assert n2n("denoise", *MODEL, "photos/0.png", "alone.png").code == 0
    assert n2n("denoise", *MODEL, "--ensemble", "photos/0.png", "eight.png").code == 0
    model, pixels = Model.from_checkpoint("tiny.pth"), np.asarray(Image.open("photos/0.png")) / np.float32(255)
    model.predict_as_ensemble()
    wanted = model.predict(np.moveaxis(pixels, -1, 0)[None], margin=MARGIN)[0]
    got, alone = (np.moveaxis(np.asarray(Image.open(name)), -1, 0) for name in ("eight.png", "alone.png"))
    assert np.abs(got - np.clip(wanted, 0, 1) * 255).max() <= 0.51
    assert (got != alone).any()
    code, message, _ = failure("denoise", "--ensemble", "--self", "photos/0.png", "out.png")
    assert (code, message) == (2, "`--ensemble` and `--self` cannot be used together")


def test_quiet_prints_nothing_and_ending_chooses_the_format() -> None:
    assert n2n("-q", "denoise", *MODEL, "photos/0.png", "out.JPG") == (0, "", "")
    assert Path("out.JPG").read_bytes().startswith(b"\xff\xd8\xff")


def test_newest_run_is_the_default_model() -> None:
    for i, run in enumerate(("old", "new")):
        Path(f"runs/{run}").mkdir(parents=True)
        for name in ("last.pth", "best.pth"):
            Path(f"runs/{run}/{name}").write_bytes(Path("tiny.pth").read_bytes())
            os.utime(f"runs/{run}/{name}", (1e9 + i, 1e9 + i))
    assert n2n("denoise", "photos/0.png", "out.png") == (0, "", "model: runs/new/best.pth\n")


def test_run_that_does_not_denoise_is_not_used_by_default() -> None:
    trained = n2n("train", "--config", "tiny.toml", "--epochs", "1", "--lr", "1e-6")
    assert trained.code == 0
    assert "`n2n denoise` will not use it by default" in trained.err
    assert re.search(
        r"^the bundled model (photo|white) reaches \d+\.\d\d dB on the same \d+ held-out pictures, ", trained.err, re.M
    )
    answer = n2n("denoise", "photos/0.png", "out.png")
    note, model = answer.err.splitlines()
    assert re.fullmatch(
        r"runs/tiny-1/best\.pth is not used: it does not denoise, its held-out pictures have .* dB .*", note
    )
    assert answer.code == 0
    assert model.startswith("model: photo, for ")
    own = n2n("denoise", "--model", "runs/tiny-1/best.pth", "photos/0.png", "own.png")
    assert own.code == 0
    pattern = r"model: runs/tiny-1/best\.pth; on its held-out pictures (photo|white) is better, .* dB: `--model \1`\n"
    assert re.fullmatch(pattern, own.err)


def test_without_any_run_the_bundled_model_for_the_noise_is_used_and_named() -> None:
    answer = n2n("denoise", "photos/0.png", "out.png")
    found = re.fullmatch(r"model: (photo|white), for [^\n]+\n", answer.err)
    assert (answer.code, answer.out) == (0, "")
    assert found
    own = Path("out.png").read_bytes()
    assert n2n("denoise", "--model", found[1], "photos/0.png", "out.png").code == 0
    assert Path("out.png").read_bytes() == own


def test_fast_is_the_bundled_model_photo() -> None:
    answer = n2n("denoise", "--effort", "fast", "photos/0.png", "out.png")
    assert answer == (0, "", "model: the bundled model photo; `n2n models` lists it\n")


def test_best_is_the_average_over_flips_and_rotations() -> None:
    assert n2n("denoise", "--effort", "best", "photos/0.png", "best.png").code == 0
    assert n2n("denoise", "--ensemble", "photos/0.png", "ensemble.png").code == 0
    assert Path("best.png").read_bytes() == Path("ensemble.png").read_bytes()
    assert n2n("denoise", *MODEL, "--effort", "best", "photos/0.png", "best.png").code == 0
    assert n2n("denoise", *MODEL, "--ensemble", "photos/0.png", "ensemble.png").code == 0
    assert Path("best.png").read_bytes() == Path("ensemble.png").read_bytes()


def test_the_report_and_the_manifest_name_the_chosen_model() -> None:
    answer = n2n("denoise", "photos/0.png", "out.png", "--report", "--json", "--manifest", "done.jsonl")
    record = json.loads(Path("done.jsonl").read_text())
    assert json.loads(answer.out)["model"] == record["model"]
    assert answer.err.startswith(f"model: {record['model']}, for ")


def test_hint_names_train_if_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.models.choice.bundled_models", dict)
    code, message, hint = failure("denoise", "photos/0.png", "out.png")
    assert code == 1
    assert "no model" in message
    assert "`n2n train`" in hint


def test_changes_made_by_reading_are_noted(here: Path) -> None:
    Image.open(photo(here / "a\nb.png")).convert("P").save("a\nb.png")
    answer = n2n("denoise", *MODEL, "a\nb.png", "out.png")
    assert answer == (0, "", "model: tiny.pth\na\\nb.png: its palette became plain colours\n")


def test_same_note_of_many_pages_is_printed_once() -> None:
    stored = Stored("TIFF", (Part(330, bytes(4), 4), Part(65000, b"\1", 7)))
    pages = [Picture(np.full((2, 3, 3), level, np.uint8), None, {"stored": stored}) for level in range(30)]
    write_pages("in.tif", pages)
    answer = n2n("denoise", *MODEL, "in.tif", "out.tif")
    line = "in.tif: its SubIFDs would not fit the new file and were left out"
    assert answer == (0, "", f"model: tiny.pth\n{line}\n")
    write_pages("one.tif", pages[:1])
    answer = n2n("denoise", *MODEL, "one.tif", "out.png")
    assert answer == (0, "", f"model: tiny.pth\none{line[2:]}; PNG cannot hold its tag 65000\n")


def test_names_that_are_not_utf8_are_accepted() -> None:
    source, target = "in\udcff\n.png", "out\udcfe\n.png"
    Path("photos/0.png").rename(source)
    assert n2n("denoise", *MODEL, source, target).code == 0
    assert Path(target).is_file()
    assert failure("denoise", *MODEL, "no\udcff\n.png", target)[1] == r"there is no file `no\udcff\n.png`"


def test_old_output_is_replaced_and_the_input_only_with_in_place() -> None:
    before = Path("photos/0.png").read_bytes()
    assert n2n("denoise", *MODEL, "photos/0.png", "old.png").code == 0
    assert n2n("denoise", *MODEL, "photos/1.png", "old.png").code == 0
    assert Path("photos/0.png").read_bytes() == before
    assert n2n("denoise", *MODEL, "photos/1.png", "photos/1.png", "--in-place").code == 0
    assert Path("photos/1.png").read_bytes() == Path("old.png").read_bytes()
    assert n2n("denoise", *MODEL, "photos", "photos/", "--in-place").code == 0
    assert Path("photos/0.png").read_bytes() != before


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("new/out.png", "`new/out.png` cannot be written: there is no folder `new`", "`mkdir -p new`"),
        ("a b/c/o.png", "`a b/c/o.png` cannot be written: there is no folder `a b/c`", "`mkdir -p 'a b/c'`"),
        ("tiny.toml/o.png", "`tiny.toml/o.png` cannot be written: `tiny.toml` is not a folder", "name another place"),
        ("out.gif", "`out.gif` does not have the extension of an image format", "known extensions: .png, .jpg"),
        ("out", "`out` does not have the extension of an image format", "known extensions: .png, .jpg"),
        ("x" * 300 + ".png", f"`{'x' * 300}.png`: File name too long", "`n2n --debug ...` shows where"),
    ],
)  # fmt: skip
def test_output_that_cannot_be_written_is_reported_before_any_work(target: str, message: str, hint: str) -> None:
    Path("tiny.pth").write_text("no model")
    Path("photos/0.png").write_text("no picture")
    code, got, got_hint = failure("denoise", *MODEL, "photos/0.png", target)
    assert (code, got) == (1, message)
    assert got_hint.startswith(hint)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.png", "out.png"], 1, "there is no file `missing.png`"),
        (["tiny.toml", "out.png"], 1, "`tiny.toml` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture"),
        (["photos/0.png", "out.png", "--model", "missing.pth"], 1, "there is no checkpoint `missing.pth`"),
        (["photos/0.png", "out.png", "--model", "tiny.toml"], 1, "`tiny.toml` is not a checkpoint"),
        (["photos/0.png", "out.png", "--model", "photos"], 1, "`photos` is a folder, not a checkpoint"),
        (["photos/0.png", "out.png", *MODEL, "--config", "default"], 1, "`tiny.pth`"),
        (["photos/0.png", "out.png", *MODEL, "--config", "missing"], 2, "there is no configuration `missing`"),
    ],
)
def test_unusable_inputs_and_models_are_refused(words: list[str], code: int, message: str) -> None:
    got = failure("denoise", *words)
    assert got[0] == code
    assert message in got[1]
    assert not Path("out.png").exists()


def test_failure_keeps_the_old_output() -> None:
    Path("out.png").write_text("old")
    assert failure("denoise", *MODEL, "photos/0.png", "out.png", "--max-memory", "99MB")[0] == 1
    assert Path("out.png").read_text() == "old"
    assert not [path for path in Path().iterdir() if re.search(r"tmp$", path.name)]


def test_trained_model_denoises_a_photo() -> None:
    assert load_config("tiny.toml").data.noise == "gaussian:25"
    clean = np.asarray(Image.open("photos/0.png"), dtype=float)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape), 0, 255)
    Image.fromarray(np.rint(noisy).astype(np.uint8)).save("noisy.png")
    words = ["--set", "data.pairs=200", "--epochs", "15", "--lr", "2", "--out", "run"]
    assert n2n("train", "--config", "tiny.toml", *words).code == 0
    assert n2n("denoise", "--model", "run/best.pth", "noisy.png", "out.png").code == 0
    error = [np.mean((np.asarray(Image.open(name), float) - clean) ** 2) for name in ("noisy.png", "out.png")]
    assert error[1] < error[0]


# Memory


def test_smaller_tiles_give_the_same_output(here: Path) -> None:
    photo(here / "in.png", (300, 400, 3))
    for name, more in (("a.png", []), ("b.png", ["--max-memory", "103MB"])):
        assert n2n("denoise", *MODEL, "in.png", name, *more, "--threads", "1").code == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_too_little_memory_is_reported_with_the_need() -> None:
    code, message, hint = failure("denoise", *MODEL, "photos/0.png", "out.png", "--max-memory", "99MB")
    assert code == 1
    assert re.fullmatch(r"99 MB are too little for this picture; at least 10\d MB are needed", message)
    assert hint == "a larger `--max-memory`, or fewer `--threads`"


# Many pictures


def test_folder_with_a_bad_picture_denoises_the_rest_and_fills_the_manifest(here: Path) -> None:
    (here / "photos" / "bad.png").write_bytes(b"no picture")
    Path("out").mkdir()
    answer = n2n("denoise", *MODEL, "photos", "out", "--manifest", "done.jsonl", "--suffix", "_clean")
    assert answer.code == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["0_clean.png", "1_clean.png", "2_clean.png"]
    assert "error: `photos/bad.png` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture\n" in answer.err
    assert "error: 1 of 4 pictures failed" in answer.err
    records = [json.loads(line) for line in Path("done.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["done", "done", "done", "failed"]
    assert records[0]["width"] == 20
    again = n2n("denoise", *MODEL, "photos", "out", "--skip-existing", "--suffix", "_clean", "--pattern", "[0-9].png")
    assert again.code == 0
    assert "0 pictures denoised, 3 skipped" in again.err


def test_shards_denoise_all_of_a_tree_and_keep_its_folders(here: Path) -> None:
    for i in range(5):
        photo(here / "tree" / f"{i % 2}" / f"{i}.png", seed=i)
    Path("out").mkdir()
    for shard in ("1/2", "2/2"):
        assert n2n("denoise", *MODEL, "tree", "out", "--recursive", "--shard", shard).code == 0
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == [
        *("out/0/0.png", "out/0/2.png", "out/0/4.png", "out/1/1.png", "out/1/3.png")
    ]
    plan = n2n("denoise", *MODEL, "tree", "out", "--recursive", "--dry-run").out.splitlines()
    assert plan[0] == "tree/0/0.png\tout/0/0.png"
    assert len(plan) == 5


def test_stdin_is_denoised_to_stdout(here: Path) -> None:
    command = [*N2N, "denoise", *MODEL, "-", "-"]
    data = Path("photos/0.png").read_bytes()
    done = subprocess.run(command, input=data, capture_output=True, check=True, env=environment())
    n2n("denoise", *MODEL, "photos/0.png", "out.png")
    with Image.open(io.BytesIO(done.stdout)) as piped, Image.open("out.png") as written:
        assert piped.format == "PNG"
        assert np.array_equal(np.asarray(piped), np.asarray(written))
    bad = subprocess.run(command, input=data[: len(data) // 2], capture_output=True, check=False, env=environment())
    assert (bad.returncode, bad.stdout) == (1, b"")
    assert b"error: `stdin` is not a whole PNG" in bad.stderr


@pytest.mark.parametrize("words", [("a.heic", "out.png"), ("a.heic", "out"), ("a.heic", "photos/0.png", "out")])
def test_unsupported_kind_of_picture_is_named_for_any_output(words: tuple[str, ...]) -> None:
    Path("a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    Path("out").mkdir(exist_ok=True)
    answer = n2n("denoise", "--model", "tiny.pth", *words)
    assert answer.code == 1
    assert "error: `a.heic` is an HEIC picture; supported are PNG, JPEG, TIFF, WebP, BMP, FITS and MRC\n" in answer.err
    assert "hint: export it as 16-bit TIFF or as PNG\n" in answer.err or len(words) > 2


def test_output_has_the_permissions_of_its_input(here: Path) -> None:
    (here / "private.png").write_bytes((here / "photos" / "0.png").read_bytes())
    (here / "private.png").chmod(0o600)
    (here / "tiny.pth").chmod(0o640)
    for name, words, mode in (
        ("out.png", ["denoise", "--model", "tiny.pth", "private.png", "out.png"], 0o600),
        ("sheet.png", ["compare", "photos/0.png", "private.png", "-o", "sheet.png"], 0o600),
        ("open.png", ["denoise", "--model", "tiny.pth", "photos/0.png", "open.png"], 0o644),
        ("half.pth", ["export", "tiny.pth", "half.pth"], 0o640),
    ):
        assert n2n(*words).code == 0
        assert (here / name).stat().st_mode & 0o777 == mode, name
    (here / "out.png").chmod(0o644)  # an existing output keeps its own permissions
    assert n2n("denoise", "--model", "tiny.pth", "private.png", "out.png").code == 0
    assert (here / "out.png").stat().st_mode & 0o777 == 0o644
    with (here / "private.png").open("rb") as stdin:
        process = start("denoise", "--model", "tiny.pth", "-", "piped.png", stdin=stdin)
    assert ended(process)[0] == 0
    assert (here / "piped.png").stat().st_mode & 0o777 == 0o600


def test_file_system_without_permissions_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)
    Path("out").mkdir()
    answer = n2n("denoise", "--model", "tiny.pth", "photos", "out")
    assert answer.code == 0
    assert answer.err.count("out`: its file system does not support permissions\n") == 1
