"""Start a Slurm cluster, run the trials and print a line for each."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.cluster.slurm import cluster, missing_programs
from tests.cluster.trials import TRIALS


def main() -> int:
    """Run the trials named on the command line, by default all.

    Return the exit code.
    """
    names = {trial.__name__.replace("_", "-"): trial for trial in TRIALS}
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"all by default; known are {', '.join(names)}")
    given = parser.parse_args().trials
    unknown = [name for name in given if name not in names]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(names)}")
    if missing := missing_programs():
        parser.error(f"not found: {', '.join(missing)}; `apt-get install slurm-wlm munge` brings them")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="n2n-slurm-") as temporary:
        folder = Path(temporary)
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONPATH=str(Path(__file__).parents[2]))
        os.environ["PATH"] = f"bin:{os.environ['PATH']}"
        with cluster(folder):
            for name in given or names:
                (folder / name).mkdir()
                os.chdir(folder / name)
                start, result = time.monotonic(), "pass"
                try:
                    names[name]()
                except Exception:
                    failed, result = failed + 1, "FAIL"
                    traceback.print_exc()
                print(f"{result} {name}, {time.monotonic() - start:.0f} s", flush=True)
        os.chdir("/")
    print(f"{len(given or names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
