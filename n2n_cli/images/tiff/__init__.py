"""TIFF files.

pages      pages of a file and their tags
tags       values of a directory, read when asked for
blocks     strips and tiles, their places and sizes
pixels     pixels at their full depth
writing    writing files
directory  writing directories
"""
