"""`n2n compare`: sheet, metrics and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.images import Metadata, Picture, read_picture, write_pages, write_picture
from tests.cli import failure, n2n, photo
from tests.images.pictures import exif_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("noisy", "denoised", "clean")):
        photo(tmp_path / f"{name}.png", seed=i)
    photo(tmp_path / "wide.png", (24, 21, 3))
    return tmp_path


def test_sheet_and_metrics_with_a_clean_picture() -> None:
    answer = n2n("compare", "noisy.png", "denoised.png", "clean.png", "-o", "sheet.png")
    assert (answer.code, answer.err) == (0, "sheet: sheet.png\n")
    assert [line.split(" dB, SSIM ")[0].split(" PSNR ")[0] for line in answer.out.splitlines()] == [
        "noisy:",
        "denoised:",
    ]
    four = read_picture("sheet.png").pixels
    assert n2n("-q", "compare", "noisy.png", "denoised.png", "--out", "sheet.png").code == 0
    three = read_picture("sheet.png").pixels
    assert four.shape[1] > three.shape[1] > 3 * 400
    assert len(np.unique(four)) > 100


def test_sheet_does_not_overwrite_its_inputs() -> None:
    Path("link.png").symlink_to("clean.png")
    for out, name in (("noisy.png", "`noisy.png`"), ("link.png", "`clean.png`, which is `link.png`")):
        code, message, hint = failure("compare", "noisy.png", "denoised.png", "clean.png", "-o", out)
        assert (code, message) == (2, f"the command would overwrite its own input {name}")
        assert hint == "another name for the output"


def test_json_has_one_object_per_picture() -> None:
    answer = n2n("-q", "compare", "noisy.png", "clean.png", "clean.png", "-o", "s.jpg", "--json")
    noisy, denoised = (json.loads(line) for line in answer.out.splitlines())
    assert list(noisy) == ["picture", "psnr", "ssim", "sigma_255", "unit"]
    assert 5 < noisy["psnr"] < 30
    assert denoised == {"picture": "denoised", "psnr": None, "ssim": pytest.approx(1), "sigma_255": None, "unit": None}
    (line, _) = n2n("-q", "compare", "noisy.png", "clean.png", "-o", "s.jpg", "--json").out.splitlines()
    assert json.loads(line)["sigma_255"] >= 0


def test_ignored_transparency_is_noted() -> None:
    pixels = read_picture("noisy.png").pixels
    write_picture("alpha.png", Picture(pixels, alpha=np.full(pixels.shape[:2], 9, np.uint8)))
    answer = n2n("compare", "alpha.png", "denoised.png", "-o", "sheet.png")
    assert answer.code == 0
    assert answer.err == "alpha.png: its transparency is not shown\nsheet: sheet.png\n"


def test_page_of_stacks_with_a_single_clean_picture() -> None:
    pages = [read_picture(f"{name}.png") for name in ("wide", "noisy", "denoised")]
    write_pages("noisy.tif", pages[:2])
    write_pages("denoised.tif", pages[::2])
    stacks = n2n("compare", "noisy.tif", "denoised.tif", "clean.png", "-o", "sheet.png", "--page", "2")
    single = n2n("compare", "noisy.png", "denoised.png", "clean.png", "-o", "same.png")
    assert (stacks.code, stacks.out) == (0, single.out)
    code, message, hint = failure("compare", "noisy.tif", "denoised.tif", "-o", "sheet.png")
    assert (code, "has 2 frames or pages" in message, "`--page N`" in hint) == (1, True, True)
    code, message, _ = failure("compare", "noisy.tif", "denoised.tif", "-o", "sheet.png", "--page", "3")
    assert (code, message) == (1, "`noisy.tif` has 2 pages, and no page 3")


@pytest.mark.parametrize("ending", [".jpg", ".tif", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_rotated_picture_and_its_denoised_version_are_both_upright(orientation: int, ending: str) -> None:
    shown = np.zeros((60, 40, 3), np.uint8)
    shown[:30] = 230  # bright upper half
    stored = np.ascontiguousarray(np.rot90(shown) if orientation == 6 else np.rot90(shown, 2))
    rotated: Metadata = {"exif": exif_of(Orientation=orientation)}
    write_picture("stored.jpg", Picture(stored, None, rotated))
    assert n2n("-q", "denoise", "--strength", "0", "stored.jpg", f"out{ending}").code == 0
    sheets = []
    write_picture("shown.png", Picture(shown))
    for first in ("stored.jpg", "shown.png"):
        answer = n2n("compare", first, f"out{ending}", "-o", "sheet.png")
        assert (answer.code, answer.err) == (0, "sheet: sheet.png\n")
        sheets.append(read_picture("sheet.png").pixels)
    assert sheets[0].shape == sheets[1].shape


def test_crops_change_the_sheet() -> None:
    shapes = []
    for crops in ([], ["--crop", "0,0,10"], ["--crop", "0,0,10", "--crop", "10,14,10"]):
        assert n2n("-q", "compare", "noisy.png", "denoised.png", "-o", "sheet.png", *crops).code == 0
        shapes.append(read_picture("sheet.png").pixels.shape)
    assert shapes[0][0] + 400 < shapes[1][0] < shapes[2][0] - 400


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.png", "denoised.png", "-o", "s.png"], 1, "`missing.png`"),
        (["noisy.png", "wide.png", "-o", "s.png"], 1, "`noisy.png` has 20x24 pixels, `wide.png` has 21x24 pixels"),
        (["missing.png", "denoised.png", "-o", "s.txt"], 1, "`s.txt` does not have the extension of an image format"),
        (["noisy.png", "denoised.png", "-o", "no/s.png"], 1, "`no/s.png` cannot be written"),
        (["noisy.png", "denoised.png", "-o", "s.png", "--crop", "1,2"], 2, "`--crop` is '1,2', it must be three whole"),
        (["noisy.png", "denoised.png", "-o", "s.png", "--crop", "a,b,c"], 2, "`--crop` is 'a,b,c'"),
        (["noisy.png", "denoised.png", "-o", "s.png", "--crop", "9,9,20"], 2, "`--crop 9,9,20` does not lie in the"),
        (["noisy.png", "denoised.png"], 2, "missing option '--out'"),
        (["noisy.png", "-o", "s.png"], 2, "missing argument 'DENOISED'"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("compare", *words)
    assert got[0] == code
    assert message in got[1]
    assert not list(Path().glob("**/s.*"))
