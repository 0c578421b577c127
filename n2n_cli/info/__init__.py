"""Facts for `n2n info`.

summary  this machine, networks and checkpoints
picture  picture files
"""
