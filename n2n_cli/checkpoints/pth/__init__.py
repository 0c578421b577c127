"""PyTorch's zip format, read and written without PyTorch: the rooms behind `n2n_cli.checkpoints.file`.

archive   the zip file: its entries, checked before anything in them is believed
program   the `data.pkl` in it: a program for a stack machine, run by one that can do nothing but build plain values
rebuild   the few calls that such a program may make
measure   how large the built tree is to whoever walks over it
tensors   storages -> arrays
encode    plain values and arrays -> `data.pkl`
writing   the zip file, with a checksum
limits    how much of everything a file may ask for
names     the words of the format
"""
