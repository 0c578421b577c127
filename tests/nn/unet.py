"""A U-Net of two levels that holds every kind of layer, written as in a TOML file."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn import Sequential
from n2n_cli.nn.spec import build

TOML = """
layers = [
  { type = "PixelUnshuffle", downscale_factor = 2 },
  { type = "Conv2d", in_channels = 12, out_channels = 6, kernel_size = 3, padding = 1 },
  { type = "LeakyReLU", negative_slope = 0.1 },
  { type = "SkipConcat", layers = [
    { type = "MaxPool2d", kernel_size = 2 },
    { type = "Conv2d", in_channels = 6, out_channels = 7, kernel_size = 3, padding = 1 },
    { type = "ReLU" },
    { type = "SkipConcat", layers = [
      { type = "Conv2d", in_channels = 7, out_channels = 8, kernel_size = 3, stride = 2, padding = 1 },
      { type = "Residual", layers = [
        { type = "Conv2d", in_channels = 8, out_channels = 8, kernel_size = 3, padding = 1 },
        { type = "ReLU" },
        { type = "Conv2d", in_channels = 8, out_channels = 8, kernel_size = 3, padding = 1 },
      ] },
      { type = "LeakyReLU" },
      { type = "TransposeConv2d", in_channels = 8, out_channels = 5, kernel_size = 2, stride = 2 },
    ] },
    { type = "NearestUpsampling" },
    { type = "Conv2d", in_channels = 12, out_channels = 6, kernel_size = 3, padding = 1 },
    { type = "ReLU" },
  ] },
  { type = "Conv2d", in_channels = 12, out_channels = 12, kernel_size = 3, padding = 1 },
  { type = "PixelShuffle", upscale_factor = 2 },
  { type = "Sigmoid" },
]
"""
UNET: list[dict[str, Any]] = tomllib.loads(TOML)["layers"]
PERIOD = 8  # pixels; one output depends on up to 60 input pixels
NAMES = ["1", "3.1", "3.3.0", "3.3.1.0", "3.3.1.2", "3.3.3", "3.5", "4"]  # modules with weights


def unet(rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Sequential:
    return build(UNET, rng=rng, dtype=dtype)
