"""Linux control groups, which limit the cores and memory of a process."""

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
                # The base is always among them: in a container, where the path does not exist, it is the own group.
                yield from (group for group in (folder, *folder.parents) if group.is_relative_to(base))
