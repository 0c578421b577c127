"""Commands and scripts in docs/CLUSTER.md work, as far as one machine can show."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from tests.cli import environment
from tests.cluster import EVERYTHING, PICTURES, blocks, outputs, script, write_photos, write_program
from tests.launching import launcher, wait_for
from tests.signals import default_signals
from tests.trainings import small_config, write_leaves

pytestmark = [pytest.mark.mpi, pytest.mark.slow]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with tiny images and stand-ins for a cluster's programs."""
    monkeypatch.chdir(tmp_path)
    write_photos()
    Path("denoised").mkdir()
    write_program("n2n", f'case "$*" in *train*--data*) set -- "$@" --config small.toml;; esac\nexec {N2N} "$@"')
    write_program("srun", f'while [ "${{1#-}}" != "$1" ]; do shift; done\nexec {" ".join(launcher())} -n 2 "$@"')
    write_program("scontrol", 'echo "$@" >>scontrol.txt')
    write_program("parallel", 'exec xargs -P "$2" -I{} "${@:3}"')
    return tmp_path


N2N = f"{sys.executable} -m n2n_cli"


def surroundings(**changes: str) -> dict[str, str]:
    folders = (str(Path("bin").resolve()), str(Path(launcher()[0]).parent), os.environ["PATH"])
    return environment(PATH=":".join(folders), **changes)


def shell(text: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=False, env=surroundings(**changes), timeout=120
    )


def records(*manifests: Path | str) -> list[dict[str, object]]:
    return [json.loads(line) for manifest in manifests for line in Path(manifest).read_text().splitlines()]


@pytest.mark.parametrize("start", ["mpiexec", "seq 4 | xargs", "seq 4 | parallel"])
def test_sharding_commands_denoise_every_image_once(start: str) -> None:
    (line,) = (line for line in blocks("sh")[1].splitlines() if line.startswith(start))
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert outputs() == EVERYTHING
    parts = re.findall(r"shard (\d)/4 \(by [^)]+\): (\d+) of 11 pictures", done.stderr)
    assert sorted(parts) == [("1", "3"), ("2", "3"), ("3", "3"), ("4", "2")]
    if "done.jsonl" in line:
        assert sorted(str(record["status"]) for record in records("done.jsonl")) == ["done"] * PICTURES
        assert {
            str(Path(str(record["output"])).relative_to("denoised")) for record in records("done.jsonl")
        } == outputs()


def test_job_array_finishes_the_work_of_a_killed_task() -> None:
    job = script("--array")
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", job)[0])

    def run(task: int, text: str = job) -> None:
        ids = {"ID": task, "COUNT": last - first + 1, "MIN": first, "MAX": last, "STEP": 1}
        done = shell(text, **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in ids.items()})
        assert done.returncode == 0, done.stderr

    for task in range(first, last):
        run(task)
    killed = job.replace("n2n denoise", f"{sys.executable} -c '{KILLED}' denoise") + "true\n"
    run(last, killed)
    assert 0 < len(EVERYTHING - outputs()) < PICTURES // 4
    run(last)
    assert outputs() == EVERYTHING
    merged = records(*Path().glob("denoised-*.jsonl"))
    assert {record["output"] for record in merged if record["status"] == "done"} == {
        f"denoised/{n}" for n in EVERYTHING
    }
    assert not list(Path("denoised").rglob(".*"))


KILLED = """
import os, signal
from n2n_cli.denoising.manifest import Manifest
append = Manifest.append
def once(self, record):
    append(self, record)
    os.kill(os.getpid(), signal.SIGKILL)
Manifest.append = once
from n2n_cli.cli.app import main
main()
"""


def test_pods_of_an_indexed_job() -> None:
    (text,) = blocks("yaml")
    (completions,) = re.findall(r"^  completions: (\d+)$", text, re.MULTILINE)
    (variable,) = re.findall(r'- name: JOB_COMPLETIONS\n +value: "(\d+)"', text)
    assert variable == completions
    (words,) = re.findall(r"command: \[(.*)\]", text)
    for index in range(int(completions)):
        done = shell(words.replace(",", ""), JOB_COMPLETION_INDEX=str(index), JOB_COMPLETIONS=variable)
        assert done.returncode == 0, done.stderr
        assert f"shard {index + 1}/{completions} (by JOB_COMPLETION_INDEX)" in done.stderr
    assert outputs() == EVERYTHING


def _small_training(epochs: int) -> None:
    write_leaves(Path("leaves"))
    Path("small.toml").write_text(small_config(Path("leaves"), epochs=epochs).to_toml())


def test_training_and_evaluation_commands() -> None:
    _small_training(1)
    write_leaves(Path("test"))
    Path("photos").rename("tree")
    write_leaves(Path("photos"))
    done = shell(blocks("sh")[0])
    assert done.returncode == 0, done.stderr
    assert "4 ranks share each batch" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("mean of 24\t")


def test_slurm_job_is_requeued_and_resumes() -> None:
    _small_training(100_000)
    Path("photos").rename("tree")
    write_leaves(Path("photos"))
    text = script("srun")
    assert "#SBATCH --requeue\n" in text
    Path("job").write_text(text)
    job = subprocess.Popen(
        ["bash", "job"],
        env=surroundings(SLURM_JOB_ID="77"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,
    )
    try:
        wait_for("epoch 2/", process=job)
        os.killpg(job.pid, signal.SIGTERM)  # to the script as well, as Slurm does in a pre-emption
        _, err = job.communicate(timeout=60)
    finally:
        job.kill()
        job.communicate()
    assert job.returncode == 143, err
    assert Path("scontrol.txt").read_text() == "requeue 77\n"
    epoch = read_checkpoint("runs/photos/last.pth")["progress"]["epoch"]
    again = shell(text.replace("--checkpoint-minutes 2", f"--epochs {epoch}"), SLURM_JOB_ID="77")
    assert again.returncode == 0, again.stderr
    assert re.search(rf"^continues after (step \d+ of )?epoch {epoch}?", again.stderr, re.MULTILINE)
    assert Path("scontrol.txt").read_text() == "requeue 77\n"
