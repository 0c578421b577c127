"""Fixtures used by several test files."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.signals import signals_as_usual, time_limit

SECONDS = 300.0
"""Maximum time of a test with its fixtures, in seconds."""


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """End a test that takes longer than `SECONDS`."""
    with time_limit(SECONDS):
        yield


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Use the default handling of SIGINT, SIGTERM and SIGHUP.

    This also holds under nohup and in background jobs, where some of them are ignored.
    """
    with signals_as_usual():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220530)


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the oracle of some tests.

    Without PyTorch they are skipped, or fail if N2N_REQUIRE_TORCH is set.
    """
    if importlib.util.find_spec("torch") is None and not os.environ.get("N2N_REQUIRE_TORCH"):
        pytest.skip("PyTorch is not installed: pip install torch")
    return importlib.import_module("torch")


@pytest.fixture(scope="session")
def onnxruntime() -> Any:
    """ONNX Runtime, which runs exported files.

    Without it, the tests that use it are skipped, or fail if N2N_REQUIRE_ONNX is set.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("N2N_REQUIRE_ONNX"):
        pytest.skip(f"not installed: pip install {' '.join(missing)}")
    importlib.import_module("onnx")
    return importlib.import_module("onnxruntime")
