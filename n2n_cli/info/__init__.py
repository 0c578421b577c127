"""Facts for `n2n info`.

machine  processor, libraries and their speed
network  networks of checkpoints and configurations
picture  picture files
"""
