"""Trials of file readers: damaged and hostile checkpoints, and fuzzing."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import string
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from n2n_cli.checkpoints.contents import config_in
from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.checkpoints.pth.archive import CHECKSUM
from n2n_cli.config import Config, load_config, shipped_configs
from n2n_cli.errors import CheckpointError
from n2n_cli.images import Picture, read_pages, write_pages, write_picture
from n2n_cli.models.model import Model
from tests.images.bombs import by_lzw, jpeg_with_exif, overlapping_exif, tile, zeros
from tests.images.fits.files import IMAGES, saved, table
from tests.pickles import HOOKS, check_same, keep, recall
from tests.torture import Note, Trial
from tests.torture.fuzzing import fuzz
from tests.torture.hostile import forms

_MEMORY = 50_000_000
_SECONDS = 3.0
_UNCHANGED = "the same was read"
_CONFIG = """
[network]
channels = 1
layers = [{ type = "Conv2d", in_channels = 1, out_channels = 16, kernel_size = 3, padding = 1 }, { type = "ReLU" },
          { type = "Conv2d", in_channels = 16, out_channels = 16, kernel_size = 3, padding = 1 }, { type = "ReLU" },
          { type = "Conv2d", in_channels = 16, out_channels = 1, kernel_size = 3, padding = 1 }, { type = "Sigmoid" }]
"""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as name:
        yield Path(name)


def _checkpoint(folder: Path) -> tuple[bytes, Any]:
    """Write a checkpoint as a training does; return the file's bytes and its content."""
    path = folder / "whole.pth"
    (folder / "config.toml").write_text(_CONFIG)
    model = Model.from_config(load_config(str(folder / "config.toml")), threads=1)
    model.save(path, epoch=3, psnr=25.5, history=[{"epoch": number, "loss": 0.5} for number in range(1, 4)])
    return path.read_bytes(), read_checkpoint(path)


def _read_or_refused(path: Path, content: bytes, wanted: Any) -> str | None:
    """Read a damaged checkpoint; return the outcome, or None when it was refused."""
    path.write_bytes(content)
    try:
        found = read_checkpoint(path)
    except CheckpointError:
        return None
    except BaseException as error:
        return repr(error)
    try:
        check_same(found, wanted)
    except AssertionError:
        return "another model was read"
    return _UNCHANGED


def truncated(count: int) -> Iterator[str]:
    """Truncate a checkpoint at every 64th byte, at most `count` times."""
    with _folder() as folder:
        content, _ = _checkpoint(folder)
        for length in range(0, min(len(content), 64 * count), 64):
            path = folder / "cut.pth"
            path.write_bytes(content[:length])
            try:
                read_checkpoint(path)
            except CheckpointError:
                continue
            except BaseException as error:
                yield f"cut after {length} bytes: {error!r}"
            else:
                yield f"cut after {length} bytes and read"
        yield Note(f"{len(range(0, min(len(content), 64 * count), 64))} places of {len(content):,} bytes")


def bit_flips(count: int) -> Iterator[str]:
    """Flip a random bit of a checkpoint."""
    rng = random.Random(0)
    with _folder() as folder:
        content, wanted = _checkpoint(folder)
        unchanged = 0
        for _ in range(count):
            bit = rng.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            outcome = _read_or_refused(folder / "flipped.pth", bytes(flipped), wanted)
            unchanged += outcome == _UNCHANGED
            if outcome not in (None, _UNCHANGED):
                yield f"bit {bit} flipped: {outcome}"
        yield Note(f"{unchanged} changed nothing, as in a date or in padding; the others were refused")


