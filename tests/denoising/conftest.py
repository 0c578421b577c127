"""Fixtures of the tests of denoising."""

from __future__ import annotations

import pytest

from n2n_cli.models.choice import bundled_models
from n2n_cli.models.model import Model


@pytest.fixture(scope="package")
def photo() -> Model:
    """The bundled model `photo`, on one thread."""
    return Model.from_checkpoint(bundled_models()["photo"], threads=1)
