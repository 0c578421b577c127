"""Noise2Void of CAREamics; arguments: IN.png OUT.png SECONDS.

It is trained on the picture with the settings of the package's quick start: 30 epochs, patches of 64x64, batches of 16.
Training stops after SECONDS.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from careamics import CAREamist
from careamics.config import create_n2v_config
from lightning.pytorch.callbacks import Timer
from PIL import Image


def main() -> None:
    source, target, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    noisy = np.array(Image.open(source).convert("RGB")).astype(np.float32)  # (H, W, 3)
    config = create_n2v_config(
        experiment_name="picture", data_type="array", axes="YXC", n_channels=3, patch_size=[64, 64], batch_size=16
    )
    with TemporaryDirectory() as folder:
        careamist = CAREamist(config, work_dir=Path(folder), callbacks=[Timer({"seconds": seconds})])
        careamist.train(train_data=noisy)
        predicted = np.squeeze(careamist.predict(pred_data=noisy)[0][0])
    denoised = np.moveaxis(predicted, 0, -1) if predicted.shape[0] == 3 else predicted  # (H, W, 3)
    Image.fromarray(np.clip(denoised, 0, 255).round().astype(np.uint8)).save(target)


if __name__ == "__main__":  # data loaders may start processes that import this file
    main()
