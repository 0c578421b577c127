"""The command line: parses, calls one library function, prints.

A module or a package for each command:

train, sweep, plot       training
eval, compare            measuring
denoise                  denoising
info, models, export     models; `info` also describes pictures and the machine

Shared by several commands:

app       `n2n` itself: options before the command, and how every error ends
options   parsers, options of several commands, and rules between options
help      panels of options in `--help`
console   messages on stderr, results on stdout
progress  a bar, or lines of a log, with the time left
signals   SIGINT, SIGTERM and SIGHUP
ranked    a command that the ranks of an MPI job run together
"""
