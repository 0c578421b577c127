"""Exported model in ONNX Runtime, as in docs/DEPLOY.md.

Arguments: MODEL.onnx IN OUT.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

pixels = np.array(Image.open(sys.argv[2]).convert("RGB"))  # (H, W, 3)
h, w = pixels.shape[:2]
margin = [(0, 0), (0, 0), (16, 16 + -h % 8), (16, 16 + -w % 8)]
noisy = np.pad(np.moveaxis(pixels, -1, 0)[None] / np.float32(255), margin, "symmetric")  # (1, 3, H + 32 or more, ...)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(denoised,) = session.run(None, {"noisy": noisy})
pixels = np.moveaxis(denoised[0, :, 16 : 16 + h, 16 : 16 + w].clip(0, 1) * 255, 0, -1)
Image.fromarray(pixels.round().astype(np.uint8)).save(sys.argv[3])
