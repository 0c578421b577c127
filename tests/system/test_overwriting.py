"""Protection of input files from being overwritten."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.errors import UsageError
from n2n_cli.system.overwriting import check_inputs_kept, identity


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("a")
    Path("b").write_text("b")
    return tmp_path


def test_all_names_of_a_file_have_the_same_identity(here: Path) -> None:
    Path("soft").symlink_to("a")
    Path("hard").hardlink_to("a")
    with Path("a").open("rb") as stream:
        assert {identity(file) for file in (Path("a"), here / "a", Path("soft"), Path("hard"), stream)} == {
            identity(Path("a"))
        }
    assert identity(Path("a")) != identity(Path("b"))


def test_files_without_inode_numbers_have_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat
    Path("soft").symlink_to("a")

    def numberless(path: Path, **extra: Any) -> os.stat_result:
        values = [*stat(path, **extra)]
        return os.stat_result([values[0], 0, *values[2:]])

    monkeypatch.setattr(Path, "stat", numberless)
    assert identity(Path("a")) == identity(Path("soft")) != identity(Path("b"))


def test_only_files_have_an_identity() -> None:
    os.mkfifo("pipe")
    Path("broken").symlink_to("missing")
    nothing = (Path("missing"), Path("broken"), Path(), Path("pipe"), Path("/dev/null"), Path("x\0"), io.BytesIO())
    assert {identity(file) for file in nothing} == {None}


def test_output_over_an_input_is_refused_with_both_names() -> None:
    Path("soft").symlink_to("a")
    check_inputs_kept([Path("new"), Path("b")], [Path("a"), Path("missing")])
    with pytest.raises(UsageError, match=r"^the command would overwrite its own input `a`$"):
        check_inputs_kept([Path("b"), Path("a")], [Path("a")])
    with pytest.raises(UsageError, match=r"^the command would overwrite its own input `a`, which is `soft`$") as caught:
        check_inputs_kept([Path("soft")], [Path("a")], hint="no")
    assert caught.value.hint == "no"
