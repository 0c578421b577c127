"""Fixtures that more than one test file uses."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220530)


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the oracle: a test that asks for it is skipped where it is absent, and fails where it is required."""
    if importlib.util.find_spec("torch") is None and not os.environ.get("N2N_REQUIRE_TORCH"):
        pytest.skip("PyTorch is not installed: pip install torch")
    return importlib.import_module("torch")
