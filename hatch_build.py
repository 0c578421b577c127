"""Build hook: the man page, made from the command line's code, goes into the wheel."""

from __future__ import annotations

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPage(BuildHookInterface[Any]):  # type: ignore[misc]
    """Add share/man/man1/n2n.1, where `man n2n` finds it if the environment's bin folder is in PATH."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the page to a temporary folder, and name it to the builder."""
        self.folder = TemporaryDirectory()
        manual = runpy.run_path(str(Path(self.root, "docs", "site", "manual.py")))
        page = Path(self.folder.name, "n2n.1")
        page.write_text(manual["man_page"](), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/n2n.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        self.folder.cleanup()
