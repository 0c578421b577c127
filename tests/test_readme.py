"""The first two blocks of shell in README.md are the expected commands."""

from __future__ import annotations

import re

from tests.documents import ROOT


def test_first_two_blocks_train_and_test() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    train, test = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[:2]
    assert "n2n train --epochs 10 --lr 1\n" in train
    assert "n2n denoise data/noisy.png denoised.png\n" in train
    assert "pytest" in test
