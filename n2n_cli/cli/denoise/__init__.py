"""The command `n2n denoise`.

command   options and what they call
plan      IN... OUT: which picture goes where
learning  options of learning from the picture
results   reports on each picture, and on all
bar       progress bar
streams   a picture from stdin or to stdout
"""
