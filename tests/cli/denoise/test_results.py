"""Reports on many pictures: lines, the manifest, failures, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.models.model import Model
from tests.cli import n2n, photo, start

DENOISE = ("denoise", "--model", "tiny.pth")


@pytest.fixture(autouse=True)
def out(here: Path) -> None:
    Path("out").mkdir()


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_failures_are_printed_also_when_quiet() -> None:
    Path("photos/1.png").write_bytes(b"")
    Path("photos/a\nb.png").write_text("junk")
    answer = n2n("-q", *DENOISE, "photos", "out")
    assert answer == (
        1,
        "",
        "error: `photos/1.png` is empty\n"
        "error: `photos/a\\nb.png` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture\n"
        "error: 2 of 4 pictures failed\n\nhint: the errors are above; 2 are done\n",
    )
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.png", "2.png"]


def test_single_failure_has_the_hint_of_its_error() -> None:
    Path("photos/1.png").write_bytes(b"")
    answer = n2n("-q", *DENOISE, "photos", "out")
    assert answer.err == "error: `photos/1.png` is empty\nerror: 1 of 3 pictures failed\n\nhint: copy it again\n"


def test_debug_prints_a_traceback_for_each_failure() -> None:
    Path("photos/1.png").write_bytes(b"")
    Path("photos/2.png").write_text("junk")
    assert n2n("--debug", *DENOISE, "photos", "out").err.count("Traceback (most recent call last):") >= 3


def test_verbose_prints_a_line_per_picture() -> None:
    Path("photos/1.png").write_text("junk")
    photo(Path("out/2.png"))
    answer = n2n(*DENOISE, "photos", "out", "-v", "--skip-existing")
    lines = answer.err.splitlines()
    assert lines[0] == "model: tiny.pth"
    assert lines[1].startswith("photos/0.png: 20x24 pixels, 0.")
    assert lines[1].endswith(" s")
    assert lines[2:4] == ["photos/1.png: failed", "photos/2.png: skipped"]
    assert lines[4].startswith("1 picture denoised, 1 skipped in ")


def test_report_prints_a_line_per_picture(rng: np.random.Generator) -> None:
    for i in (0, 1):
        noisy = np.clip(rng.normal(120, 20 * (i + 1), (64, 64)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(f"photos/{i}.png")
    Path("photos/2.png").unlink()
    answer = n2n("-q", *DENOISE, "photos", "out", "--report", "--strength", "0")
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert [row[0] for row in rows] == ["photos/0.png", "photos/1.png"]
    for (_, before, after, kind), sigma in zip(rows, (20, 40), strict=True):
        assert float(before) == pytest.approx(sigma, rel=0.15)
        assert after == before
        assert kind.startswith("sigma ")
    assert np.array_equal(np.asarray(Image.open("out/0.png")), np.asarray(Image.open("photos/0.png")))
    as_json = records(n2n("-q", *DENOISE, "photos", "out", "--report", "--json").out)
    assert [set(record) for record in as_json] == 2 * [
        {"input", "output", "model", "sigma_before", "sigma_after", "noise_before", "noise_after"}
    ]
    assert f"{as_json[0]['sigma_before']:.2f}" == rows[0][1]


def test_manifest_on_stdout_lists_every_picture() -> None:
    Path("photos/1.png").write_text("junk")
    photo(Path("out/2.png"))
    answer = n2n("-q", *DENOISE, "photos", "out", "--skip-existing", "--manifest", "-")
    found = {record["input"]: record["status"] for record in records(answer.out)}
    assert found == {"photos/0.png": "done", "photos/1.png": "failed", "photos/2.png": "skipped"}


def test_manifest_is_continued_and_checked_before_the_work() -> None:
    for _ in range(2):
        assert n2n(*DENOISE, "photos", "out", "--manifest", "m.jsonl").code == 0
    assert len(records(Path("m.jsonl").read_text())) == 6
    Path("out/0.png").unlink()
    answer = n2n("-q", *DENOISE, "photos", "out", "--manifest", "tiny.toml")
    assert answer.code == 2
    assert answer.err.startswith("error: `tiny.toml` is not a manifest\n")
    assert not Path("out/0.png").exists()


def test_lossy_format_is_noted_once() -> None:
    answer = n2n(*DENOISE, "photos", "out", "--format", "jpeg")
    assert answer.err.count("JPEG is lossy") == 1
    assert "out/0.jpg: JPEG is lossy" in answer.err


def test_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    from_checkpoint = Model.from_checkpoint

    def counted(path: Path, *words: Any, **options: Any) -> Model:
        loaded.append(path)
        return from_checkpoint(path, *words, **options)

    monkeypatch.setattr(Model, "from_checkpoint", counted)
    assert n2n("-q", *DENOISE, "photos", "out") == (0, "", "")
    assert loaded == [Path("tiny.pth")]


def test_ctrl_c_counts_finished_pictures_and_leaves_whole_files() -> None:
    for i in range(300):
        photo(Path(f"many/{i:03}.png"), (200, 200, 3))
    with start(*DENOISE, "many", "out", "-v", "--manifest", "m.jsonl") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("many/002"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    names = sorted(path.name for path in Path("out").iterdir())
    done = [record for record in records(Path("m.jsonl").read_text()) if record["status"] == "done"]
    interrupted = re.search(
        r"^error: interrupted: (\d+) of 300 pictures are done\n\nhint: no file is left half", err, re.MULTILINE
    )
    assert interrupted
    # The signal may come after a file is written and before it is counted.
    assert 3 <= len(done) <= int(interrupted[1]) <= len(names) <= len(done) + 1 < 300
    assert names == [f"{i:03}.png" for i in range(len(names))]
    for name in names:
        Image.open(Path("out", name)).load()
    assert "Traceback" not in err
