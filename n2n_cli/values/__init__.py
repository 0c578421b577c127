"""Transforms between a picture's values and the input of a network.

A reversible transform, the same for all pages of a file, maps the values to the range that networks are trained for.

transform    the transform, and its inverse
choice       choice of the transform, from a file's type, range and noise
prepared     conversion of a picture to network input and back; missing data
outstanding  limits on what a network may remove
local_means  correction of local means
"""
