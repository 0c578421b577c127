"""The command line: parses, calls one library function, prints.

A file for each command:

train, sweep, plot       training
eval, compare            measuring
denoise                  denoising
info, models, export     models; `info` also describes pictures and the machine

What several of them use:

app             `n2n` itself: options before the command, and how every error ends
options         options of several commands
console         messages on stderr, results on stdout
signals         SIGINT, SIGTERM and SIGHUP
ranked          a command that the ranks of an MPI job run together

What one of them uses:

pictures        train: the options that say where its pictures are
epochs          train: its lines and its bar
sweep_progress  sweep: its lines and its bar
words           denoise: IN... OUT, which picture goes where
learning        denoise: the options of learning from the picture
running         denoise: what is told of each picture, and of all
bar             denoise: its bar
streams         denoise: a picture from stdin or to stdout
"""
