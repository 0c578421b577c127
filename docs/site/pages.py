"""MkDocs hooks: pages from outside docs/ and from the code, and links between all of them."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import manual

from n2n_cli import errors, nn

ROOT = Path(__file__).parents[2]
FROM = {
    "index.md": "README.md",
    "BENCHMARKS.md": "benchmarks/README.md",
    "DATA.md": "data/README.md",
    "MODEL_CARD.md": "n2n_cli/models/MODEL_CARD.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
"""Files of the repository, relative to its root, by the name of their page."""

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)\s]+)()\)")

REFERENCE = (
    ("Package", ["denoise", "Model"]),
    ("Layers, losses and optimisers", [f"nn.{name}" for name in nn.__all__]),
    ("Functions behind the layers", ["nn.functional.unfold", "nn.functional.fold"]),
    ("Engine", [f"engine.{name}" for name in ("compile", "Executor")]),
    ("Noise models", ["noise.NoiseModel", "noise.register_noise", "noise.within"]),
    ("Export", ["models.onnx_file.write_onnx"]),
    ("Errors", [f"errors.{name}" for name in vars(errors) if name.endswith("Error")]),
)
"""Public names of the Python reference, below `n2n_cli`, by heading."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for page, source in FROM.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "COMMANDS.md", content=manual.markdown()))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Lead links to where the files are on the site, and add the reference to the page of the Python API."""
    name = page.file.src_uri
    folder = posixpath.dirname(FROM.get(name, f"docs/{name}"))
    pages = {source: page for page, source in FROM.items()}

    def lead(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        target = pages.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(target) is None:
            return found[1]  # a file of the repository that the site does not have
        mark = "!" if found[0].startswith("!") else ""
        return f"{mark}[{found[1]}]({target}{found[3] or ''})"

    text = IMAGE.sub(lead, LINK.sub(lead, markdown))
    return text + _reference() if name == "API.md" else text


def _reference() -> str:
    lines = ["", "## Reference", "", "All public names."]
    for title, names in REFERENCE:
        lines += ["", f"### {title}", *(f"\n::: n2n_cli.{name}" for name in names)]
    return "\n".join(lines) + "\n"
