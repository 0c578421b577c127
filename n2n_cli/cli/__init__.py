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

train_sources     the options that say where the pictures are
train_progress    lines and a bar
sweep_progress    lines and a bar
denoise_plan      IN... OUT: which picture goes where
denoise_learning  the options of learning from the picture
denoise_results   what is told of each picture, and of all
denoise_bar       a bar
denoise_streams   a picture from stdin or to stdout
"""
