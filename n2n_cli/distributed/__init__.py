"""Work that several processes share.

ranks        the processes of one piece of work; mostly there is one
collectives  sums and exchanges between ranks
mpi          ranks that MPI connects
launchers    the ranks that mpiexec or srun has started
same_data    the same pictures for all ranks of a training
shards       the part of a list of work that one process does without knowing of the others
"""
