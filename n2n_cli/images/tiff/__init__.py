"""TIFF files.

pages      pages of a file and their tags
pixels     pixels at their full depth
writing    writing files
directory  writing directories
"""
