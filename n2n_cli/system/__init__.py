"""The machine and its operating system: cores, memory, BLAS, files, processes.

cpu             processor cores, and the processor's name and vector instructions
memory          memory that the process may still take
control_groups  limits that Linux control groups set
blas            the BLAS library that NumPy multiplies with
atomic_files    files that appear whole or not at all
locks           locks on files that keep other processes out
json_lines      records as lines of JSON
stopping        requests to stop work
plugins         Python files of a user that register layers, losses and noise models
worker_process  functions that run in processes of their own
"""
