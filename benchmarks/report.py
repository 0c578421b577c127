"""Tables and figures of docs/REPORT.md.

`python -m benchmarks.report --data FOLDER --test FOLDER` trains the founding network, and the same network in PyTorch
on the same batches from the same weights. The data substitutes that of the founding report: photographs, pixelated in
blocks of 8. Both trainings are repeated from weights that differ in the last bit, which shows the effect of rounding
alone. Then it sweeps Adam's learning rate, trains the larger network of `ee559-best`, and draws the figures. With
`--samples`, it also evaluates both networks on the course's own pictures. Results that exist are kept, so it can be
stopped and started again. It takes about 1.5 hours on 2 cores of an AMD EPYC (Zen 5).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n2n_cli.system import blas

if TYPE_CHECKING:
    from n2n_cli.config import TrainConfig
    from n2n_cli.data.pairs import Pairs
    from n2n_cli.models.model import Model
    from n2n_cli.nn.functional import Array

SWEPT_PAIRS = 5000
LEARNING_RATES = "1e-4,3e-4,1e-3,3e-3,1e-2,3e-2"
NUDGES = (1, 2)  # seeds of changes to the last bit of the initial weights
SHOWN = 6  # pictures in Figure 3
CROPS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="photographs to train on")
    parser.add_argument("--test", type=Path, required=True, metavar="FOLDER", help="photographs to measure on")
    parser.add_argument("--samples", type=Path, metavar="FOLDER", help="the course's pictures: noisy/ and clean/")
    parser.add_argument("--founding-only", action="store_true", help="leave out the larger network, half of the time")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="FOLDER", help="default: report")
    parser.add_argument("--epochs", type=int, help="epochs of all trainings; default: 10, as configured")
    parser.add_argument("--pairs", type=int, help="training pairs; default: 50,000, as configured")
    options = parser.parse_args()
    blas.prepare_blas()  # before NumPy is imported, for the same rounding as in `n2n train`

    report = Report(options)
    report.make("network", report.network)
    report.make("ours", report.ours)
    report.make("twin", report.twin)
    report.make("rounding", report.rounding)
    report.make("figure2", report.figure2)
    if not options.founding_only:
        report.make("best", report.best)
    if options.samples is not None:
        report.make("samples", report.samples)
    report.figure3()


class Report:
    """Results of the report, stored in `report.json` of a folder one by one."""

    def __init__(self, options: argparse.Namespace) -> None:
        from n2n_cli.config import load_config

        self.folder, self.data, self.test = options.out, options.data, options.test
        self._samples: Path | None = options.samples
        changes: list[tuple[str, Any, str]] = [
            ("data.source", str(options.data), "--data"),
            *([("train.epochs", options.epochs, "--epochs")] if options.epochs else []),
            *([("data.pairs", options.pairs, "--pairs")] if options.pairs else []),
        ]
        self.words = [word for key, value, _ in changes for word in ("--set", f"{key}={value}")]
        self.config = load_config("ee559").override_all(changes)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / "report.json"
        self.found: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def make(self, name: str, find: Callable[[], Any]) -> None:
        """Compute and store a result, unless it exists."""
        if name not in self.found:
            began = time.perf_counter()
            self.found[name] = find()
            self.found[name]["minutes"] = round((time.perf_counter() - began) / 60, 2)
            self._path.write_text(json.dumps(self.found, indent=2) + "\n")
        print(f"{name}: {json.dumps(self.found[name])}", flush=True)

    def network(self) -> dict[str, Any]:
        """Table of the network's layers, by `n2n info`."""
        return {"table": _n2n("info", "ee559")}

    def ours(self) -> dict[str, Any]:
        """Train and evaluate the founding network."""
        return self._trained("ee559", self.folder / "founding", "last.pth")

    def best(self) -> dict[str, Any]:
        """Train and evaluate the larger network."""
        found = self._trained("ee559-best", self.folder / "best", "best.pth")
        return {**found, "ensemble": self._measured(self.folder / "best" / "best.pth", "--ensemble")}

    def samples(self) -> dict[str, Any]:
        """Evaluate the networks on the course's own pictures."""
        assert self._samples is not None
        words = ("--data", self._samples / "noisy", "--clean", self._samples / "clean")
        checkpoints = {"founding": "founding/last.pth", **({"best": "best/best.pth"} if "best" in self.found else {})}
        return {name: _summary("eval", self.folder / path, *words) for name, path in checkpoints.items()}

    def twin(self) -> dict[str, Any]:
        """Train the network in PyTorch on the same batches, from the same weights."""
        return {"test": self._learned(_learn_in_pytorch, self.config.train.lr, path=self.folder / "twin.pth")}

    def rounding(self) -> dict[str, Any]:
        """Repeat the trainings with the last bit of the initial weights changed.

        And once in n2n and in PyTorch with a tenth of the learning rate.
        """
        lr = self.config.train.lr
        return {
            "n2n": [_both(self.found["ours"]["test"]), *(self._ends(_learn, lr, nudge) for nudge in NUDGES)],
            "PyTorch": [
                _both(self.found["twin"]["test"]),
                *(self._ends(_learn_in_pytorch, lr, nudge) for nudge in NUDGES),
            ],
            "n2n at a tenth": self._ends(_learn, lr / 10),
            "PyTorch at a tenth": self._ends(_learn_in_pytorch, lr / 10),
        }

    def _ends(self, learn: Callable[[Model, Pairs], None], lr: float, nudge: int = 0) -> list[float]:
        """Train from changed weights, and return the PSNRs."""
        return _both(self._learned(learn, lr, nudge, path=self.folder / "nudged.pth"))

    def _learned(
        self, learn: Callable[[Model, Pairs], None], lr: float, nudge: int = 0, *, path: Path
    ) -> dict[str, Any]:
        """Train the founding network in this process, save and evaluate it."""
        from n2n_cli.data.sources import open_dataset
        from n2n_cli.models.model import Model

        config = self.config.override("train.lr", lr, "--lr")
        model = Model.from_config(config)
        _nudge(model, nudge)
        learn(model, open_dataset(config.data, 3, seed=config.train.seed).train)
        model.save(path)
        return self._measured(path)

    def figure2(self) -> dict[str, Any]:
        """Sweep Adam's learning rate, and copy the sweep's plot."""
        sweep, pairs = self.folder / "adam", min(SWEPT_PAIRS, self.config.data.pairs)
        arguments = ("--param", "optim.lr", "--values", LEARNING_RATES, "--config", "ee559-adam")
        best = _n2n("sweep", *arguments, "--out", sweep, "--json", *self.words, "--set", f"data.pairs={pairs}")
        for ending in ("svg", "png"):
            if (sweep / f"sweep.{ending}").exists():
                shutil.copy(sweep / f"sweep.{ending}", self.folder / f"figure-2.{ending}")
        return {"best": json.loads(best), "all": json.loads((sweep / "sweep.json").read_text())}

    def figure3(self) -> None:
        """Draw rows of noisy, denoised and clean crops, enlarged 4 times."""
        import numpy as np

        from n2n_cli.evaluation.evaluation_set import open_evaluation_set
        from n2n_cli.images import Picture, write_picture
        from n2n_cli.images.pixels import to_integer
        from n2n_cli.models.model import Model

        model = Model.from_checkpoint(self.folder / "founding" / "last.pth")
        evaluation_set = open_evaluation_set(model.config, str(self.test), None, None, crops=SHOWN)
        batch = next(islice(evaluation_set.batches, 1))
        rows = [
            np.concatenate(list(part[:SHOWN]), axis=2)
            for part in (batch.noisy, model.predict(batch.noisy), batch.clean)
        ]
        sheet = np.moveaxis(np.concatenate(rows, axis=1), 0, -1).repeat(4, axis=0).repeat(4, axis=1)  # (H, W, C)
        write_picture(self.folder / "figure-3.png", Picture(to_integer(sheet, np.uint8)))

    def _trained(self, config: str, run: Path, checkpoint: str) -> dict[str, Any]:
        """Train in `run`, or resume the training there; evaluate a checkpoint of it."""
        begun = (run / "last.pth").exists()
        _n2n("train", *(("--resume", run) if begun else ("--config", config, "--out", run, "--force", *self.words)))
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        seconds = lines[-1]["seconds"]  # of all epochs
        found = {"validation_psnr": [line["psnr"] for line in lines], "training_minutes": round(seconds / 60, 2)}
        return {**found, "test": self._measured(run / checkpoint)}

    def _measured(self, checkpoint: Path, *words: str) -> dict[str, Any]:
        return _summary(
            *("eval", checkpoint, "--data", self.test, "--noise", self.config.data.noise, "--crops", CROPS), *words
        )


