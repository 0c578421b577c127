"""A Slurm cluster of two nodes on this host, and its commands."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun")
NODES = ("node1", "node2")
_CREDENTIAL_SECONDS = 20
"""Time that a job which went back into the queue waits there, in seconds; 120 by default."""
_CONFIGURATION = """\
ClusterName=n2n
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={credential_seconds}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=usual Nodes=ALL Default=YES PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


@contextmanager
def cluster(folder: Path, cpus: int = 64) -> Iterator[None]:
    """Run a Slurm controller and two nodes until the block ends.

    Everything that they write is below `folder`. The nodes claim `cpus` CPUs each, whatever this host has.
    """
    host = socket.gethostname().split(".")[0]
    port, *ports = _free_ports(1 + len(NODES))
    first_job = 1 + secrets.randbelow(10**7)  # MPICH names shared memory by the job's id, and killed ranks leave some
    text = _CONFIGURATION.format(
        first_job=first_job,
        host=host,
        port=port,
        user=getpass.getuser(),
        folder=folder,
        credential_seconds=_CREDENTIAL_SECONDS,
    )
    for node, port in zip(NODES, ports, strict=True):
        text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus}\n"
        (folder / node).mkdir()
    (folder / "slurm.conf").write_text(text)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    (folder / "state").mkdir()
    munge = folder / "munge"
    munge.mkdir(0o755)
    (munge / "key").write_bytes(secrets.token_bytes(128))
    (munge / "key").chmod(0o600)
    files = (f"--{name}-file={munge / name}" for name in ("key", "log", "pid", "seed"))
    with ExitStack() as daemons:
        words = ("munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *files)
        daemons.enter_context(_daemon(folder / "munged.log", *words))
        try:
            wait_until("munged to answer", lambda: (munge / "socket").exists())
            daemons.enter_context(_daemon(folder / "slurmctld.log", "slurmctld", "-D"))
            for node in NODES:
                daemons.enter_context(_daemon(folder / f"{node}.log", "slurmd", "-D", "-N", node))
            wait_until("both nodes to be idle", lambda: _states() == "idle 2\n")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{_last_lines(folder)}") from None
        try:
            yield
        finally:
            with suppress(subprocess.SubprocessError, TimeoutError):
                _run("scancel", "--full", f"--user={getpass.getuser()}")
                wait_until("the jobs to end", lambda: _run("squeue", "--noheader") == "")


def _free_ports(count: int) -> list[int]:
    """Return numbers of ports that nothing uses at the moment."""
    with ExitStack() as sockets:
        return [sockets.enter_context(socket.create_server(("", 0))).getsockname()[1] for _ in range(count)]


def _states() -> str:
    """Return the states of the nodes, and the number of nodes in each.

    Empty while the controller starts.
    """
    try:
        return _run("sinfo", "--noheader", "--format=%T %D")
    except subprocess.SubprocessError:
        return ""


def _last_lines(folder: Path) -> str:
    """Return the ends of the daemons' logs."""
    logs = sorted(folder.glob("*.log"))
    return "".join(f"{log.name}: {line}\n" for log in logs for line in log.read_text().splitlines()[-5:])


@contextmanager
def _daemon(log: Path, *words: str) -> Iterator[None]:
    with log.open("w") as stream:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def missing_programs() -> list[str]:
    """Return the programs of Slurm and MUNGE that are not installed."""
    os.environ["PATH"] += ":/usr/sbin"
    return [name for name in PROGRAMS if shutil.which(name) is None]


def wait_until(what: str, done: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds; raise TimeoutError if it does not in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.5)


def submit(text: str, *options: str) -> str:
    """Submit a batch script and return the job's id."""
    Path("job.sh").write_text(text)
    return _run("sbatch", "--parsable", *options, "job.sh").strip()


def run_array(text: str, *options: str) -> tuple[int, str]:
    """Run a batch script to its end.

    Return its highest exit code, and the outputs of all tasks.
    """
    Path("job.sh").write_text(text)
    done = subprocess.run(
        ["sbatch", "--quiet", "--wait", "--output=%A_%a.out", *options, "job.sh"], check=False, timeout=600
    )
    written = sorted(Path().glob("*_*.out"))
    outputs = "".join(path.read_text() for path in written)
    for path in written:
        path.unlink()
    return done.returncode, outputs


def job_state(job: str) -> dict[str, str]:
    """Return the fields that `scontrol show job` prints."""
    return dict(re.findall(r"(\S+?)=(\S*)", _run("scontrol", "--oneliner", "show", "job", job)))


def has_ended(job: str) -> bool:
    """Return True for a job that neither runs nor will run."""
    running = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "PREEMPTED")
    return job_state(job)["JobState"] not in running


def wait_for_end(job: str, seconds: float = 300) -> dict[str, str]:
    """Wait for a job's end and return its state."""
    wait_until(f"job {job} to end", lambda: has_ended(job), seconds)
    return job_state(job)


def wait_for_restart(job: str, seconds: float = 300) -> None:
    """Wait until a job is in the queue again."""

    def waits_again() -> bool:
        state = job_state(job)
        return state["Restarts"] == "1" and state["JobState"] == "PENDING"

    wait_until(f"job {job} to be in the queue again", waits_again, seconds)


def processes_of(step: str, node: str) -> list[int]:
    """Return the ids of the processes that a step has on a node."""
    return [int(line.split()[0]) for line in _run("scontrol", "listpids", step, node).splitlines()[1:]]


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise subprocess.SubprocessError(f"`{' '.join(words)}`: {done.stderr.strip()}")
    return done.stdout
