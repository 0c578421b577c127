"""PNG files of 16 bits per channel, and metadata of all PNG files.

pixels    pixels of 16 bits
filters   the five row filters
chunks    the chunks of a file
metadata  metadata
deflate   compression level
"""
