"""Untrusted files are refused quickly in one line, and no code of them runs."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import n2n_cli
from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import DataConfig, load_config
from n2n_cli.data.sources import open_dataset, read_pair_file
from n2n_cli.denoising.manifest import Manifest
from n2n_cli.denoising.plan import FolderOptions, plan_folder
from n2n_cli.errors import N2NError, printable
from n2n_cli.images import read_picture
from tests.cli import n2n, start

# No code of a file runs


def unsafe(source: str) -> list[str]:
    """Find imports and calls in a program that can run code from a file."""
    modules = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
    modules |= {"yaml", "ruamel", "runpy", "code", "codeop"}
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [name.name for name in names if name.name.split(".")[0] in modules]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in modules:
                found.append(module)
            case ast.Call(func=ast.Name(("eval" | "exec" | "compile" | "__import__") as name)):
                found.append(name)
            case ast.Call(func=ast.Attribute(ast.Name("builtins"), name)):
                found.append(name)
            case ast.Call(func=ast.Attribute(attr=("exec_module" | "load_module" | "run_path") as name)):
                found.append(name)
            case ast.Call(func=ast.Attribute(ast.Name("np" | "numpy"), "load"), keywords=keywords) if not any(
                keyword.arg == "allow_pickle" for keyword in keywords
            ):
                found.append("np.load")
            case ast.keyword(arg="allow_pickle", value=value) if getattr(value, "value", None) is not False:
                found.append("allow_pickle")
            case ast.keyword(arg="shell", value=value) if getattr(value, "value", None) is not False:
                found.append("shell")
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("import os, pickle as p", ["pickle"]),
        ("from pickle import loads", ["pickle"]),
        ("import yaml", ["yaml"]),
        ("import marshal, shelve", ["marshal", "shelve"]),
        ("x = eval('1')", ["eval"]),
        ("def f():\n    exec('1')", ["exec"]),
        ("builtins.eval('1')", ["eval"]),
        ("SourceFileLoader('a', 'a.py').exec_module(module)", ["exec_module"]),
        ("spec.loader.load_module()", ["load_module"]),
        ("np.load(f)", ["np.load"]),
        ("numpy.load(f, mmap_mode='r')", ["np.load"]),
        ("np.load(f, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=flag)", ["allow_pickle"]),
        ("subprocess.run(words, shell=True)", ["shell"]),
        ("np.load(f, allow_pickle=False)\nnetwork.eval()\nre.compile('a')  # pickle", []),
    ],
)
def test_unsafe_calls_are_found(source: str, found: list[str]) -> None:
    assert unsafe(source) == found


def test_package_has_no_unsafe_calls_except_for_plugins() -> None:
    root = Path(n2n_cli.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert {root / "checkpoints" / "file.py", root / "checkpoints" / "pth" / "program.py"} <= set(files)
    found = {str(file.relative_to(root)): unsafe(file.read_text()) for file in files if unsafe(file.read_text())}
    # A plugin is code that the user names; tests/cli/test_plugins.py checks that no checkpoint names one.
    assert found == {"system/plugins.py": ["exec_module"]}


# Names


def data(name: str) -> object:
    return open_dataset(DataConfig(source=name), 3, seed=0, threads=1)


READERS: dict[str, Callable[[str], object]] = {
    "configuration": load_config,
    "checkpoint": read_checkpoint,
    "picture": read_picture,
    "data": data,
    "pairs": lambda name: read_pair_file(Path(name)),
    "manifest": lambda name: Manifest(Path(name)),
}


def refusal(reader: str, name: str) -> str:
    """Message of the error that a reader raises."""
    with pytest.raises(N2NError) as caught:
        READERS[reader](name)
    assert "\n" not in caught.value.message + (caught.value.hint or "")
    return caught.value.message


@pytest.mark.parametrize("reader", READERS)
def test_link_to_itself_is_refused(tmp_path: Path, reader: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert f"`{tmp_path / 'loop'}" in refusal(reader, str(tmp_path / "loop"))
    assert f"`{tmp_path / 'loop' / 'file'}" in refusal(reader, str(tmp_path / "loop" / "file"))


@pytest.mark.parametrize("reader", READERS)
def test_too_long_name_is_refused(reader: str) -> None:
    assert "x" * 300 in refusal(reader, "x" * 300)


@pytest.mark.parametrize("reader", READERS)
def test_empty_folder_is_refused(tmp_path: Path, reader: str) -> None:
    assert f"`{tmp_path}`" in refusal(reader, str(tmp_path))


@pytest.mark.parametrize("reader", READERS.keys() - {"manifest"})
def test_missing_file_with_a_name_that_is_not_utf8(tmp_path: Path, reader: str) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    assert printable(name) in refusal(reader, name)


@pytest.mark.parametrize("reader", READERS)
def test_file_without_permission_is_refused(tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.config.reading.shipped_configs", dict)  # other users may not read those of this one
    path = tmp_path / "file"
    path.write_bytes(b"text")
    path.chmod(0)
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        assert f"`{path}`" in refusal(reader, str(path))
    finally:
        if superuser:
            os.seteuid(0)


@pytest.mark.parametrize("reader", ["configuration", "checkpoint", "data", "pairs"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_endless_file_is_refused_soon(reader: str) -> None:
    began = time.monotonic()
    assert "`/dev/zero`" in refusal(reader, "/dev/zero")
    assert time.monotonic() - began < 5


def test_commands_accept_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b.png")
    Image.new("L", (4, 4)).save(name)
    for words in (["denoise", name, name + "x"], ["info", name], ["train", "--config", name], ["eval", "--data", name]):
        process = start(*words)
        out, err = process.communicate()
        assert process.returncode in (0, 1, 2), (words, err)
        assert ("error: " in err) == (process.returncode > 0)
        assert "Traceback" not in err
        assert "\x1b" not in out + err


# Contents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 100_000, "is not TOML: maximum recursion depth exceeded"),
        (b"a = " + b"{a = " * 100_000, "is not TOML: maximum recursion depth exceeded"),
        (b"\xff\xfe", "is not TOML: 'utf-8' codec can't decode"),
        (b"\xef\xbb\xbf\xff", "is not TOML"),
        (b"\x00", "is not TOML"),
        (b"[train]\nepochs = 1" + b"0" * 5000, "is not TOML: Exceeds the limit"),
        (b"[train]\nlr = 0x" + b"f" * 10_000, "a number of too many digits"),
        (b"# " + b"a" * 1_000_000, "is too long"),
        (b"[data]\nsource = 'a\\u0000b'\n[train]\nlr = nan", "it must be"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_malformed_or_oversized_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    assert message in refusal("configuration", str(path))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"1" * 10_000, b"[]\n", b'{"input": 1', b"\x00" * 100, b'{"output": 1}\n', b"null\n"]
)
def test_file_that_is_not_a_manifest_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    if content.startswith(b'{"input'):  # an unfinished line, as a crash leaves it
        Manifest(path).close()
        assert path.read_bytes() == b""
    else:
        assert "is not a manifest" in refusal("manifest", str(path))
        assert path.read_bytes() == content


@pytest.mark.parametrize("ending", [".pkl", ".pth", ".pt"])
def test_pair_file_runs_no_code(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train_data{ending}"
    path.write_bytes(b"cposix\nsystem\n(S'touch made'\ntR.")
    assert "is not a checkpoint" in refusal("data", str(path))
    write_checkpoint(path, {"model": np.zeros(1)})
    assert "does not hold two uint8 arrays" in refusal("data", str(path))


def test_pickle_inside_a_numpy_file_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "a.npz"
    np.savez(made, a=np.array([object()], dtype=object))
    for reader in READERS:
        assert f"`{made}`" in refusal(reader, str(made))


# Folders


def test_folder_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "in" / "below" / "a.png")
    (tmp_path / "in" / "below" / "again").symlink_to("..")
    plan = plan_folder([tmp_path / "in"], tmp_path / "out", FolderOptions(recursive=True))
    assert [task.source for task in plan.tasks] == [tmp_path / "in" / "below" / "a.png"]


def test_images_with_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\n.png")
    Image.new("L", (64, 64), 99).save(tmp_path / name)
    Image.new("L", (64, 64), 99).save(tmp_path / "b.png")
    (tmp_path / "out").mkdir()
    assert n2n("denoise", "--dry-run", tmp_path, tmp_path / "out", "--json").code == 0
    dataset = open_dataset(DataConfig(source=str(tmp_path), size=8, pairs=4, validation_pairs=1), 1, seed=0, threads=1)
    assert len(dataset.train) == 4
