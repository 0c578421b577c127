"""Processes started together by a launcher: mpiexec or srun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.distributed.shards import Shard, shard_of_process
from n2n_cli.errors import UsageError


def place_of_process(environment: Mapping[str, str]) -> Shard:
    """Place of this process among those that a launcher started; 1/1 if alone."""
    others = ("SLURM_ARRAY_", "JOB_COMPLETION")  # tasks that run at different times
    return shard_of_process({name: value for name, value in environment.items() if not name.startswith(others)})


@cache
def ranks_of_process() -> Ranks:
    """Ranks that a launcher started together with this process, connected by MPI.

    A process that was started alone does not import mpi4py.

    Raises
    ------
    UsageError
        If a launcher started several processes and they cannot be connected.
    """
    place = place_of_process(os.environ)
    if place.count == 1:
        return ALONE
    try:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"  # only the main thread calls MPI, which starts at the import of mpi4py.MPI
        from n2n_cli.distributed.mpi import MpiRanks
    except ModuleNotFoundError as error:
        if error.name != "mpi4py":
            raise
        raise UsageError(
            f"{place.count} processes were started together ({place.reason}), but mpi4py, which would connect them, "
            "is not installed",
            hint="`pip install 'n2n-cli[mpi]'`; or start one process",
        ) from None
    except (ImportError, RuntimeError) as error:  # mpi4py finds no MPI library, or an incompatible one
        reason = " ".join(str(error).split())
        raise UsageError(
            f"mpi4py cannot load an MPI library: {reason}",
            hint="load your cluster's MPI module, or `pip install mpich`; use the mpiexec of that library",
        ) from None
    return MpiRanks(place)