def _both(measured: dict[str, Any]) -> list[float]:
    """Mean PSNR, and PSNR of the mean error."""
    return [measured["psnr"], measured["pooled_psnr"]]


def _nudge(model: Model, seed: int) -> None:
    """Change every weight by one unit in the last place, unless the seed is 0."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for values, _ in model.network.param():
        towards = rng.choice(np.array([-np.inf, np.inf], np.float32), values.shape)
        values[...] = np.nextafter(values, towards) if seed else values


def _learn(model: Model, pairs: Pairs) -> None:
    """Train as `n2n train` does, without its files."""
    model.network.train()
    for noisy, target in _batches(pairs, model.config.train):
        model.step(noisy, target)


def _learn_in_pytorch(model: Model, pairs: Pairs) -> None:
    """Train in PyTorch, and copy the weights to the model."""
    import torch

    from benchmarks import twins

    train = model.config.train
    network, form = twins.variant(model.network, "channels_last")
    optimizer = torch.optim.SGD(network.parameters(), lr=train.lr)
    for noisy, target in _batches(pairs, train):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(twins.tensor(noisy, form)), twins.tensor(target, form)).backward()
        optimizer.step()
    model.network.load_state_dict({name: value.numpy() for name, value in network.state_dict().items()})


def _batches(pairs: Pairs, train: TrainConfig) -> Iterator[tuple[Array, Array]]:
    """Iterate over the batches (noisy, target) in the order of `n2n train`."""
    import numpy as np

    for epoch in range(1, train.epochs + 1):
        order = np.random.default_rng([train.seed, epoch]).permutation(len(pairs))
        for start in range(0, len(order), train.batch_size):
            yield pairs.batch(order[start : start + train.batch_size], epoch)


def _summary(*words: object) -> dict[str, Any]:
    """Run `n2n` with `--json` and return the last line of its output."""
    summary: dict[str, Any] = json.loads(_n2n(*words, "--json").splitlines()[-1])
    return summary


def _n2n(*words: object) -> str:
    """Run `n2n` and return its stdout; its stderr is this program's."""
    command = [Path(sys.executable).with_name("n2n"), *words]
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
