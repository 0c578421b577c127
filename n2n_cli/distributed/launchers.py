"""Launchers: processes that mpiexec or srun has started together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.distributed.shards import Shard, shard_of_process
from n2n_cli.errors import UsageError


def place_of_process(environment: Mapping[str, str]) -> Shard:
    """This process's place among those that a launcher started; 1/1 if alone."""
    others = ("SLURM_ARRAY_", "JOB_COMPLETION")  # tasks that run at different times
    return shard_of_process({name: value for name, value in environment.items() if not name.startswith(others)})


@cache
def ranks_of_process() -> Ranks:
    """The ranks that a launcher started with this process, connected by MPI.

    A process that was started alone does not import mpi4py.

    Raises
    ------
    UsageError
        When a launcher started several and they cannot be connected.
    """
    place = place_of_process(os.environ)
    if place.count == 1:
        return ALONE
    try:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"  # only the main thread calls it; it starts when it is imported
        from n2n_cli.distributed.mpi import MpiRanks
    except ModuleNotFoundError as error:
        if error.name != "mpi4py":
            raise
        raise UsageError(
            f"{place.count} processes were started together ({place.reason}), and MPI, by which they would work "
            "together, is not installed",
            hint="`pip install 'n2n-cli[mpi]'`; or start one process",
        ) from None
    except (ImportError, RuntimeError) as error:  # mpi4py finds no MPI library, or one of another kind
        told = " ".join(str(error).split())
        raise UsageError(
            f"mpi4py cannot load an MPI library: {told}",
            hint="load your cluster's MPI module, or `pip install mpich`; start with the mpiexec that belongs to it",
        ) from None
    return MpiRanks(place)
