"""Work shared by several processes.

ranks        interface of cooperating processes; a process that works alone
mpi          ranks connected by MPI
launchers    processes started by mpiexec or srun
same_data    identical training pictures on all ranks
shards       parts of a list of work for independent processes
"""
