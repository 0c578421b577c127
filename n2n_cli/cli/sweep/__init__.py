"""The command `n2n sweep`.

command   options and what they call
progress  progress lines and bar
"""
