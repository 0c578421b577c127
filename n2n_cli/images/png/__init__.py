"""PNG files of 16 bits a channel, and what PNG files carry beside their pixels.

pixels    pixels of 16 bits
filters   the five row filters
chunks    the chunks of a file
metadata  metadata
deflate   compression level
"""
