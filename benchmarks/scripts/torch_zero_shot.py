"""Zero-Shot Noise2Noise in PyTorch; arguments: IN.png OUT.png SECONDS.

Settings of Mansour and Heckel (2023), arXiv:2303.11253: 3000 steps of Adam on the whole picture; the learning rate is
halved every 1000 steps. Training stops after SECONDS; the number of steps is written to stderr.
"""

import sys
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import conv2d, mse_loss

STEPS = 3000
source, target, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
torch.manual_seed(0)
pixels = np.array(Image.open(source).convert("RGB"))  # (H, W, 3)
noisy = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255  # (1, 3, H, W), channels-last in memory
x = noisy[..., : pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
network = nn.Sequential(
    *(nn.Conv2d(3, 48, 3, padding=1), nn.LeakyReLU(0.2)),
    *(nn.Conv2d(48, 48, 3, padding=1), nn.LeakyReLU(0.2)),
    nn.Conv2d(48, 3, 1),
)
network.to(memory_format=torch.channels_last)
diagonals = [torch.tensor(kernel).expand(3, 1, 2, 2) for kernel in ([[0, 0.5], [0.5, 0]], [[0.5, 0], [0, 0.5]])]
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, STEPS // 3, 0.5)
first, second = (conv2d(x, kernel, stride=2, groups=3) for kernel in diagonals)  # (1, 3, H/2, W/2)
step, began = 0, time.perf_counter()
while step < STEPS and time.perf_counter() - began < seconds:
    from_first, from_second = first - network(first), second - network(second)
    whole = x - network(x)
    whole_first, whole_second = (conv2d(whole, kernel, stride=2, groups=3) for kernel in diagonals)
    guessed = mse_loss(from_first, second) + mse_loss(from_second, first)
    agreed = mse_loss(from_first, whole_first) + mse_loss(from_second, whole_second)
    optimizer.zero_grad()
    (guessed + agreed).div(2).backward()
    optimizer.step()
    schedule.step()
    step += 1
with torch.inference_mode():
    denoised = (noisy - network(noisy)).clamp(0, 1)[0].permute(1, 2, 0)  # (H, W, 3)
Image.fromarray((denoised * 255).round().to(torch.uint8).numpy()).save(target)
print(f"{step} of {STEPS} steps", file=sys.stderr)
