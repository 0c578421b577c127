"""TIFF files.

reading       pages of an open file as pictures
pages         pages of a file and their tags
descriptions  axes of stacks, as ImageJ and OME describe them
entries       directories as stored bytes, read and written
metadata      metadata of a page
tags          values of a directory, read when asked for
blocks        strips and tiles, their places and sizes
pixels        pixels at their full depth
libtiff       decoding by Pillow and its libtiff
writing       writing files
"""
