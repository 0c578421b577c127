"""Plans of denoising: the output of each input."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from n2n_cli.denoising.plan import ENDINGS, FolderOptions, check_inputs_kept, plan_file, plan_folder
from n2n_cli.denoising.tasks import DenoiseTask
from n2n_cli.errors import ImageError, UsageError
from n2n_cli.system.atomic_files import replacing
from tests.images.pictures import tiff
from tests.system.test_atomic_files import open_folder, without_privileges


@pytest.fixture(autouse=True)
def out(here: Path) -> None:
    Path("out").mkdir()


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def pairs(*sources: str, to: str = "out", options: FolderOptions | None = None) -> dict[str, str]:
    plan = plan_folder([Path(source) for source in sources], Path(to), options or FolderOptions())
    assert not plan.problems
    return {str(task.source): str(task.target) for task in plan.tasks}


def test_folder_gives_only_visible_files_with_picture_endings() -> None:
    touch("in/b.JPG", "in/a.png", "in/notes.txt", "in/.hidden.png", "in/._b.JPG", "in/sub/c.png", "in/png")
    os.mkfifo("in/pipe.png")
    found = pairs("in")
    assert list(found.items()) == [("in/a.png", "out/a.png"), ("in/b.JPG", "out/b.JPG")]


def test_temporary_files_are_not_inputs() -> None:
    touch("in/a.png")
    with replacing(Path("in/b.png")) as file:
        file.write(b"half")
        assert list(pairs("in")) == ["in/a.png"]


def test_recursive_keeps_the_folder_tree() -> None:
    touch("in/x/y/b.png", "in/x/a.tif", "in/c.png", "in/.git/d.png")
    assert pairs("in", options=FolderOptions(recursive=True)) == {
        "in/c.png": "out/c.png",
        "in/x/a.tif": "out/x/a.tif",
        "in/x/y/b.png": "out/x/y/b.png",
    }


def test_output_folder_inside_the_input_is_not_read() -> None:
    touch("in/a.png", "in/done/a.png", "in/done/x/b.png")
    assert pairs("in", to="in/done", options=FolderOptions(recursive=True)) == {"in/a.png": "in/done/a.png"}
    Path("link").symlink_to("in/done")
    assert pairs("in", to="link", options=FolderOptions(recursive=True)) == {"in/a.png": "link/a.png"}


def test_folder_can_be_its_own_output() -> None:
    touch("in/a.png", "in/x/b.png")
    options = FolderOptions(recursive=True)
    assert pairs("in", to="in", options=options) == {name: name for name in ("in/a.png", "in/x/b.png")}


def test_links_are_followed_without_circles() -> None:
    touch("in/x/a.png", "other/b.png")
    Path("in/x/up").symlink_to("..")
    Path("in/self").symlink_to(".")
    Path("in/linked").symlink_to("../other")
    Path("in/nowhere.png").symlink_to("missing.png")
    Path("in/.hidden.png").symlink_to(".hidden.png")
    assert sorted(pairs("in", options=FolderOptions(recursive=True))) == [
        "in/linked/b.png",
        "in/nowhere.png",
        "in/x/a.png",
    ]


def test_folder_with_a_link_to_it_is_read_once_under_its_own_name() -> None:
    touch("in/z/a.png")
    Path("in/a").symlink_to("z")
    plan = plan_folder([Path("in")], Path("out"), FolderOptions(recursive=True))
    assert [task.source for task in plan.tasks] == [Path("in/z/a.png")]
    assert plan.notes == ("not followed, as the pictures there are read under another name: `in/a`",)


def test_many_links_between_folders_take_little_time() -> None:
    for i in range(40):  # 2**40 paths to the last folder
        touch(f"in/{i}/a.png")
        for name in ("x", "y"):
            Path(f"in/{i}/{name}").symlink_to(f"../{i + 1}")
    began = time.monotonic()
    assert len(pairs("in", options=FolderOptions(recursive=True))) == 40
    assert time.monotonic() - began < 5


def test_patterns_select_from_folders_but_not_named_files() -> None:
    touch("in/a.png", "in/b.jpg", "in/c.tif", "in/B.jpg", "d.webp")
    assert sorted(pairs("in", "d.webp", options=FolderOptions(patterns=("*.png", "b*")))) == [
        "d.webp",
        "in/a.png",
        "in/b.jpg",
    ]


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("a.b.png", FolderOptions(suffix="_denoised"), "a.b_denoised.png"),
        ("a.JPG", FolderOptions(image_format="PNG"), "a.png"),
        ("a.JPEG", FolderOptions(image_format="JPEG"), "a.JPEG"),
        ("a.tiff", FolderOptions(suffix="-x", image_format="WEBP"), "a-x.webp"),
        ("noending", FolderOptions(suffix="_x"), "noending_x"),
        ("noending", FolderOptions(image_format="TIFF"), "noending.tif"),
    ],
)
def test_output_names_have_suffix_and_ending_of_format(name: str, options: FolderOptions, wanted: str) -> None:
    touch(name)
    assert pairs(name, options=options) == {name: f"out/{wanted}"}


def test_every_format_has_one_default_ending() -> None:
    from n2n_cli.images import FORMATS

    assert {FORMATS[ending]: ending for ending in ENDINGS.values()} == ENDINGS


def test_same_file_twice_is_planned_once() -> None:
    touch("in/a.png")
    assert pairs("in/a.png", "in", "in/a.png") == {"in/a.png": "out/a.png"}


def test_inputs_are_sorted_by_the_bytes_of_their_names() -> None:
    touch("in/b.png", "in/B.png", "in/ä.png", "in/\udcff.png")
    assert list(pairs("in")) == ["in/B.png", "in/b.png", "in/ä.png", "in/\udcff.png"]
    assert list(pairs("in/b.png", "in/ä.png", "in/B.png")) == ["in/B.png", "in/b.png", "in/ä.png"]


def test_earlier_outputs_with_the_suffix_are_not_denoised_again() -> None:
    touch("in/a.png", "in/a_d.png", "in/a_d_d.png", "in/b.png", "in/c_d.png")
    plan = plan_folder([Path("in")], Path("in"), FolderOptions(suffix="_d"))
    assert {task.source.name: task.target.name for task in plan.tasks} == {
        "a.png": "a_d.png",
        "b.png": "b_d.png",
        "c_d.png": "c_d_d.png",
    }
    assert plan.notes == ("2 pictures are outputs of others: not denoised again",)
    one = plan_folder([Path("in/a.png"), Path("in/a_d.png")], Path("in"), FolderOptions(suffix="_d"))
    assert one.notes == ("1 picture is the output of another one: not denoised again",)


def test_output_that_links_to_its_input_is_refused_unless_in_place() -> None:
    touch("in/a.png")
    Path("in/a_d.png").symlink_to("a.png")
    plan = plan_folder([Path("in")], Path("in"), FolderOptions(suffix="_d"))
    assert {str(task.source): str(task.target) for task in plan.tasks} == {"in/a.png": "in/a_d.png"}
    check_inputs_kept(plan.tasks, in_place=True)
    with pytest.raises(UsageError, match=r"^`in/a.png` would be overwritten by its own output: `in/a_d.png` is the"):
        check_inputs_kept(plan.tasks)


def test_devices_and_missing_files_may_be_their_own_output() -> None:
    check_inputs_kept([DenoiseTask(Path("/dev/null"), Path("/dev/null")), DenoiseTask(Path("a"), Path("a"))])


def test_inputs_with_the_same_output_are_refused_and_named() -> None:
    touch("x/a.png", "y/a.png", "z/a.png", "x/b.png", "y/b.png", "x/c.png")
    with pytest.raises(UsageError) as caught:
        pairs("x", "y", "z")
    assert caught.value.message == (
        "several pictures would be written to the same file: `x/a.png` and `y/a.png` and `z/a.png` to `out/a.png`; "
        "`x/b.png` and `y/b.png` to `out/b.png`"
    )


def test_output_of_another_format_may_not_overwrite_an_input() -> None:
    touch("in/a.png", "in/a.jpg")
    with pytest.raises(UsageError, match=r"`in/a.jpg` and `in/a.png` to `in/a.png`"):
        pairs("in", to="in", options=FolderOptions(image_format="PNG"))


@pytest.mark.parametrize(
    ("sources", "options", "message", "hint"),
    [
        (("in",), FolderOptions(), "`in` holds no pictures", "looked for .png, .jpg"),
        (("in",), FolderOptions(patterns=("*.tif", "x*")), "`in` holds no `*.tif` or `x*`", "looked for"),
        (("in", "out"), FolderOptions(), "`in`, `out` hold no pictures", "looked for"),
    ],
)
def test_folders_without_pictures_are_refused(
    sources: tuple[str, ...], options: FolderOptions, message: str, hint: str
) -> None:
    touch("in/sub/a.png")
    with pytest.raises(ImageError) as caught:
        pairs(*sources, options=options)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)
    assert caught.value.hint.endswith("; `--recursive` looks into the folders below, too")


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("in/a.png/x", ImageError, "nothing can be written to `in/a.png/x`: "),
        ("in/a.png", UsageError, "`in/a.png` is not a folder; the output of several pictures has"),
    ],
)
def test_output_folder_that_is_a_file_is_refused(target: str, kind: type[Exception], message: str) -> None:
    touch("in/a.png")
    with pytest.raises(kind) as caught:
        pairs("in", to=target)
    assert str(caught.value).startswith(message)


def test_missing_output_folder_is_noted_and_not_yet_made() -> None:
    touch("in/a.png")
    plan = plan_folder([Path("in")], Path("no/where"), FolderOptions())
    assert (plan.tasks[0].target, plan.notes) == (Path("no/where/a.png"), ("new folder: no/where",))
    assert not Path("no").exists()


def test_folders_without_permission_to_read_are_reported() -> None:
    with open_folder() as folder:
        (folder / "in" / "closed").mkdir(parents=True)
        (folder / "in" / "a.png").touch()
        (folder / "out").mkdir(mode=0o777)
        (folder / "in" / "closed").chmod(0)
        options = FolderOptions(recursive=True)
        with without_privileges():
            plan = plan_folder([folder / "in"], folder / "out", options)
            with pytest.raises(ImageError, match=r"closed` cannot be read: Permission denied$") as caught:
                plan_folder([folder / "in" / "closed"], folder / "out", options)
        assert caught.value.hint
        assert [task.source.name for task in plan.tasks] == ["a.png"]
        assert [problem.message for problem in plan.problems] == [
            f"the folder `{folder}/in/closed` cannot be read: Permission denied"
        ]
        (folder / "in" / "closed").chmod(0o700)


def test_output_folder_without_permission_to_write_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.png")
    monkeypatch.setattr("os.access", lambda path, mode: not (Path(path) == Path("out") and mode == os.W_OK))
    with pytest.raises(ImageError, match=r"^nothing can be written to `out`: no permission to write in `out`$"):
        pairs("in")
    with pytest.raises(ImageError, match=r"^`out/a.png` cannot be written: no permission to write in `out`$"):
        plan_file(Path("in/a.png"), Path("out/a.png"))


def test_circular_links_and_too_long_names_stay_in_the_plan() -> None:
    Path("in").mkdir(exist_ok=True)
    Path("in/loop.png").symlink_to("loop.png")
    Path("out").mkdir(exist_ok=True)
    plan = plan_folder([Path("in"), Path("x" * 5000)], Path("out"), FolderOptions(recursive=True))
    assert {Path("in/loop.png"), Path("x" * 5000)} <= {task.source for task in plan.tasks}


HEIC = b"\0\0\0\x18ftypheic" + bytes(100)
NRRD = b"NRRD0004"


def put(**contents: bytes) -> None:
    for name, content in contents.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_unsupported_pictures_of_a_folder_are_counted_in_one_note() -> None:
    touch("in/a.png", "in/notes.txt")
    put(in__b_heic=HEIC, in__c_HEIC=HEIC, in__d_nrrd=NRRD, in__e_zip=b"PK\3\4", in__f_lsm=tiff(1, 1, 8, 1, b"\0"))
    plan = plan_folder([Path("in")], Path("out"), FolderOptions())
    assert [task.source for task in plan.tasks] == [Path("in/a.png")]
    assert plan.notes == (
        "in: left out 4 pictures that are not read: HEIC picture (2), NRRD file (1), TIFF without its extension (1); "
        "export as 16-bit TIFF or PNG, or correct the extension",
    )
    assert plan_folder([Path("in")], Path("out"), FolderOptions(patterns=["*.png"])).notes == ()


def test_folder_of_only_unsupported_pictures_is_refused() -> None:
    put(in__b_cr3=b"\0\0\0\x18ftypcrx " + bytes(100))
    with pytest.raises(ImageError) as caught:
        plan_folder([Path("in")], Path("out"), FolderOptions())
    assert caught.value.message == (
        "`in` holds no pictures; in: left out 1 picture that is not read: camera raw file (1); "
        "export as 16-bit TIFF or PNG, or correct the extension"
    )
