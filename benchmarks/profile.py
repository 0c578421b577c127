"""Time of a training step by layer, on one thread: `python -m benchmarks.profile`.

The plain layers run on the whole batch, the fast ones on micro-batches. To be timed separately, the fast layers are not
run from a tape, which is faster than their sum.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from n2n_cli.config import load_config
from n2n_cli.engine.pool import Pool, using
from n2n_cli.engine.replicas import VALUES_A_PASS, passes
from n2n_cli.nn import MSE, Module
from n2n_cli.nn.functional import Array
from n2n_cli.system.blas import one_blas_thread

ROUNDS = 15


def main() -> None:
    network = load_config("ee559").network.build(rng=np.random.default_rng(0))
    x, target = np.moveaxis(np.random.default_rng(0).random((2, 100, 32, 32, 3), dtype=np.float32), -1, 2)
    plain, fast = list(network), [step.module for step in network._steps]
    with one_blas_thread():
        for title, modules, parts in (
            ("plain", plain, [slice(0, len(x))]),
            ("fast", fast, passes(len(x), VALUES_A_PASS / network.most_values(x.shape))),
        ):
            network.zero_grad()
            with using(Pool()):
                times = _profile(modules, x, target, parts)
            print(f"\n{title}: {sum(map(sum, times.values())):.1f} ms\n")
            print("| layer | forward ms | backward ms |\n|---|---|---|")
            for name, (forward, backward) in times.items():
                print(f"| {name} | {forward:.1f} | {backward:.1f} |")


def _profile(
    modules: Sequence[Module], x: Array, target: Array, parts: Sequence[slice]
) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each module in a step, forward and backward."""
    forward, backward = np.zeros((2, ROUNDS, len(modules)))
    for round_ in range(ROUNDS):
        for part in parts:
            y, loss = x[part], MSE()
            for i, module in enumerate(modules):
                start = time.perf_counter()
                y = module(y)
                forward[round_, i] += time.perf_counter() - start
            loss(y, target[part])
            grad = loss.backward()
            for i, module in reversed(list(enumerate(modules))):
                start = time.perf_counter()
                if i:
                    grad = module.backward(grad)
                else:
                    module.accumulate(grad)
                backward[round_, i] += time.perf_counter() - start
    medians = 1e3 * np.median(np.stack([forward, backward]), axis=1)  # (2, modules)
    return {
        f"{i} {type(module).__name__}": (float(medians[0, i]), float(medians[1, i])) for i, module in enumerate(modules)
    }


if __name__ == "__main__":
    main()
