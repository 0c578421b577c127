"""The command `n2n denoise`.

command  options and what they call
parsers  parsers of its options
plan     IN... OUT: inputs and their outputs
results  reports on each picture, and on all
bar      progress bar
streams  a picture from stdin or to stdout
"""
