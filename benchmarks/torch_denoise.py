"""Minimal PyTorch script of the founding network; arguments: WEIGHTS IN OUT."""

import sys

import numpy as np
import torch
from PIL import Image
from torch import nn

network = nn.Sequential(
    *(nn.Conv2d(3, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU()),
    *(nn.Upsample(scale_factor=2), nn.Conv2d(64, 48, 3, 1, 1), nn.ReLU()),
    *(nn.Upsample(scale_factor=2), nn.Conv2d(48, 32, 3, 1, 1), nn.ReLU()),
    *(nn.Conv2d(32, 3, 3, 1, 1), nn.Sigmoid()),
)
network.load_state_dict(torch.load(sys.argv[1], weights_only=True)["model"])
pixels = np.array(Image.open(sys.argv[2]).convert("RGB"))
x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255  # channels-last in memory
with torch.inference_mode():
    y = network.to(memory_format=torch.channels_last)(x)[0]
Image.fromarray((y.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()).save(sys.argv[3])
