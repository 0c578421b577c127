"""The arguments IN... OUT, and shards of the pictures."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli import N2N, environment, failure, n2n, photo

DENOISE = ("denoise", "--model", "tiny.pth")


@pytest.fixture(autouse=True)
def out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    for name in os.environ:
        if name.startswith(("SLURM_", "JOB_COMPLETION", "OMPI_", "PMI_")):
            monkeypatch.delenv(name)


def planned(*words: str) -> list[list[str]]:
    """Input and output of each picture that would be denoised."""
    answer = n2n(*DENOISE, *words, "--dry-run")
    assert answer.code == 0, answer.err
    return [line.split("\t") for line in answer.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["photos/0.png", "b.png"], [["photos/0.png", "b.png"]]),
        (["photos/0.png", "out"], [["photos/0.png", "out/0.png"]]),
        (["photos/0.png", "photos/1.png", "out/"], [["photos/0.png", "out/0.png"], ["photos/1.png", "out/1.png"]]),
        (["photos", "out", "--pattern", "[02].png"], [["photos/0.png", "out/0.png"], ["photos/2.png", "out/2.png"]]),
        (["photos/2.png", "out", "--suffix", "_d", "--format", "tiff"], [["photos/2.png", "out/2_d.tif"]]),
        (["-", "b.png"], [["-", "b.png"]]),
        (["photos/0.png", "-"], [["photos/0.png", "-"]]),
    ],
    ids=str,
)
def test_dry_run_lists_the_output_of_each_input(words: list[str], wanted: list[list[str]]) -> None:
    assert planned(*words) == wanted


def test_dry_run_changes_no_file() -> None:
    Path("tiny.pth").write_text("no model")
    before = sorted(Path().rglob("*"))
    planned("photos", "out", "--manifest", "m.jsonl", "--report")
    assert sorted(Path().rglob("*")) == before


def test_dry_run_leaves_out_existing_outputs_with_skip_existing() -> None:
    photo(Path("out/1.png"))
    assert [source for source, _ in planned("photos", "out", "--skip-existing")] == ["photos/0.png", "photos/2.png"]


def test_files_that_will_be_replaced_are_named_before_the_work() -> None:
    """As after `n2n denoise *.png` in a folder of two pictures."""
    photo(Path("a.png"))
    photo(Path("b.png"))
    Path("out/empty.png").touch()
    first = n2n(*DENOISE, "a.png", "b.png").err.splitlines()[0]
    assert first == "`b.png` exists and will be replaced"
    assert n2n(*DENOISE, "a.png", "out/empty.png").err.count("replaced") == 0
    assert n2n(*DENOISE, "photos", "out").err.count("replaced") == 0
    again = n2n(*DENOISE, "photos", "out", "--dry-run")
    assert again.err == "`out/0.png` and 2 other outputs exist and will be replaced\n"
    for words in (["--skip-existing", "photos", "out"], ["--in-place", "b.png", "b.png"]):
        assert n2n(*DENOISE, *words).err.count("replaced") == 0


def test_names_that_are_not_utf8_are_exact_in_json() -> None:
    Path("photos/0.png").rename("photos/0\t\udcff\n.png")
    assert planned("photos", "out")[0] == ["photos/0\\t\\udcff\\n.png", "out/0\\t\\udcff\\n.png"]
    lines = n2n(*DENOISE, "photos", "out", "--dry-run", "--json").out.splitlines()
    assert json.loads(lines[0]) == {"input": "photos/0\t\udcff\n.png", "output": "out/0\t\udcff\n.png"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-", "photos/0.png", "out"], 2, "`-`, stdin, is one picture: it cannot be one of several inputs"),
        (["photos", "photos", "--in-place", "--skip-existing"], 2, "`--in-place` and `--skip-existing` cannot be used"),
        (["photos/0.png", "photos/1.png", "-"], 2, "only one picture can go to stdout"),
        (["-", "out"], 1, "`out` is a folder, it must be a picture's name"),
        (["photos/0.png", "photos/1.png", "tiny.toml"], 2, "OUT, the last name, is the file `tiny.toml`; the outputs"),
        (["photos/0.png", "photos/1.png", "tiny.toml/x"], 1, "nothing can be written to `tiny.toml/x`: `tiny.toml` is"),
        (["photos/0.png", "tiny.toml/"], 2, "`tiny.toml` is not a folder; the output of several pictures has to be"),
        (["photos/0.png", "b.png", "--suffix", "_d"], 2, "`--suffix` is for outputs in a folder; this one has a name"),
        (["photos", "out", "--suffix", "a/b"], 2, "`--suffix` is 'a/b', it must be a part of a file's name"),
        (["photos/0.png", "b.png", "--format", "jpeg"], 2,
            "`--format` asks for JPEG, the extension of `b.png` for PNG"),
        (["photos/0.png", "b.png", "--format", "gif"], 2, "`--format` is 'gif': there is no image format `gif`"),
        (["photos", "photos/0.png", "out", "--shard", "0/2"], 2, "`--shard` is '0/2'"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_together_are_refused(words: list[str], code: int, message: str) -> None:
    got = failure(*DENOISE, *words)
    assert got[0] == code
    assert got[1].startswith(message)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            ["a.png", "b.png", "c.png"],
            "OUT, the last name, is `c.png`, a picture's name; the outputs of several pictures need a folder",
            "`n2n denoise a.png b.png denoised/`; of one picture, OUT can be a file",
        ),
        (
            ["a.png", "b.png", "photos/2.png"],
            "OUT, the last name, is the file `photos/2.png`; the outputs of several pictures need a folder",
            "`n2n denoise a.png b.png denoised/`, or to denoise `photos/2.png`, too: "
            "`n2n denoise a.png b.png photos/2.png denoised/`",
        ),
        (
            ["photos", "out.HEIC"],
            "OUT, the last name, is `out.HEIC`, a picture's name; the outputs of several pictures need a folder",
            "`n2n denoise photos denoised/`; of one picture, OUT can be a file",
        ),
        (
            ["photos", "-"],
            "only one picture can go to stdout",
            "a folder for OUT: `n2n denoise photos denoised/`",
        ),
    ],
)
def test_output_of_several_pictures_must_be_a_folder(words: list[str], message: str, hint: str) -> None:
    assert failure(*DENOISE, *words) == (2, message, hint)


@pytest.mark.parametrize("words", [["photos"], ["photos/0.png", "photos/1.png", "photos/2.png"]])
def test_missing_output_folder_is_made(words: list[str]) -> None:
    answer = n2n(*DENOISE, *words, "new/one/run.2")
    assert answer.code == 0
    assert "new folder: new/one/run.2\n" in answer.err
    assert sorted(path.name for path in Path("new/one/run.2").iterdir()) == ["0.png", "1.png", "2.png"]
    assert n2n(*DENOISE, "photos/0.png", "other/").code == 0
    assert Path("other/0.png").is_file()


def test_dry_run_and_failed_pictures_make_no_folder() -> None:
    assert planned("photos", "new") == [[f"photos/{i}.png", f"new/{i}.png"] for i in range(3)]
    Path("photos/0.png").write_bytes(b"")
    assert n2n(*DENOISE, "photos", "new", "--pattern", "0.png").code == 1
    assert not Path("new").exists()


def names_of_a_picture(path: Path) -> list[str]:
    """Other spellings of the path of a picture, and links to it."""
    Path("symbolic.png").symlink_to(path)
    Path("hard.png").hardlink_to(path)
    Path("linked").symlink_to(path.parent)
    return [
        str(path),
        f"./{path}",
        str(path.absolute()),
        f"out/../{path}",
        "symbolic.png",
        "hard.png",
        f"linked/{path.name}",
    ]


def test_output_with_any_name_of_its_input_is_refused() -> None:
    before = Path("photos/0.png").read_bytes()
    for name in names_of_a_picture(Path("photos/0.png")):
        for words in ([], ["--dry-run"], ["--self"], ["--shard", "2/2"], ["-q"]):
            own = ["denoise", *(DENOISE[1:] if "--self" not in words else [])]
            code, message, hint = failure(*own, "photos/0.png", name, *words)
            same = "" if Path(name) == Path("photos/0.png") else f": `{Path(name)}` is the same file"
            assert (code, message) == (2, f"`photos/0.png` would be overwritten by its own output{same}")
            assert hint == "another name for OUT; `--in-place` replaces the original"
        assert failure(*DENOISE, name, "photos/0.png")[0] == 2
    assert Path("photos/0.png").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["photos", "photos"],
        ["photos/", "./photos/", "--recursive"],
        ["photos/0.png", "photos/1.png", "photos/2.png", "photos/"],
        ["photos", "linked"],
        ["linked", "photos", "--shard", "3/3"],
        ["photos", "copies"],
        ["copies", "photos"],
    ],
    ids=str,
)
def test_folder_with_any_name_as_its_own_output_is_refused(words: list[str]) -> None:
    Path("linked").symlink_to("photos")
    Path("copies").mkdir()
    for i, path in enumerate(sorted(Path("photos").iterdir())):
        (Path("copies") / path.name).hardlink_to(path) if i else (Path("copies") / path.name).symlink_to(
            path.absolute()
        )
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    code, message, hint = failure(*DENOISE, *words)
    assert (code, "and 2 other pictures would be overwritten by their own outputs" in message) == (2, True), message
    assert hint.endswith("; `--in-place` replaces the originals")
    assert {path: path.read_bytes() for path in Path("photos").iterdir()} == before


@pytest.mark.parametrize("extra", [[], ["--in-place"]])
def test_output_that_is_another_input_or_the_model_is_refused(extra: list[str]) -> None:
    Path("in").mkdir()
    photo(Path("in/0.png"))
    Path("out/0.png").symlink_to("../photos/1.png")
    Path("out/1.png").symlink_to("../tiny.pth")
    for words, message in (
        (
            ["in/0.png", "photos/1.png", "out"],
            "the output of `in/0.png` would overwrite `photos/1.png`, another picture",
        ),
        (["photos/1.png", "out"], "the output of `photos/1.png` would overwrite the model `tiny.pth`"),
    ):
        code, got, _ = failure(*DENOISE, *words, *extra)
        assert (code, got[: len(message)]) == (2, message)


def test_file_named_hyphen_is_read() -> None:
    Path("-").write_bytes(Path("photos/0.png").read_bytes())
    assert n2n(*DENOISE, "./-", "b.png").code == 0
    Path("-").write_text("junk")
    assert failure(*DENOISE, "./-", "b.png")[1].startswith("`-` is not a whole PNG")


def test_explicit_format_allows_any_name() -> None:
    assert n2n(*DENOISE, "photos/0.png", "b.dat", "--format", "bmp").code == 0
    assert Path("b.dat").read_bytes().startswith(b"BM")


def test_shard_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    answer = n2n(*DENOISE, "photos", "out", "--dry-run")
    assert answer.out == "photos/1.png\tout/1.png\n"
    assert answer.err == "shard 2/2 (by SLURM_ARRAY_TASK_ID): 1 of 3 pictures; `--shard 1/1` takes all\n"
    answer = n2n(*DENOISE, "photos", "out", "--dry-run", "--shard", "1/3")
    assert answer.out == "photos/0.png\tout/0.png\n"
    assert answer.err == "shard 1/3 (by --shard): 1 of 3 pictures\n"
    assert len(planned("photos", "out", "--shard", "1/1")) == 3


def test_a_job_array_of_one_task_takes_all_pictures_with_a_note_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ID", "COUNT", "MIN", "MAX", "STEP"):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", "1")
    answer = n2n(*DENOISE, "photos", "out", "--dry-run")
    assert len(answer.out.splitlines()) == 3
    assert answer.err == "shard 1/1 (by SLURM_ARRAY_TASK_ID): 3 of 3 pictures; `--shard I/N` takes a part\n"
    for name in ("ID", "MIN", "MAX"):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", "3")
    code, _, hint = failure(*DENOISE, "photos", "out")
    assert (code, "`--shard 1/1` takes all" in hint, list(Path("out").iterdir())) == (2, True, [])
    assert len(planned("photos", "out", "--shard", "1/1")) == 3
    assert planned("photos/0.png", "b.png") == [["photos/0.png", "b.png"]]


def test_single_picture_is_denoised_by_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert planned("photos/0.png", "b.png") == [["photos/0.png", "b.png"]]
    assert failure(*DENOISE, "photos", "out")[0] == 2
    monkeypatch.setenv("JOB_COMPLETIONS", "3")
    assert planned("photos", "out") == [["photos/1.png", "out/1.png"]]


def test_empty_shard_succeeds() -> None:
    answer = n2n(*DENOISE, "photos", "out", "--shard", "4/4")
    assert answer == (0, "", "shard 4/4 (by --shard): 0 of 3 pictures\nmodel: tiny.pth\n")


def test_second_run_with_the_same_pattern_skips_outputs_of_the_first() -> None:
    command = f"{' '.join(N2N)} -q denoise --model tiny.pth photos/*.png photos --suffix _d"
    for _ in range(2):
        subprocess.run(command, shell=True, check=True, env=environment())
    assert sorted(path.name for path in Path("photos").iterdir()) == [
        *("0.png", "0_d.png", "1.png", "1_d.png", "2.png", "2_d.png")
    ]
