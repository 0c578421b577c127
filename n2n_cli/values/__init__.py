"""Values of pictures, and what a network sees of them.

A picture meets a network through a reversible transform, one for a whole file.

transform    the transform, and its inverse
choice       choice of the transform, from a file's type, range and noise
prepared     a picture as a network sees it, and the way back; missing data
outstanding  limits on what a network may remove
local_means  correction of local means
"""
