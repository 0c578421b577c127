"""Registered layers and losses of a user, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli import nn
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.registering import RegistrationError
from n2n_cli.nn.spec import SpecError, build
from tests.registries import restored


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with restored():
        yield


class Scale(nn.Module):
    """Multiplies each channel by a learned factor."""

    def __init__(
        self, channels: int, start: float = 1, *, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__()
        arguments.integer("channels", channels, 1)
        if start == 0:
            raise ZeroDivisionError("start\nis 0")
        self.factor = nn.Parameter((start * rng.uniform(0.9, 1.1, size=(channels, 1, 1))).astype(dtype))

    def forward(self, x: Array) -> Array:
        return self.keep(x) * self.factor.data


class Drawless(nn.Module):
    """Layer that takes `dtype` but no `rng`."""

    def __init__(self, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.shift = nn.Parameter(np.zeros(1, dtype))

    def forward(self, x: Array) -> Array:
        return x + self.shift.data


class Twice(nn.Sequential):
    """Apply the modules twice."""

    def forward(self, x: Array) -> Array:
        return super().forward(super().forward(x))


class Cubic(nn.Loss):
    """mean(|prediction - target|^3)."""

    def forward(self, prediction: Array, target: Array) -> float:
        return float(np.mean(np.abs(prediction - target) ** 3))

    def backward(self) -> Array:
        raise AssertionError("not called")


def test_a_layer_is_built_from_its_table() -> None:
    assert nn.register_layer(Scale) is Scale
    nn.register_layer(Drawless)
    specs: list[dict[str, Any]] = [{"type": "Scale", "channels": 3, "start": 2}, {"type": "Drawless"}]
    network, again = (build(specs, rng=np.random.default_rng(5), dtype=np.float64) for _ in range(2))
    assert [type(layer) for layer in network] == [Scale, Drawless]
    weights = network.state_dict()
    assert {name: values.dtype for name, values in weights.items()} == {"0.factor": np.float64, "1.shift": np.float64}
    assert 1.8 <= weights["0.factor"].min() < weights["0.factor"].max() <= 2.2
    np.testing.assert_array_equal(weights["0.factor"], again.state_dict()["0.factor"])


def test_layer_that_takes_modules_is_a_container() -> None:
    nn.register_layer(Twice)
    network = build([{"type": "Twice", "layers": [{"type": "NearestUpsampling"}]}])
    assert network.forward(np.ones((1, 1, 2, 3), np.float32)).shape == (1, 1, 8, 12)


@pytest.mark.parametrize(
    ("spec", "key", "message", "hint"),
    [
        ({"type": "scale"}, "type", "there is no layer of type 'scale'", "did you mean `Scale`?"),
        ({"type": "Scale"}, "channels", "Scale needs the argument `channels`", None),
        (
            {"type": "Scale", "channels": 3, "begin": 1},
            "begin",
            "Scale has no argument `begin`",
            "known: `channels`, `start`",
        ),
        ({"type": "Scale", "channels": 0}, "channels", "0 is not a whole number of at least 1", None),
        (
            {"type": "Scale", "channels": 3, "rng": 1},
            "rng",
            "Scale has no argument `rng`",
            "known: `channels`, `start`",
        ),
        ({"type": "Drawless", "dtype": 1}, "dtype", "Drawless has no argument `dtype`", "Drawless takes no arguments"),
        (
            {"type": "Scale", "channels": 3, "start": 0},
            None,
            "Scale cannot be created: ZeroDivisionError: start\\nis 0",
            None,
        ),
    ],
)
def test_wrong_table_of_a_registered_layer_is_refused(
    spec: dict[str, Any], key: str | None, message: str, hint: str | None
) -> None:
    nn.register_layer(Scale)
    nn.register_layer(Drawless)
    with pytest.raises(SpecError) as caught:
        build([{"type": "ReLU"}, spec])
    assert (caught.value.position, caught.value.key) == (1, key)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_loss_is_known_by_its_name() -> None:
    assert nn.register_loss(Cubic) is Cubic
    assert LOSSES["Cubic"]()(np.zeros(2), np.full(2, 2.0)) == 8


def refused(register: Any, cls: Any) -> tuple[str, str | None]:
    """Message and hint of the refusal."""
    with pytest.raises(RegistrationError) as caught:
        register(cls)
    return caught.value.message, caught.value.hint


def test_taken_name_is_refused() -> None:
    for register, kind, cls in (
        (nn.register_layer, "layer", type("ReLU", (Scale,), {})),
        (nn.register_loss, "loss", type("MSE", (Cubic,), {})),
    ):
        name = cls.__name__
        message = f"the name `{name}` is taken: there is a {kind} `{name}` already"
        assert refused(register, cls) == (message, f"rename `{name}`")
    nn.register_layer(Scale)
    assert refused(nn.register_layer, Scale)[0].startswith("the name `Scale` is taken")


def test_unsuitable_classes_are_refused() -> None:
    class Nothing(nn.Module):
        pass

    class OneWay(nn.Loss):
        def forward(self, prediction: Array, target: Array) -> float:
            return 0.0

    class Weighted(Cubic):
        def __init__(self, weight: float) -> None:
            super().__init__()

    assert refused(nn.register_layer, Nothing) == ("the layer `Nothing` has no method `forward`", None)
    assert refused(nn.register_loss, OneWay) == ("the loss `OneWay` has no method `backward`", None)
    assert re.match(
        "the loss `Weighted` has a constructor that needs arguments", refused(nn.register_loss, Weighted)[0]
    )
    for cls, name in ((Cubic, "Cubic"), (3, "3"), (Scale(2, rng=np.random.default_rng(0)), "Scale()")):
        message = f"`{name}` cannot be registered as a layer: it is not a subclass of `Module`"
        assert refused(nn.register_layer, cls) == (message, None)
    assert refused(nn.register_loss, Scale)[0]
