"""CBM3D of the package `bm3d`; arguments: IN.png OUT.png SIGMA, in grey levels."""

import sys

import bm3d
import numpy as np
from PIL import Image

noisy = np.array(Image.open(sys.argv[1]).convert("RGB")) / 255  # (H, W, 3)
denoised = bm3d.bm3d_rgb(noisy, float(sys.argv[3]) / 255).clip(0, 1)
Image.fromarray((denoised * 255).round().astype(np.uint8)).save(sys.argv[2])
