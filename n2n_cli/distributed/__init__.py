"""Work that several processes do together.

ranks        interface of the processes that work together, and a process that works alone
mpi          ranks that MPI connects
launchers    processes that mpiexec or srun has started
same_data    training pictures, the same on all ranks
shards       the part of a list of work that one process does by itself
"""
