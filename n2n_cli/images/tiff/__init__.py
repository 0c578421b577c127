"""TIFF files.

reading       reading of pages as pictures
pages         pages of a file and their tags
descriptions  axes of stacks, as described by ImageJ, OME and tifffile
entries       reading and writing of directories as stored bytes
metadata      metadata of a page
tags          values of a directory, read on request
blocks        places and sizes of strips and tiles
pixels        decoding of pixels at full bit depth
libtiff       decoding by Pillow and its libtiff
writing       writing of files
"""
