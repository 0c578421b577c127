"""The command `n2n train`.

command   options and what they call
sources   options that say where the pictures are
progress  progress lines and bar
"""
