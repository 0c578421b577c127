"""Checkpoint files and what they hold.

file      `.pth` files: read, checked and written
contents  configuration, facts and training state in a checkpoint
pth       PyTorch's zip format
"""
