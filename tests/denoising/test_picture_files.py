"""Denoising of many files; each is done, skipped or failed."""

from __future__ import annotations

import gc
import io
import json
import os
import tracemalloc
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.errors import ImageError
from n2n_cli.images import Part, Picture, Stored, read_pages, write_pages
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Module, Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.progress import reported_to
from tests.denoising.test_picture import HALF_GRAY


def gray(name: str, value: int = 200, size: tuple[int, int] = (4, 6)) -> Path:
    """Write a gray picture of one value, except for one pixel.

    A constant picture would not be denoised.
    """
    image = Image.new("L", size[::-1], value)
    image.putpixel((0, 0), value + 2)
    image.save(name)
    return Path(name)


def run(*tasks: DenoiseTask, options: DenoiseOptions | None = None) -> list[Outcome]:
    return list(denoise_files(HALF_GRAY, tasks, options or DenoiseOptions()))


def value(name: str | Path) -> int:
    """The level of all pixels but the first, which is a little brighter."""
    first, *levels = Image.open(name).get_flattened_data()
    (level,) = set(levels)
    assert isinstance(first, int)
    assert isinstance(level, int)
    assert 1 <= first - level <= 2
    return level


def test_outcome_and_record_of_denoised_picture() -> None:
    (outcome,) = run(DenoiseTask(gray("a.png"), Path("b.png")), options=DenoiseOptions(estimates=True))
    assert value("b.png") == 100
    assert (outcome.status, outcome.width, outcome.height, outcome.pages) == ("done", 6, 4, 1)
    assert (outcome.notes, outcome.lossy, outcome.error) == ([], None, None)
    assert 0 < outcome.seconds < 60
    record = json.loads(json_line(outcome.record()))
    assert record == {
        "input": "a.png",
        "output": "b.png",
        "status": "done",
        "width": 6,
        "height": 4,
        "pages": 1,
        "seconds": round(outcome.seconds, 4),
        "model": None,
        "sigma_before": None,  # the picture is too small
        "sigma_after": None,
        "noise_before": record["noise_after"],
        "noise_after": record["noise_after"],
        "error": None,
    }


def test_outcome_has_noise_before_and_after_if_asked(rng: np.random.Generator) -> None:
    pixels = np.clip(rng.normal(120, 20, (64, 64)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save("a.png")
    (outcome,) = run(DenoiseTask(Path("a.png"), Path("b.png")), options=DenoiseOptions(estimates=True))
    assert outcome.sigma_before == pytest.approx(20, rel=0.15)
    assert outcome.sigma_after == pytest.approx(10, rel=0.15)
    assert outcome.noise_before is not None
    assert outcome.noise_before.sigma == outcome.sigma_before
    (outcome,) = run(DenoiseTask(Path("a.png"), Path("b.png")))
    assert (outcome.sigma_before, outcome.noise_before) == (None, None)


def test_bad_file_does_not_stop_the_others() -> None:
    Path("bad.png").write_text("junk")
    tasks = [DenoiseTask(gray("a.png"), Path("out-a.png")), DenoiseTask(Path("bad.png"), Path("out-bad.png"))]
    tasks += [
        DenoiseTask(gray("b.png"), Path("b.xyz")),
        DenoiseTask(Path("missing.png"), Path("m.png")),
        DenoiseTask(gray("c.png"), Path("c.png")),
    ]
    outcomes = run(*tasks)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "failed", "failed", "done"]
    assert [outcome.task for outcome in outcomes] == tasks
    errors = [outcome.record()["error"] for outcome in outcomes]
    assert errors[1].startswith("`bad.png` is not a whole PNG")
    assert errors[2] == "`b.xyz` does not have the extension of an image format"
    assert errors[3] == "there is no file `missing.png`"
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "b.png", "bad.png", "c.png", "out-a.png"]
    assert value("c.png") == 100  # its own output


class FailingLayer(Module):
    """Layer that raises the next of the errors, or returns its input if that is None."""

    def __init__(self, errors: list[Exception | None]) -> None:
        super().__init__()
        self._errors = iter(errors)

    def forward(self, x: Array) -> Array:
        if error := next(self._errors):
            raise error
        return x


