"""Linux control groups, which limit a process's cores and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def control_groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Folders of this process's control groups with a controller, up to the root."""
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            version_2 = controllers == ""
            if version_2 or controller in controllers.split(","):
                base = root if version_2 else root / controller
                folder = base / path.lstrip("/")
                # The base at last, where the path is not there: a container's own group is its root.
                yield from (group for group in (folder, *folder.parents) if group.is_relative_to(base))
