"""Scripts that denoise IN.png to OUT.png with other packages, as users would.

Each runs in an environment with its package.
"""
