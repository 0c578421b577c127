"""Command line: each command parses, calls one library function and prints.

Each command is a module or a package:

train, sweep, plot       training
eval, compare            scores
denoise                  denoising
info, models, export     models; `info` also describes pictures and the machine

Modules that several commands share:

app       `n2n` itself: options before the command, and the report of every error
options   parsers, options of several commands, and rules between options
help      panels of options in `--help`
console   messages on stderr, results on stdout
progress  a bar or log lines, with the time left
signals   SIGINT, SIGTERM and SIGHUP
ranked    commands that all ranks of an MPI job run together
"""