def test_unexpected_error_fails_only_its_file() -> None:
    network = Sequential(HALF_GRAY.network, FailingLayer([MemoryError(), None, ZeroDivisionError("no")]))
    model = Model(network, SGD(network.param()), MSE(), threads=1)
    tasks = [DenoiseTask(gray("a.png"), Path(f"{i}.png")) for i in range(3)]
    outcomes = list(denoise_files(model, tasks, DenoiseOptions()))
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "failed"]
    assert [outcome.record()["error"] for outcome in outcomes] == ["MemoryError", None, "no"]


def test_skip_existing_skips_outputs_that_are_not_empty() -> None:
    gray("a.png")
    gray("there.png", 1)
    Path("empty.png").touch()
    Path("folder.png").mkdir()
    names = ("there.png", "empty.png", "new.png", "folder.png")
    outcomes = run(
        *(DenoiseTask(Path("a.png"), Path(name)) for name in names), options=DenoiseOptions(skip_existing=True)
    )
    assert [outcome.status for outcome in outcomes] == ["skipped", "done", "done", "failed"]
    assert (value("there.png"), value("empty.png"), value("new.png")) == (1, 100, 100)


def test_output_folder_is_made_only_for_denoised_picture() -> None:
    Path("bad.png").write_text("junk")
    Path("file").touch()
    outcomes = run(
        DenoiseTask(gray("a.png"), Path("x/y/a.png")),
        DenoiseTask(Path("bad.png"), Path("z/bad.png")),
        DenoiseTask(Path("a.png"), Path("file/a.png")),
    )
    assert value("x/y/a.png") == 100
    assert not Path("z").exists()
    assert isinstance(outcomes[2].error, ImageError)
    assert outcomes[2].error.message == "`file/a.png` cannot be written: the folder `file` cannot be made: File exists"


def test_all_pages_of_a_tiff_are_denoised() -> None:
    pages = [Picture(np.full((4, 5 + i, 1), 200 - 20 * i, np.uint8)) for i in range(3)]  # each is constant
    write_pages(Path("a.tif"), pages)
    done, failed = run(DenoiseTask(Path("a.tif"), Path("b.tif")), DenoiseTask(Path("a.tif"), Path("b.png")))
    assert (done.status, done.pages, done.width) == ("done", 3, 5)
    assert [int(page.pixels[0, 0, 0]) for page in read_pages(Path("b.tif"))] == [100, 90, 80]
    assert failed.record()["error"] == "`b.png`: PNG holds a single picture, there are several pages"
    assert not Path("b.png").exists()


def test_output_stream_has_format_of_input_stream() -> None:
    source = gray("a.png")
    for image_format in ("PNG", "BMP", "TIFF"):
        data, output_stream = io.BytesIO(), io.BytesIO()
        Image.open(source).save(data, image_format)
        data.seek(0)
        (outcome,) = run(DenoiseTask(Path("-"), Path("-"), data, output_stream))
        assert outcome.status == "done"
        image = Image.open(output_stream)
        assert (image.format, image.getpixel((1, 0))) == (image_format, 100)


def test_stream_that_fails_writes_nothing() -> None:
    output_stream = io.BytesIO()
    (outcome,) = run(DenoiseTask(Path("-"), Path("-"), io.BytesIO(b"junk"), output_stream))
    assert outcome.record()["error"] == "`stdin` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture"
    assert output_stream.getvalue() == b""


def test_named_pipe_is_read() -> None:
    os.mkfifo("pipe")
    content = gray("a.png").read_bytes()
    writer = Thread(target=lambda: Path("pipe").write_bytes(content))
    writer.start()
    (outcome,) = run(DenoiseTask(Path("pipe"), Path("b.png")))
    writer.join()
    assert (outcome.status, value("b.png")) == ("done", 100)