def hostile(count: int) -> Iterator[str]:
    """Read files that try to run code or to exhaust memory, each in its own process."""
    with _folder() as folder:
        made = folder / "made"
        chosen = list(forms(made).items())[:count]
        yield Note(f"{len(chosen)} forms")
        for name, content in chosen:
            path = folder / "hostile.pth"
            path.write_bytes(content)
            command = [sys.executable, "-m", "tests.torture.reading", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if made.exists():
                yield f"{name}: was run"
                made.rmdir() if made.is_dir() else made.unlink()
            if done.returncode or done.stderr:
                yield f"{name}: exit code {done.returncode}, {done.stderr[-300:]!r}"
                continue
            found = json.loads(done.stdout)
            if found["refused"] is None:
                yield f"{name}: was read"
            if found["memory"] > 2 * len(content) + _MEMORY:
                yield f"{name}: {found['memory']:,} bytes of memory for a file of {len(content):,}"
            if found["seconds"] > _SECONDS:
                yield f"{name}: {found['seconds']:.1f} s"


# Fuzzing


def fuzz_pth(count: int) -> Iterator[str]:
    """Fuzz checkpoints, and load the weights into a network."""
    words = [HOOKS, keep(0), recall(0), b"((", b"t", b"u", b"e", b"R", b"Q", b"}", b"]", b"PK\x01\x02", b"PK\x05\x06"]
    words += [b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n", b"\x8a\x01\x00"]
    with _folder() as folder:
        ours, _ = _checkpoint(folder)
        write_checkpoint(folder / "small.pth", {"a": np.ones((2, 3)), "b": [1, 2.5, None, "text", (True, -1)], 3: {}})
        path = folder / "fuzzed.pth"
        network = Model.from_config(load_config(str(folder / "config.toml")), threads=1).network

        def read(content: bytes) -> None:
            path.write_bytes(content)
            tree = read_checkpoint(path)
            network.load_state_dict(unwrap_state_dict(tree, network.state_dict(), path=path))
            config_in(tree, path)

        yield from fuzz(read, [ours, (folder / "small.pth").read_bytes()], count, words=words, mend=_mend_zip)


def _mend_zip(content: bytes) -> bytes:
    """Write the entries found in a zip file to a new one, with correct CRCs.

    Our own checksum is left out.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for start in (found.start() for found in re.finditer(b"PK\x03\x04", content)):
            header = content[start + 18 : start + 30]
            if len(header) < 12:
                continue
            size, name, extra = struct.unpack("<L4xHH", header)
            first = start + 30 + name + extra
            info = zipfile.ZipInfo(content[start + 30 : start + 30 + name].decode("latin-1").replace("\0", "0"))
            if info.filename and not info.filename.endswith(CHECKSUM) and info.filename not in written.NameToInfo:
                written.writestr(info, content[first : first + min(size, 2**20)])
    return file.getvalue()


def fuzz_toml(count: int) -> Iterator[str]:
    """Fuzz configurations."""
    corpus = [path.read_bytes() for path in shipped_configs().values()] + [_CONFIG.encode()]
    words = [f'"{word}"'.encode() for word in ("Conv2d", "ReLU", "Skip", "dead-leaves", "Adam", "gaussian:25")]
    words += [b"inf", b"nan", b"-1", b"1e999", b"9" * 20, b"true", b"{}", b"[]", b"[[", b"\n", b"=", b"'''", b"\\u"]
    with _folder() as folder:
        path = folder / "fuzzed.toml"

        def read(content: bytes) -> Config:
            path.write_bytes(content)
            return load_config(str(path))

        yield from fuzz(read, corpus, count, words=words, alphabet=string.printable.encode())


def _read_picture(content: bytes) -> None:
    for page in read_pages(io.BytesIO(content), name="fuzzed", max_pixels=1_000_000):
        assert page.pixels.ndim == 3


def fuzz_png16(count: int) -> Iterator[str]:
    """Fuzz PNG pictures of 16 bits, for which we have our own reader."""
    corpus = []
    for shape in ((7, 5, 1), (6, 9, 3), (1, 1, 1), (17, 33, 3)):
        file = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
        alpha = pixels[..., 0] if shape[0] % 2 else None
        write_picture(file, Picture(pixels, alpha), format="PNG", name="corpus")
        corpus.append(_mend_png(file.getvalue()))  # uncompressed, so that changes reach the filters
    words = [b"IHDR", b"IDAT", b"IEND", b"tRNS", b"acTL", b"eXIf", b"zTXt", b"iTXt", b"iCCP", b"pHYs"]
    yield from fuzz(_read_picture, corpus, count, words=words, mend=_mend_png)


def _mend_png(content: bytes) -> bytes:
    """Correct the CRCs of the chunks, and store the pixels uncompressed.

    Damaged pixels are kept as far as they can be decompressed.
    """
    chunks, at = [], 8
    while at + 12 <= len(content):
        length = min(int.from_bytes(content[at : at + 4], "big"), len(content) - at - 12)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    stored = zlib.compress(_unpacked(b"".join(body for name, body in chunks if name == b"IDAT")), 0)
    half = len(stored) // 2
    parts = [(b"IDAT", stored[:half]), (b"IDAT", stored[half:])]
    first = next((i for i, (name, _) in enumerate(chunks) if name == b"IDAT"), None)
    if first is not None:
        chunks = chunks[:first] + parts + [chunk for chunk in chunks[first:] if chunk[0] != b"IDAT"]
    sums = ((name, body, zlib.crc32(name + body)) for name, body in chunks)
    return content[:8] + b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", c) for n, b, c in sums)


def _unpacked(packed: bytes) -> bytes:
    stream, found = zlib.decompressobj(), b""
    with suppress(zlib.error):
        for at in range(0, len(packed), 16):
            found += stream.decompress(packed[at : at + 16], 2**16)
    return found


def fuzz_images(count: int) -> Iterator[str]:
    """Fuzz pictures of all formats."""
    corpus = []
    rng = np.random.default_rng(0)
    for name in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        for mode, channels in (("RGB", 3), ("L", 1)):
            file = io.BytesIO()
            pixels = rng.integers(0, 256, (24, 17, channels), np.uint8)
            Image.fromarray(pixels.squeeze(), mode).save(file, format=name)
            corpus.append(file.getvalue())
    for pixels in (rng.integers(0, 65536, (9, 7, 1), np.uint16), rng.normal(size=(9, 7, 3)).astype(np.float32)):
        file = io.BytesIO()
        write_picture(file, Picture(pixels), format="TIFF", name="corpus")
        corpus.append(file.getvalue())
    for compression in ("tiff_lzw", "zstd", "packbits", "jpeg", "tiff_adobe_deflate"):
        for mode in ("RGB", "P"):
            file = io.BytesIO()
            image = Image.fromarray(rng.integers(0, 256, (24, 17, 3), np.uint8)).convert(mode)
            pages = {"save_all": True, "append_images": [image]} if mode == "P" else {}
            if mode == "RGB" or compression != "jpeg":
                image.save(file, "TIFF", compression=compression, **pages)
                corpus.append(file.getvalue())
    corpus += [tile(16, 8, zeros(256)), tile(32, 5, by_lzw(32)), jpeg_with_exif(overlapping_exif(9, 60))]
    words = [b"II*\0", b"MM\0*", b"RIFF", b"WEBP", b"VP8L", b"VP8X", b"\xff\xd8", b"\xff\xc4", b"\xff\xda", b"BM"]
    yield from fuzz(_read_picture, corpus, count, words=words, mend=_mend_png_alone)


def instrument_files() -> list[bytes]:
    """FITS files with images of all kinds, MRC files, and packed ones."""
    corpus = [saved(make(), table()) for make in IMAGES.values()]
    for dtype in (np.int16, np.float32):
        file = io.BytesIO()
        write_pages(file, [Picture(np.ones((9, 7, 1), dtype))] * 2, format="MRC", name="corpus")
        corpus.append(file.getvalue())
    return [*corpus, gzip.compress(corpus[0]), gzip.compress(corpus[-1])]


def fuzz_instruments(count: int) -> Iterator[str]:
    """Fuzz FITS and MRC files."""
    words = [b"SIMPLE  =", b"XTENSION=", b"END".ljust(80), b"NAXIS1  = ", b"99999999", b"MAP ", b"\x1f\x8b\x08"]
    yield from fuzz(_read_picture, instrument_files(), count, words=words)


def _mend_png_alone(content: bytes) -> bytes:
    return _mend_png(content) if content.startswith(b"\x89PNG") else content


TRIALS: dict[str, Trial] = {
    "truncated": truncated,
    "bit-flips": bit_flips,
    "hostile": hostile,
    "fuzz-pth": fuzz_pth,
    "fuzz-toml": fuzz_toml,
    "fuzz-png16": fuzz_png16,
    "fuzz-images": fuzz_images,
    "fuzz-instruments": fuzz_instruments,
}
COUNTS = {
    "truncated": (100_000, 100_000),
    "bit-flips": (10_000, 300),
    "hostile": (1_000, 10),
    "fuzz-pth": (200_000, 300),
    "fuzz-toml": (200_000, 300),
    "fuzz-png16": (300_000, 1000),
    "fuzz-images": (300_000, 1000),
    "fuzz-instruments": (30_000, 100),
}
