"""Non-local means of scikit-image, as in its gallery; arguments: IN.png OUT.png."""

import sys

import numpy as np
from skimage.io import imread, imsave
from skimage.restoration import denoise_nl_means, estimate_sigma
from skimage.util import img_as_float, img_as_ubyte

noisy = img_as_float(imread(sys.argv[1]))  # (H, W, 3)
sigma = float(np.mean(estimate_sigma(noisy, channel_axis=-1)))
denoised = denoise_nl_means(
    noisy, h=0.8 * sigma, sigma=sigma, fast_mode=True, patch_size=5, patch_distance=6, channel_axis=-1
)
imsave(sys.argv[2], img_as_ubyte(np.clip(denoised, 0, 1)), check_contrast=False)
