"""Fixtures of the tests of denoising."""

from __future__ import annotations

from pathlib import Path

import pytest

from n2n_cli.models.choice import bundled_models
from n2n_cli.models.model import Model


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="package")
def white() -> Model:
    """The bundled model `white`, on one thread."""
    return Model.from_checkpoint(bundled_models()["white"], threads=1)
