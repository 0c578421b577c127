"""Checkpoint files and their contents.

file      reading and writing of `.pth` files
contents  configuration, scores and training state in a checkpoint
pth       PyTorch's zip format
"""
