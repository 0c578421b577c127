"""Fixtures that more than one test file uses."""

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
"""Maximum time of a test, its fixtures and every wait in it."""


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """End a test that takes far too long, whatever it waits for."""
    with time_limit(SECONDS):
        yield


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Take SIGINT, SIGTERM and SIGHUP as by default, also below nohup and in a background job."""
    with signals_as_usual():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220530)


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the oracle: a test that asks for it is skipped where it is absent, and fails where it is required."""
    if importlib.util.find_spec("torch") is None and not os.environ.get("N2N_REQUIRE_TORCH"):
        pytest.skip("PyTorch is not installed: pip install torch")
    return importlib.import_module("torch")


@pytest.fixture(scope="session")
def onnxruntime() -> Any:
    """ONNX Runtime, with which a test runs exported files; required and skipped as PyTorch."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("N2N_REQUIRE_ONNX"):
        pytest.skip(f"not installed: pip install {' '.join(missing)}")
    importlib.import_module("onnx")
    return importlib.import_module("onnxruntime")
