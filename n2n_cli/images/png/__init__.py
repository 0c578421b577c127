"""PNG files of 16 bits per channel, and metadata of all PNG files.

pixels    decoding and encoding of 16-bit pixels
filters   the five row filters
chunks    chunks of a file
metadata  metadata in the chunks
deflate   compression settings of zlib
"""
