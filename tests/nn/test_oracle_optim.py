"""Compare optimisers, schedules, losses and initialisation with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli.nn.init import he_normal
from n2n_cli.nn.losses import L1, MSE, Loss
from n2n_cli.nn.optim import OPTIMIZERS, clip_gradient_norm
from n2n_cli.nn.schedules import Cosine, OneCycle, Schedule, Step

pytestmark = pytest.mark.torch

SHAPES = ((4, 3, 2, 5), (4,), (7, 2))


def step_both(
    torch: Any, name: str, arguments: dict[str, Any], dtype: DTypeLike, rng: np.random.Generator
) -> list[tuple[Any, Any]]:
    """Parameters and optimiser state after twelve steps, from n2n and from PyTorch."""
    params = [(rng.normal(size=shape).astype(dtype), np.zeros(shape, dtype)) for shape in SHAPES]
    others = [torch.nn.Parameter(torch.from_numpy(parameter.copy())) for parameter, _ in params]
    optimizer = OPTIMIZERS[name](params, **arguments)
    other = getattr(torch.optim, name)(others, **arguments)
    for step in range(12):
        if step == 8:
            optimizer.lr = other.param_groups[0]["lr"] = 0.3 * optimizer.lr
        for (_, grad), twin in zip(params, others, strict=True):
            grad[...] = rng.normal(size=grad.shape) * 10 ** rng.uniform(-6, 2)
            twin.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        other.step()
    pairs = [(ours, theirs.detach()) for (ours, _), theirs in zip(params, others, strict=True)]
    for key, arrays in optimizer.kept.items():
        pairs += [(ours, other.state[theirs][key]) for ours, theirs in zip(arrays, others, strict=True)]
    return pairs


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("SGD", {"lr": 0.1, "momentum": 0.7, "dampening": 0.4, "weight_decay": 0.2}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
        ("Adam", {}),
        ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
        ("Adam", {"lr": 0.1, "weight_decay": 0.2}),
        ("Adam", {"betas": (0.0, 0.0)}),
        ("AdamW", {}),
        ("AdamW", {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-4, "weight_decay": 0.3}),
    ],
    ids=str,
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_twelve_optimizer_steps_match_pytorch(
    torch: Any, name: str, arguments: dict[str, Any], dtype: DTypeLike, tolerance: float, rng: np.random.Generator
) -> None:
    for ours, theirs in step_both(torch, name, arguments, dtype, rng):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=tolerance, atol=tolerance * np.abs(ours).max())


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e4])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_gradient_clipping_matches_pytorch(
    torch: Any, max_norm: float, dtype: DTypeLike, rtol: float, rng: np.random.Generator
) -> None:
    grads = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
    others = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for twin, grad in zip(others, grads, strict=True):
        twin.data = twin.grad = torch.from_numpy(grad.copy())
    norm = torch.nn.utils.clip_grad_norm_(others, max_norm)
    assert clip_gradient_norm([(grad, grad) for grad in grads], max_norm) == pytest.approx(norm.item(), rel=rtol)
    for grad, twin in zip(grads, others, strict=True):
        np.testing.assert_allclose(grad, twin.grad.numpy(), rtol=rtol)


def rates(torch: Any, make: Callable[[Any], Any], total: int) -> list[float]:
    """PyTorch's learning rate at every step of a training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler, got = make(optimizer), []
    for _ in range(total):
        got.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return got


@pytest.mark.parametrize("total", [1, 2, 7, 40])
@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize(
    ("schedule", "name", "arguments"),
    [
        (Step, "StepLR", lambda total: {"step_size": 3, "gamma": 0.4}),
        (Cosine, "CosineAnnealingLR", lambda total: {"T_max": total, "eta_min": 0.5 * 0.1}),
    ],
)
def test_schedules_after_a_warm_up(
    torch: Any,
    schedule: type[Schedule],
    name: str,
    arguments: Callable[[int], dict[str, Any]],
    warmup: int,
    total: int,
) -> None:
    kinds = torch.optim.lr_scheduler

    def make(optimizer: Any) -> Any:
        if not warmup:
            return getattr(kinds, name)(optimizer, **arguments(total))
        rise = kinds.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        fall = getattr(kinds, name)(optimizer, **arguments(total))
        return kinds.SequentialLR(optimizer, [rise, fall], [warmup])

    given: dict[str, Any] = {"every": 3, "factor": 0.4} if schedule is Step else {"floor": 0.1}
    ours, length = schedule(warmup=warmup, **given), warmup + total
    got = [ours.lr(0.5, step, length) for step in range(length)]
    np.testing.assert_allclose(got, rates(torch, make, length), rtol=1e-12)


@pytest.mark.parametrize("total", [1, 2, 5, 30, 77])
@pytest.mark.parametrize(
    "arguments", [{}, {"pct_start": 0.45, "div_factor": 7.0, "final_div_factor": 30.0}, {"pct_start": 0.0}], ids=str
)
def test_one_cycle_matches_pytorch(torch: Any, arguments: dict[str, float], total: int) -> None:
    wanted = rates(
        torch,
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.5, total_steps=total, cycle_momentum=False, **arguments
        ),
        total,
    )
    schedule = OneCycle(**arguments)  # type: ignore[arg-type]
    np.testing.assert_allclose([schedule.lr(0.5, step, total) for step in range(total)], wanted, rtol=1e-9)


@pytest.mark.parametrize(("kind", "name"), [(MSE, "MSELoss"), (L1, "L1Loss")])
def test_losses_match_pytorch(torch: Any, kind: type[Loss], name: str, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    target[0, 0, 0] = prediction[0, 0, 0]  # the kink of L1
    loss, twin = kind(), torch.from_numpy(prediction).requires_grad_()
    other = getattr(torch.nn, name)()(twin, torch.from_numpy(target))
    other.backward()
    assert loss(prediction, target) == pytest.approx(other.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), twin.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("slope", [0, 0.3, 1])
def test_he_normal_has_the_distribution_of_pytorch(torch: Any, slope: float, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    theirs = torch.empty(4000, 2, 3, 5, dtype=torch.float64)
    torch.nn.init.kaiming_normal_(theirs, a=slope, nonlinearity="leaky_relu")
    ours = he_normal((4000, 2, 3, 5), 2 * 3 * 5, slope=slope, rng=rng, dtype=np.float64)
    assert np.std(ours) == pytest.approx(theirs.std().item(), rel=0.01)
    places = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(ours, places), np.quantile(theirs.numpy(), places), atol=0.02 * ours.std())
