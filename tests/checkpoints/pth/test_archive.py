from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.checkpoints.pth import limits
from tests.checkpoints.pth.files import (
    DATA,
    USUAL,
    central,
    entries,
    floats,
    patched,
    read_bytes,
    refusal,
    refusal_of,
)
from tests.pickles import archive, call, check_same, text, torch_file


def test_usual_file_is_read(tmp_path: Path) -> None:
    check_same(read_bytes(archive(*entries()), tmp_path), floats(1, 2))
    check_same(read_bytes(patched("archive/data/0", 10, "<H", 0), tmp_path), floats(1, 2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("archive/../data/1", "name 'archive/../data/1'"),
        ("archive/data/../../x", "name 'archive/data/../../x'"),
        ("archive/./x", "name 'archive/./x'"),
        ("../x", "name '../x'"),
        ("/archive/x", "name '/archive/x'"),
        ("archive//x", "name 'archive//x'"),
        ("archive/data/", "name 'archive/data/'"),
        ("archive", "name 'archive'"),
        ("archive/a\\x", "name 'archive/a\\\\x'"),
        ("archive/a\nb", "name 'archive/a\\nb'"),
        ("archive/\x1b[2J", "name 'archive/\\x1b[2J'"),
        ("other/x", "2 top folders"),
        ("archive/data/0", "two entries `data/0`"),
        ("archive/data.pkl", "two entries `data.pkl`"),
        ("archive/constants.pkl", "TorchScript"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entry_that_torch_does_not_write_is_refused(tmp_path: Path, name: str, message: str) -> None:
    assert message in refusal_of(archive(*entries(), (name, b"more")), tmp_path)


@pytest.mark.parametrize("name", ["data.pkl", "version", "data/0"])
def test_missing_entry_is_refused(tmp_path: Path, name: str) -> None:
    less = [entry for entry in entries() if entry[0] != f"archive/{name}"]
    assert "no entry" in refusal_of(archive(*less), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_compressed_entry_is_refused(tmp_path: Path, name: str, method: int) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as written:
        for entry, content in entries():
            written.writestr(entry, content, method if entry == name else zipfile.ZIP_STORED)
    assert f"`{name.removeprefix('archive/')}` is compressed" in refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched("archive/data/0", 8, "<H", 1), "`data/0` is encrypted"),
        (patched("archive/data/0", 8, "<H", 0x40), "damaged"),
        (patched("archive/data/0", 10, "<H", 8), "`data/0` is compressed"),
        (patched("archive/data/0", 24, "<I", 4), "`data/0` is compressed"),
        (patched("archive/data/0", 16, "<I", 0), "CRC"),
        (patched("archive/data.pkl", 16, "<I", 0), "CRC"),
        (patched("archive/version", 16, "<I", 0), "CRC"),
        (patched("archive/data/0", 42, "<I", 0), "is not where it must be"),
        (patched("archive/data/0", 42, "<I", 60), "is not where it must be"),
        (patched("archive/data.pkl", 42, "<I", 10), "is not where it must be"),
        (patched("archive/version", 46 + len("archive/"), "<B", ord("b")), "damaged"),
        (b"PK\x03\x04 in front" + archive(*entries()), "is not where it must be"),
        (archive(*entries()) + b"behind", "truncated, or has other data after its end"),
        (archive(*entries(version=b"0")), "version b'0', known are 1 to 10"),
        (archive(*entries(version=b"11\n")), "version b'11'"),
        (archive(*entries(version=b"three")), "version b'three'"),
        (archive(*entries(version=b"3" * 17)), "`version` has more than 16 bytes"),
        (archive(*entries(byteorder=b"middle")), "byte order is b'middle'"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_inconsistent_archive_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal_of(content, tmp_path)


def test_entry_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(archive(*entries()))
    struct.pack_into("<II", content, central(bytes(content), "archive/data/0") + 20, 2**30, 2**30)
    assert "overlap" in refusal_of(bytes(content), tmp_path)


def test_size_of_a_program_has_a_limit(tmp_path: Path) -> None:
    assert "`data.pkl` has more than 64,000,000 bytes" in refusal_of(torch_file(bytes(64_000_000), DATA), tmp_path)


@pytest.mark.parametrize("version", [b"1", b"3\n", b"10\n"])
def test_known_versions_are_read(tmp_path: Path, version: bytes) -> None:
    check_same(read_bytes(archive(*entries(version=version)), tmp_path), floats(1, 2))


def test_program_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    message = refusal_of(torch_file(call("posix system", text(f"touch {made}"))), tmp_path)
    assert "nothing in it was run: it asks for `posix.system`" in message
    assert not made.exists()


# Directory and checksum


def zip64(content: bytes, size: int) -> bytes:
    """The usual file with zip64 records, which state the directory's size in bytes."""
    start = content.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, size, content.index(b"PK\x01\x02"))
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start, 1)
    return content[:start] + record + locator + content[start : start + 12] + bytes(4) + content[start + 16 :]


def test_size_of_the_directory_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = archive(*entries())
    directory = usual.rindex(b"PK\x05\x06") - usual.index(b"PK\x01\x02")
    for content in (usual, zip64(usual, directory)):
        monkeypatch.setattr(limits, "MAX_DIRECTORY_BYTES", directory)
        check_same(read_bytes(content, tmp_path), floats(1, 2))
        monkeypatch.setattr(limits, "MAX_DIRECTORY_BYTES", directory - 1)
        assert f"its directory has {directory} bytes" in refusal_of(content, tmp_path)


def with_checksum(checksum: bytes, **changed: bytes) -> bytes:
    return archive(*entries(**changed, sha256=checksum))


def checksum_of(*parts: tuple[str, bytes]) -> bytes:
    lengths = ((len(name).to_bytes(8, "little"), len(content).to_bytes(8, "little")) for name, content in parts)
    whole = b"".join(n + c + name.encode() + content for (n, c), (name, content) in zip(lengths, parts, strict=True))
    return hashlib.sha256(whole).hexdigest().encode() + b"\n"


def test_checksum_covers_names_and_bytes_of_all_other_entries(tmp_path: Path) -> None:
    right = checksum_of(*USUAL.items())
    check_same(read_bytes(with_checksum(right), tmp_path), floats(1, 2))
    for wrong in (right.upper(), right[:-1], b"", checksum_of(*list(USUAL.items())[1:])):
        assert "its checksum does not match its contents" in refusal_of(with_checksum(wrong), tmp_path)
    for changed in ({"data/0": floats(1, 3).tobytes()}, {"version": b"4\n"}, {"data/1": b"new"}):
        assert "its checksum does not match" in refusal_of(with_checksum(right, **changed), tmp_path)
    assert "`sha256` has more than 100 bytes" in refusal_of(with_checksum(bytes(101)), tmp_path)


def test_written_file_has_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"a": np.ones(3), "b": [np.zeros(0)]})
    with zipfile.ZipFile(path) as written:
        *others, last = [(name.removeprefix("archive/"), written.read(name)) for name in written.namelist()]
    assert last == ("sha256", checksum_of(*others))


def test_crc_of_unused_entries_is_checked(tmp_path: Path) -> None:
    content = archive(*entries(unused=b"unused bytes"))
    check_same(read_bytes(content, tmp_path), floats(1, 2))
    assert "CRC" in refusal_of(content.replace(b"unused bytes", b"unused Bytes"), tmp_path)
