"""Reading and writing of `.pth` files, PyTorch's zip format, without PyTorch.

No code in a file is run: see `n2n_cli.checkpoints.pth`. Sizes stated in a file are checked before memory is allocated.

References
----------
PyTorch, torch/serialization.py and caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.archive import Archive
from n2n_cli.checkpoints.pth.limits import Refused
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.checkpoints.pth.tensors import Tensors
from n2n_cli.checkpoints.pth.writing import Content
from n2n_cli.errors import CheckpointError
from n2n_cli.nn.functional import Array
from n2n_cli.system.atomic_files import replacing, writing

_END_OF_ZIP = b"PK\x05\x06"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the magic number of torch.save before 1.6
_FORMAT_VERSIONS = range(1, 11)  # as PyTorch's reader
_MOST_PREFIXES = 8  # a name may have hundreds of parts
_LONGEST_NAME = 1000
_WEIGHT_KEYS = ("model", "params_ema", "params", "state_dict", "model_state_dict")
_OTHER_COPY = "use another copy of it; a run of `n2n train` keeps `last.pth` and `best.pth`"
_STATE_DICT = 'save only the tensors, with PyTorch: `torch.save(model.state_dict(), "weights.pth")`'


def write_checkpoint(path: Path | str, tree: Any, *, follow_links: bool = True, mode: int = 0o666) -> None:
    """Write a nested `tree` that `torch.load(path, weights_only=True)` can read.

    The file is written whole, by rename. Equal trees, with keys in the same order, give equal bytes. Arrays keep their
    element type: float16 weights take half the space, and `Module.load_state_dict` accepts them.

    Parameters
    ----------
    tree : dict, list, tuple, str, int, float, bool, None or array
        Nested at most `limits.MAX_DEPTH` deep; dict keys are str or int.
    follow_links, mode
        See `replacing`.

    Raises
    ------
    TypeError
        If `tree` holds anything else.
    CheckpointError
        If the file cannot be written, or could not be read again; an existing file is unchanged.
    """
    try:
        content = Content(tree)
        with writing(path, CheckpointError), replacing(Path(path), follow_links=follow_links, mode=mode) as file:
            content.write(file)
    except Refused as error:
        raise CheckpointError(
            f"`{path}` cannot be written, it could not be read again: {error}",
            hint="store fewer plain values; values in arrays have no such limit",
        ) from None


def read_checkpoint(path: Path | str, *, weights: bool = True) -> Any:
    """Read a file in PyTorch's zip format, without running code in it.

    Parameters
    ----------
    path : path
    weights : bool
        If False, tensors are replaced by empty arrays, and a large file is read as fast as a small one.

    Returns
    -------
    dict, list, tuple, str, int, float, bool, None or array
        Nested. Arrays are C-contiguous, writable and in this machine's byte order; bfloat16 becomes float32.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another format, or contains anything but plain values and tensors.
    """
    try:
        _check_kind(path, Path(path).stat().st_mode)
        with Path(path).open("rb") as file:
            _check_ends(path, file)
            return _read(Archive(file), weights)
    except CheckpointError:
        raise
    except Refused as error:
        raise CheckpointError(f"`{path}` is refused, nothing in it was run: {error}", hint=_STATE_DICT) from None
    except FileNotFoundError:
        raise CheckpointError(
            f"there is no checkpoint `{path}`", hint="`n2n train --out runs/a` writes `runs/a/best.pth`"
        ) from None
    except IsADirectoryError:
        raise CheckpointError(
            f"`{path}` is a folder, not a checkpoint", hint=f"perhaps `{Path(path) / 'best.pth'}`"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"`{path}` cannot be read: {error.strerror or error}",
            hint="check that it is a plain file and that you may read it",
        ) from None
    except MemoryError:
        raise CheckpointError(
            f"`{path}` needs more memory than there is", hint="end other programs, or use a larger machine"
        ) from None
    except Exception as error:  # for damaged files zipfile may raise any: BadZipFile, ValueError, struct.error
        reason = str(error)[:200] if str(error).isprintable() else repr(str(error)[:200])
        raise CheckpointError(f"`{path}` is damaged: {reason or 'it ends too early'}", hint=_OTHER_COPY) from None


def unwrap_state_dict(tree: Any, names: Collection[str], *, path: Path | str) -> dict[str, Array]:
    """The weights in a checkpoint: the tree itself, or under one of the usual keys.

    Programs that wrap a network add a prefix to all names, such as `module.`, `model.` or `generator.`. It is removed
    if the remaining names are those of the network.

    Parameters
    ----------
    tree : object
        Content of the checkpoint.
    names : collection of str
        Names of the network's parameters.
    path : path
        Name of the checkpoint in messages.

    Raises
    ------
    CheckpointError
        If there are no weights, or a name is invalid.
    """
    for key in _WEIGHT_KEYS:
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
            break
    if not isinstance(tree, Mapping) or not tree or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise CheckpointError(f"`{path}` holds no state dict: a table of names and tensors", hint=_STATE_DICT)
    for name in tree:  # names appear in messages, where 1 and "1" would look the same
        if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise CheckpointError(f"`{path}` holds a tensor with the name {_shortened(name)}", hint=_STATE_DICT)
    prefix = _prefix([*tree], names)
    return {name.removeprefix(prefix): value for name, value in tree.items()}


def _prefix(found: list[str], names: Collection[str]) -> str:
    """Common prefix of the names whose removal leaves most names of the network."""
    parts = [name.split(".")[:-1] for name in found]
    shared = [f"{a}." for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(min(parts), max(parts), strict=False))]
    prefixes = ["".join(shared[:count]) for count in range(min(len(shared), _MOST_PREFIXES) + 1)]
    return max(prefixes, key=lambda prefix: len({prefix + name for name in names} & {*found}))  # ties: the shortest


def _shortened(name: Any) -> str:
    shown = ascii(name[:50] if isinstance(name, str) else name)
    return f"{shown}..." if isinstance(name, str) and len(name) > 50 else shown


def _read(archive: Archive, weights: bool) -> Any:
    for name in ("data.pkl", "version"):
        archive.entry_size(name)
    version = archive.read("version", 16).removesuffix(b"\n")
    if not version.isdigit() or int(version) not in _FORMAT_VERSIONS:
        raise Refused(f"its format has the version {version!r}, known are 1 to {_FORMAT_VERSIONS[-1]}")
    order = archive.read("byteorder", 16) if "byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        raise Refused(f"its byte order is {order!r}")
    sign: Literal["<", ">"] = "<" if order == b"little" else ">"
    program = archive.read("data.pkl", limits.MAX_PROGRAM_BYTES)
    tensors = Tensors(archive, sign)
    room = archive.size + limits.ROOM
    tree = decode(program, tensors.check, room=room)
    if not weights:
        return tree
    archive.verify(tensors.truth_values)
    return decode(program, tensors.make, room=room)


def _check_kind(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would block until there is a writer
        raise CheckpointError(
            f"`{path}` is a pipe or a device, not a checkpoint",
            hint="put it into a file first: `cat ... > weights.pth`",
        )


def _check_ends(path: Path | str, file: BinaryIO) -> None:
    head = file.read(len(_LEGACY))
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 22))
    tail = file.read(22)
    if head == _LEGACY:
        raise CheckpointError(
            f"`{path}` is in PyTorch's format of before 2020, which is not read",
            hint='convert it with PyTorch: `torch.save(torch.load("old.pth"), "new.pth")`',
        )
    if not head:
        raise CheckpointError(f"`{path}` is empty", hint=_OTHER_COPY)
    if not head.startswith(b"PK\x03\x04"):
        raise CheckpointError(
            f"`{path}` is not a checkpoint: it is not in PyTorch's zip format",
            hint="name a `.pth` file that `n2n train` or `torch.save` wrote",
        )
    if not tail.startswith(_END_OF_ZIP):
        raise CheckpointError(
            f"`{path}` is damaged: it is truncated, or has other data after its end", hint=_OTHER_COPY
        )
