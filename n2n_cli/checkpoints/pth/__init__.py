"""PyTorch's zip format, read and written without PyTorch, for `checkpoints.file`.

archive   the zip file and checks of its entries
program   interpreter of the pickle program `data.pkl`, which can only build plain values
rebuild   results of the few calls that such a program may make
measure   size of the tree that a program builds
tensors   arrays from storages
encode    `data.pkl` for plain values and arrays
writing   writing of the zip file, with a checksum
limits    limits of what a file may contain
names     names of the format
"""
