"""The first two blocks of shell in README.md are the expected commands."""

from __future__ import annotations

from tests.documents import ROOT, blocks, text_of


def test_first_two_blocks_train_and_test() -> None:
    train, test = blocks(text_of(ROOT / "README.md"), "sh")[:2]
    assert "n2n train --epochs 10 --lr 1\n" in train
    assert "n2n denoise data/noisy.png denoised.png\n" in train
    assert "pytest" in test
