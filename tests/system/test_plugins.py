"""Plugins: loaded once, in workers too, with errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from n2n_cli.system.plugins import PluginError, load_plugin, loaded_plugins
from n2n_cli.system.worker_process import Connection, WorkerProcess


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(folder: Path, text: str | bytes, name: str = "my.py") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path) -> tuple[str, str | None]:
    """Message without the path, and hint."""
    with pytest.raises(PluginError) as caught:
        load_plugin(path)
    assert caught.value.exit_code == 2
    assert loaded_plugins() == []
    message = caught.value.message
    assert f"`{path}`" in message
    return message.replace(f"`{path}`", "it"), caught.value.hint


COUNTED = """
import os
import pathlib
with open(pathlib.Path(__file__).with_name("log"), "a") as file:
    print(os.getpid(), file=file)
print("loaded")
"""


def test_plugin_runs_once_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, COUNTED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.py").symlink_to("my.py")
    for name in (path, Path("my.py"), Path("link.py")):
        load_plugin(name)
    assert (tmp_path / "log").read_text() == f"{os.getpid()}\n"
    assert loaded_plugins() == [str(path.resolve())]


def test_plugins_of_the_same_name_in_two_folders(tmp_path: Path) -> None:
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
        load_plugin(written(tmp_path, f"where = {folder!r}", f"{folder}/my.py"))
    assert loaded_plugins() == [str((tmp_path / folder / "my.py").resolve()) for folder in ("b", "a")]


def test_plugin_may_define_dataclasses(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass A:\n    b: int = 1\n"
    load_plugin(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nx = = 2\n", "the plugin it is not Python: invalid syntax (my.py, line 2)"),
        (b"\x89PNG\r\n\x1a\n", "the plugin it is not Python: "),
        (b"\0", "the plugin it is not Python: "),
        ("\nx = 1 / 0\n", "the plugin it, line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "the plugin it, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", "the plugin it, line 1: SystemExit: 3"),
        ("open('absent')\n", "the plugin it, line 1: FileNotFoundError: [Errno 2] No such file or directory: 'absent'"),
        ("raise ValueError('a\\nb')\n", "the plugin it, line 1: ValueError: a\\nb"),
    ],
)
def test_failing_plugin_is_reported(tmp_path: Path, text: str | bytes, message: str) -> None:
    found, hint = refusal(written(tmp_path, text))
    assert found.startswith(message)
    assert "\n" not in found
    assert hint == "`n2n --debug ...` shows the traceback"


def test_error_of_the_package_keeps_its_hint(tmp_path: Path) -> None:
    path = written(tmp_path, "from n2n_cli.errors import N2NError\n\nraise N2NError('no', hint='yes')\n")
    assert refusal(path) == ("the plugin it, line 3: no", "yes")


def test_files_that_are_no_plugin_are_refused(tmp_path: Path) -> None:
    takes = "`--plugin FILE.py` takes the path of a Python file"
    assert refusal(tmp_path / "absent.py") == ("there is no plugin it", takes)
    (tmp_path / "folder.py").mkdir()
    assert refusal(tmp_path / "folder.py") == ("the plugin it is a folder, not a Python file", "name the file in it")
    for name in ("config.toml", "best.pth", "none"):
        path = written(tmp_path, "x = 1\n", name)
        assert refusal(path) == ("the plugin it is not a Python file", "its name must end with `.py`")
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert refusal(tmp_path / "loop.py")[0] == "there is no plugin it"
    assert refusal(Path("x" * 300 + ".py"))[0] == "the plugin it cannot be read: File name too long"


def test_plugin_can_be_loaded_after_it_has_failed(tmp_path: Path) -> None:
    path = written(tmp_path, "raise KeyError\n")
    refusal(path)
    load_plugin(written(tmp_path, "x = 1  # corrected\n"))
    assert len(loaded_plugins()) == 1


def test_keyboard_interrupt_is_not_caught(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_plugin(written(tmp_path, "raise KeyboardInterrupt\n"))
    assert loaded_plugins() == []


def report(parent: Connection) -> None:
    print("printed by the work")
    parent.send("\n".join(loaded_plugins()).encode())


def test_worker_loads_the_plugins_of_its_parent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, COUNTED)
    load_plugin(path)
    capfd.readouterr()
    worker = WorkerProcess(report)
    assert worker.receive() == str(path.resolve()).encode()
    assert worker.end(patience=60) == 0
    assert (tmp_path / "log").read_text() == f"{os.getpid()}\n{worker.pid}\n"
    assert capfd.readouterr() == ("", "loaded\nprinted by the work\n")
