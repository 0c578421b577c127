"""The machine and its operating system: cores, memory, BLAS, files, processes.

cpu             processor cores, the processor's name and vector instructions
memory          available memory
control_groups  Linux control groups, which limit cores and memory
blas            the BLAS library of NumPy and its threads
atomic_files    files that are written whole or not at all
overwriting     protection of a command's inputs from its outputs
plain_files     files with fixed names in untrusted folders
locks           file locks between processes
json_lines      records as lines of JSON
stopping        requests to stop work
progress        progress of long work
notes           notes for the user from inside the work
plugins         Python files of a user that register layers, losses and noise models
worker_process  functions that run in worker processes
"""