@pytest.mark.parametrize(
    ("source", "target", "quality", "lossy"),
    [
        ("a.png", "b.jpg", None, "JPEG"),
        ("a.png", "b.webp", 80, "WEBP"),
        ("a.png", "b.webp", None, None),
        ("a.jpg", "b.jpg", None, None),
        ("a.jpg", "b.png", 80, None),
    ],
)
def test_lossy_output_of_lossless_input_is_reported(
    source: str, target: str, quality: int | None, lossy: str | None
) -> None:
    Image.new("RGB", (6, 4), (200, 100, 50)).save(source)
    (outcome,) = run(DenoiseTask(Path(source), Path(target)), options=DenoiseOptions(quality=quality))
    assert (outcome.status, outcome.lossy) == ("done", lossy)


def test_options_reach_reader_network_and_writer(rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(256, size=(40, 60), dtype=np.uint8)).save("a.png")
    task = DenoiseTask(Path("a.png"), Path("b.jpg"))
    sizes = []
    for quality in (10, 90):
        run(task, options=DenoiseOptions(quality=quality))
        sizes.append(Path("b.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    (outcome,) = run(task, options=DenoiseOptions(max_pixels=2399))
    assert "2,400 pixels, more than the limit of 2,399" in outcome.record()["error"]
    run(DenoiseTask(gray("c.png"), Path("d.dat")), options=DenoiseOptions(image_format="PNG", strength=0.5))
    assert value("d.dat") == 150


def test_format_without_transparency_is_refused_before_denoising() -> None:
    Image.new("LA", (6, 4)).save("a.png")
    parts: list[float] = []
    task = DenoiseTask(Path("a.png"), Path("b.jpg"))
    with reported_to(parts.append):
        (outcome,) = denoise_files(HALF_GRAY, [task], DenoiseOptions())
    assert outcome.record()["error"] == "`b.jpg`: JPEG cannot hold this picture's transparency"
    assert parts == []


def test_same_note_of_all_pages_comes_once() -> None:
    stored = Stored("TIFF", (Part(330, bytes(4), 4),))
    write_pages(
        "a.tif", [Picture(np.full((2, 3, 3), level, np.uint8), None, {"stored": stored}) for level in (1, 2, 3)]
    )
    (outcome,) = run(DenoiseTask(Path("a.tif"), Path("b.tif")))
    assert outcome.notes == ["its SubIFDs would not fit the new file and were left out"]


def test_notes_that_differ_only_in_numbers_are_merged() -> None:
    outcome = Outcome(DenoiseTask(Path("a.tif"), Path("b.tif")))
    for shares in (["1.5", "-2"], ["3e+06"], ["-2"], ["3e+06"]):
        outcome.note(f"{share} of 8 differ" for share in shares)
        outcome.note(["an end"] if outcome.pages == 3 else [])
        outcome.pages += 1
    assert outcome.notes == ["1.5 of 8 differ", "-2 of 8 differ (similar on 2 more pages)", "an end"]


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    source = gray("a.png", size=(60, 80))
    tasks = (DenoiseTask(source, Path(f"{i % 3}.png")) for i in range(700))
    outcomes = denoise_files(HALF_GRAY, tasks, DenoiseOptions(estimates=True))
    tracemalloc.start()
    try:
        held = []
        for i, outcome in enumerate(outcomes):
            assert outcome.status == "done"
            if i % 100 == 99:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Bytes in 100 files. Caches fill with the first files; the interpreter's table of names may grow once, by 2 MB. An
    # outcome takes 1,000.
    assert min(held[5] - held[4], held[6] - held[5]) < 100 * 100


def test_task_is_announced_before_its_progress() -> None:
    calls: list[object] = []
    tasks = [DenoiseTask(gray("a.png"), Path("b.png")), DenoiseTask(Path("a.png"), Path("c.png"))]
    with reported_to(calls.append):
        outcomes = list(denoise_files(HALF_GRAY, tasks, DenoiseOptions(), begin=calls.append))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert calls == [tasks[0], 1.0, tasks[1], 1.0]


def test_failed_pictures_leave_no_files_open() -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("this system does not list open files")
    tasks = [DenoiseTask(gray("a.png"), Path(f"{i}.png")) for i in range(5)]
    before = len(list(open_files.iterdir()))
    outcomes = list(denoise_files(HALF_GRAY, tasks, DenoiseOptions(max_memory=1)))
    assert [outcome.status for outcome in outcomes] == ["failed"] * 5
    assert len(list(open_files.iterdir())) == before
