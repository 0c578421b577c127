"""How fast n2n is, as ratios to PyTorch in one run: `python -m benchmarks`."""
