"""Model: training, prediction, checkpoints and errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.errors import CheckpointError, ConfigError, N2NError, ShapeError, TrainingError
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, NearestUpsampling, PixelShuffle, PixelUnshuffle, ReLU, Sequential, Sigmoid
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.system.stopping import StopError

LAYERS: list[dict[str, Any]] = [
    {"type": "Conv2d", "in_channels": 3, "out_channels": 8, "kernel_size": 3, "stride": 2, "padding": 1},
    {"type": "ReLU"},
    {"type": "NearestUpsampling", "scale_factor": 2},
    {"type": "Conv2d", "in_channels": 8, "out_channels": 3, "kernel_size": 3, "padding": 1},
    {"type": "Sigmoid"},
]
TABLES: dict[str, Any] = {"network": {"channels": 3, "layers": LAYERS}, "data": {"size": 8}, "train": {"lr": 0.5}}


def small_config(**train: Any) -> Config:
    return Config.from_tables({**TABLES, "train": {**TABLES["train"], **train}}, "test")


def small_model(lr: float = 1.0) -> Model:
    rng = np.random.default_rng(0)
    network = Sequential(
        Conv2d(3, 8, 3, 2, 1, rng=rng), ReLU(), NearestUpsampling(2), Conv2d(8, 3, 3, 1, 1, rng=rng), Sigmoid()
    )
    return Model(network, SGD(network.param(), lr=lr), MSE())


def uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(size=shape).astype(np.float32)


def same_state(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def torch_twin(torch: Any) -> Any:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.UpsamplingNearest2d(scale_factor=2),
        torch.nn.Conv2d(8, 3, 3, 1, 1),
        torch.nn.Sigmoid(),
    )


# Training


def test_model_overfits_one_pair(rng: np.random.Generator) -> None:
    model = small_model(lr=5)
    x, target = uniform(rng, 1, 3, 4, 6), uniform(rng, 1, 3, 4, 6)
    losses = model.train(x, target, 1000)
    assert len(losses) == 1000
    assert losses[-1] < 0.02 * losses[0]
    assert np.mean(np.square(model.predict(x) - target)) == pytest.approx(losses[-1], rel=0.1)


def test_step_combines_loss_backward_and_optimizer(rng: np.random.Generator) -> None:
    model, other = small_model(lr=0.5), small_model(lr=0.5)
    noisy, target = uniform(rng, 3, 3, 6, 8), uniform(rng, 3, 3, 6, 8)
    for parameter, grad in other.network.param():
        grad.fill(1)  # left by an earlier step; must be cleared
        assert parameter.any()
    loss = other.step(noisy, target)
    assert loss == pytest.approx(model.criterion(model.network(noisy), target), rel=1e-6)
    model.optimizer.zero_grad()
    model.network.backward(model.criterion.backward())
    model.optimizer.step()
    for (ours, _), (wanted, _) in zip(other.network.param(), model.network.param(), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-6)


def test_loss_of_an_epoch_is_the_mean_over_its_pairs(rng: np.random.Generator) -> None:
    model = small_model(lr=1e-12)  # the weights hardly change
    noisy, target = uniform(rng, 5, 3, 4, 6), uniform(rng, 5, 3, 4, 6)
    target[0] = 7
    whole = model.criterion(model.network(noisy), target)
    assert model.train(noisy, target, 2, batch_size=2) == pytest.approx([whole, whole], rel=1e-6)


def test_every_epoch_uses_every_pair_once_in_its_own_order(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []

    def step(self: Model, noisy: Array, target: Array) -> float:
        assert np.array_equal(noisy + 100, target)
        seen.append(noisy[:, 0, 0, 0].tolist())
        return 0.0

    monkeypatch.setattr(Model, "step", step)
    noisy = np.broadcast_to(np.arange(7.0)[:, None, None, None], (7, 3, 4, 6))
    for _ in range(2):
        small_model().train(noisy, noisy + 100, 2, batch_size=3, rng=np.random.default_rng(3))
    assert [len(batch) for batch in seen] == 4 * [3, 3, 1]
    epochs = [seen[i] + seen[i + 1] + seen[i + 2] for i in range(0, 12, 3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[:2] == epochs[2:]  # the same generator gives the same order


def test_noisy_pairs_teach_the_clean_picture(rng: np.random.Generator) -> None:
    clean = np.broadcast_to(np.array([0.2, 0.5, 0.8], np.float32)[:, None, None], (64, 3, 8, 8))
    noisy, target = (clean + rng.normal(0, 0.1, clean.shape).astype(np.float32) for _ in range(2))
    model = small_model(lr=2)
    losses = model.train(noisy, target, 40, batch_size=16, rng=rng)
    error = float(np.mean(np.square(model.predict(noisy) - clean)))
    assert losses[-1] == pytest.approx(0.1**2, rel=0.1)  # the noise variance of the targets
    assert error < 0.1 * np.mean(np.square(noisy - clean))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_infinite_loss_keeps_the_weights(value: float, rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, 3, 3, 4, 6)
    before, target = model.network.state_dict(), x.copy()
    target[2, 1, 3, 5] = value
    with pytest.raises(TrainingError, match=f"^the loss is {value}$") as caught:
        model.step(x, target)
    assert caught.value.hint == "try a smaller learning rate"
    assert same_state(model.network.state_dict(), before)


def test_inputs_and_targets_of_different_shapes_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=r"inputs have shape \(2, 3, 4, 6\), the targets \(2, 3, 6, 4\)"):
        small_model().train(uniform(rng, 2, 3, 4, 6), uniform(rng, 2, 3, 6, 4), 1)


# Prediction


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (5, 7), (8, 6), (31, 257)])
@pytest.mark.parametrize("n", [1, 3])
def test_predict_any_number_of_pictures_of_any_size(n: int, size: Pair, rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, n, 3, *size)
    before = x.copy()
    y = model.predict(x)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert 0 < y.min() < y.max() < 1
    np.testing.assert_array_equal(x, before)
    for i in range(n):
        np.testing.assert_allclose(y[i], model.predict(x[i : i + 1])[0], atol=1e-6)


def test_predict_equals_the_network_s_output(rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, 2, 3, 6, 8)
    np.testing.assert_allclose(model.predict(x), model.network(x), atol=1e-6)


@pytest.mark.parametrize("shape", [(101, 3, 4, 6), (9, 3, 128, 127)])
def test_prediction_of_a_batch_equals_that_of_each_picture(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, *shape)
    y = model.predict(x)
    assert y.shape == x.shape
    for i in (0, -2, -1):
        np.testing.assert_allclose(y[i], model.predict(x[i][None])[0], atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
def test_prediction_of_empty_arrays_is_empty(shape: tuple[int, ...]) -> None:
    assert small_model().predict(np.zeros(shape, np.float32)).shape == shape


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (1, 1, 3, 5, 7)])
def test_array_with_other_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        small_model().predict(np.zeros(shape, np.float32))
    assert caught.value.message == f"`predict` got an array of shape {shape}, it needs (N, C, H, W)"


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^layer 0: Conv2d\(3, 8, .* got an input of shape \(1, 4, 6, 8\), it needs"):
        small_model().predict(np.zeros((1, 4, 6, 8), np.float32))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_of_a_network_without_a_configuration(channels: int, rng: np.random.Generator) -> None:
    conv = Conv2d(4 * channels, 4 * channels, 3, padding=1, rng=rng)
    network = Sequential(PixelUnshuffle(2), conv, PixelShuffle(2))
    assert Model(network, SGD(network.param()), MSE()).channels == channels


def test_model_has_channels_of_its_configuration() -> None:
    layers = [{"type": "Conv2d", "in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": 1}]
    config = Config.from_tables(TABLES | {"network": {"channels": 2, "layers": layers}}, "test")
    assert Model.from_config(config).channels == 2


def test_network_that_does_not_fit_images_is_refused(rng: np.random.Generator) -> None:
    for layer in (Conv2d(5, 5, 1, rng=rng), Conv2d(3, 3, 3, rng=rng)):
        network = Sequential(layer)
        with pytest.raises(ShapeError, match="takes no pictures of 1 to 4 channels"):
            Model(network, SGD(network.param()), MSE()).channels  # noqa: B018


def test_training_continues_after_predict(rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, 1, 3, 4, 6)
    model.predict(x)
    assert model.step(x, x) > model.step(x, x)


def test_results_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    models = [Model.from_config(small_config(), threads=threads) for threads in (1, 2, 3)]
    noisy, target = uniform(rng, 11, 3, 8, 8), uniform(rng, 11, 3, 8, 8)
    losses = [model.train(noisy, target, 3, batch_size=6, rng=np.random.default_rng(1)) for model in models]
    assert losses[0] == losses[1] == losses[2]
    assert all(same_state(models[0].network.state_dict(), model.network.state_dict()) for model in models)
    outputs = [model.predict(noisy) for model in models]
    assert all(np.array_equal(outputs[0], y) for y in outputs)


# Interruption and resuming


def test_stop_callback_is_called_before_each_micro_batch(rng: np.random.Generator) -> None:
    model, asked = small_model(), 0

    def ask() -> None:
        nonlocal asked
        asked += 1

    model.executor.between = ask
    model.step(uniform(rng, 3, 3, 4, 6), uniform(rng, 3, 3, 4, 6))
    assert asked == 3  # one micro-batch per image for so few images
    model.predict(uniform(rng, 2, 3, 4, 6))
    assert asked > 3


def test_interrupted_step_changes_nothing(rng: np.random.Generator) -> None:
    model = Model.from_config(small_config(optimizer="Adam", average=0.9), threads=2)
    other = Model.from_config(small_config(optimizer="Adam", average=0.9), threads=1)
    batches = [(uniform(rng, 9, 3, 4, 6), uniform(rng, 9, 3, 4, 6)) for _ in range(4)]
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise StopError

    for model_, batch in ((m, b) for b in batches[:3] for m in (model, other)):
        model_.step(*batch)
    model.executor.between = ask
    with pytest.raises(StopError):
        model.step(*batches[3])
    model.executor.between = lambda: None
    assert model.step(*batches[3]) == other.step(*batches[3])
    assert same_state(model.network.state_dict(), other.network.state_dict())
    assert model.average is not None
    assert other.average is not None
    assert same_state(model.average.weights, other.average.weights)


@pytest.mark.parametrize("keys", [{}, {"momentum": 0.9}, {"optimizer": "Adam", "average": 0.9}])
def test_is_finite_checks_everything_that_is_saved(keys: dict[str, Any]) -> None:
    model = Model.from_config(small_config(**keys))
    assert model.is_finite()
    kept = [array for arrays in model.optimizer.kept.values() for array in arrays]
    averaged = list(model.average.weights.values()) if model.average else []
    arrays = [*(parameter for parameter, _ in model.network.param()), *kept, *averaged]
    assert len(arrays) == 4 * (1 + len(model.optimizer.kept) + bool(averaged))
    for array in arrays:
        before = array.flat[-1]
        array.flat[-1] = math.inf
        assert not model.is_finite()
        array.flat[-1] = before
    assert model.is_finite()


@pytest.mark.parametrize("keys", [{}, {"momentum": 0.9}, {"optimizer": "Adam", "average": 0.9, "clip_norm": 0.1}])
def test_resumed_model_trains_as_the_saved_one(keys: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    model, other = (Model.from_config(small_config(seed=seed, **keys)) for seed in (1, 2))
    batches = [(uniform(rng, 4, 3, 8, 8), uniform(rng, 4, 3, 8, 8)) for _ in range(6)]
    for batch in batches[:3]:
        model.step(*batch)
    model.save(tmp_path / "a.pth", epoch=4)
    assert other.resume(tmp_path / "a.pth") == other.facts == {"epoch": 4}
    for batch in batches[3:]:
        assert model.step(*batch) == other.step(*batch)
    model.save(tmp_path / "a.pth")
    other.save(tmp_path / "b.pth")
    trees = [read_checkpoint(tmp_path / name) for name in ("a.pth", "b.pth")]
    assert (
        trees[0].keys()
        == trees[1].keys()
        == {"model", "optimizer", "config"} | ({"own_weights", "averaged_steps"} if "average" in keys else set())
    )
    for tree in trees:
        del tree["config"]  # it contains the seed
    write_checkpoint(tmp_path / "a.pth", trees[0])
    write_checkpoint(tmp_path / "b.pth", trees[1])
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": None}, "cannot be resumed: it holds no `optimizer`"),
        ({"model": [1], "averaged_steps": 3}, "cannot be resumed: it holds no `model`"),
        ({"own_weights": 3.5}, "cannot be resumed: it holds no `own_weights`"),
        ({"own_weights": {"0.weight": 3}}, "holds no state dict: a table of names and tensors"),
        ({"own_weights": {"0.weight": np.zeros(3, np.float32)}}, "`0.bias` is missing"),
        ({"averaged_steps": -1}, "the averaged weights do not fit the network: `updates` is -1"),
        ({"averaged_steps": "3"}, "`updates` is '3'"),
        ({"optimizer": {"lr": "fast"}}, "the optimiser's state does not fit Adam"),
        ({"optimizer": {}}, "`lr` is missing"),
    ],
)
def test_invalid_checkpoint_is_refused(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    model, path = Model.from_config(small_config(optimizer="Adam", average=0.9)), tmp_path / "a.pth"
    model.save(path)
    write_checkpoint(path, read_checkpoint(path) | wrong)
    with pytest.raises(CheckpointError) as caught:
        model.resume(path)
    assert caught.value.message.startswith(f"`{path}`")
    assert message in caught.value.message
    assert caught.value.hint


# Files


def test_save_and_load_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = small_model(lr=0.25), uniform(rng, 2, 3, 5, 7)
    model.train(uniform(rng, 4, 3, 4, 6), uniform(rng, 4, 3, 4, 6), 2)
    model.save(tmp_path / "a.pth")
    other = small_model(lr=3)
    other.load(tmp_path / "a.pth")
    assert same_state(model.network.state_dict(), other.network.state_dict())
    assert other.optimizer.lr == 0.25
    np.testing.assert_array_equal(model.predict(x), other.predict(x))
    other.save(tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_facts_are_those_of_the_last_loaded_file(tmp_path: Path) -> None:
    model = small_model()
    model.save(tmp_path / "a.pth", epoch=4)
    write_checkpoint(tmp_path / "b.pth", model.network.state_dict())
    assert model.facts == {}
    model.load(tmp_path / "a.pth")
    assert model.facts == {"epoch": 4}
    model.load(tmp_path / "b.pth")
    assert model.facts == {}


def test_model_of_a_network_has_no_configuration() -> None:
    with pytest.raises(ConfigError) as caught:
        small_model().config  # noqa: B018
    assert caught.value.message == "this model has no configuration: it was built from a network"
    assert caught.value.hint
    assert Model.from_config(small_config(seed=5)).config == small_config(seed=5)


def test_model_from_a_checkpoint_predicts_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = Model.from_config(small_config(seed=5)), uniform(rng, 2, 3, 5, 7)
    model.train(uniform(rng, 4, 3, 8, 8), uniform(rng, 4, 3, 8, 8), 1)
    model.save(tmp_path / "a.pth", epoch=4, psnr=21.5)
    other = Model.from_checkpoint(tmp_path / "a.pth")
    assert other.facts == {"epoch": 4, "psnr": 21.5}
    assert other.config.tables() == small_config(seed=5).tables()
    assert type(other.criterion) is MSE
    assert type(other.optimizer) is SGD
    assert other.optimizer.lr == 0.5
    np.testing.assert_array_equal(model.predict(x), other.predict(x))
    tree = read_checkpoint(tmp_path / "a.pth")
    assert (tree["epoch"], tree["psnr"]) == (4, 21.5)


def test_weights_depend_on_the_seed() -> None:
    states = [Model.from_config(small_config(seed=seed)).network.state_dict() for seed in (1, 1, 2)]
    assert same_state(states[0], states[1])
    assert not any(np.array_equal(states[0][name], states[2][name]) for name in states[0])


def test_weights_alone_need_a_configuration(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, 1, 3, 5, 7)
    path = tmp_path / "weights.pth"
    write_checkpoint(path, model.network.state_dict())
    with pytest.raises(CheckpointError) as caught:
        Model.from_checkpoint(path)
    assert caught.value.message == f"`{path}` holds weights but not the network they belong to"
    assert caught.value.hint == "name its configuration: `--config ee559`"
    other = Model.from_checkpoint(path, small_config())
    np.testing.assert_array_equal(model.predict(x), other.predict(x))


def test_weights_of_a_wrapped_network_are_found(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = small_model(), uniform(rng, 1, 3, 5, 7)
    path = tmp_path / "lightning.ckpt"
    state = {f"model.net.{name}": value for name, value in model.network.state_dict().items()}
    write_checkpoint(path, {"epoch": 3, "state_dict": state})
    other = Model.from_checkpoint(path, small_config())
    np.testing.assert_array_equal(model.predict(x), other.predict(x))


def test_hint_names_the_given_configuration(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write_checkpoint(path, {"0.weight": np.ones(1)})
    with pytest.raises(CheckpointError) as caught:
        Model.from_checkpoint(path, small_config())
    assert "do not fit the network" in caught.value.message
    assert caught.value.hint == "`test` describes another network; `n2n info test` shows it"


def test_weights_that_do_not_fit_are_refused_whole(tmp_path: Path) -> None:
    path, model = tmp_path / "a.pth", small_model()
    before = model.network.state_dict()
    state = {**model.network.state_dict(), "3.bias": np.zeros(4, np.float32), "9.weight": np.zeros(2, np.float32)}
    del state["0.bias"]
    write_checkpoint(path, {"model": state, "optimizer": {"lr": 7.0}})
    with pytest.raises(CheckpointError) as caught:
        model.load(path)
    for part in (f"`{path}`", "`0.bias` is missing", "`9.weight` is unexpected", "`3.bias` has shape (4,)", "(3,)"):
        assert part in caught.value.message
    assert same_state(model.network.state_dict(), before)
    assert model.optimizer.lr == 1


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for use in (Model.from_checkpoint, small_model().load):
        with pytest.raises(CheckpointError, match=f"^there is no checkpoint `{tmp_path / 'a.pth'}`$"):
            use(tmp_path / "a.pth")
    (tmp_path / "file").touch()
    for folder in ("nowhere", "file"):
        with pytest.raises(CheckpointError, match=f"^`{tmp_path / folder / 'a.pth'}` cannot be written: ") as caught:
            small_model().save(tmp_path / folder / "a.pth")
        assert caught.value.hint == "check that its folder exists, is writable and has space left"


@pytest.mark.torch
def test_model_from_a_state_dict_of_pytorch(torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    twin, path, x = torch_twin(torch), tmp_path / "torch.pth", uniform(rng, 2, 3, 6, 8)
    for tree in (twin.state_dict(), {"model": twin.state_dict(), "epoch": 3}):
        torch.save(tree, path)
        got = Model.from_checkpoint(path, small_config()).predict(x)
        np.testing.assert_allclose(got, twin(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


@pytest.mark.torch
def test_pytorch_loads_a_checkpoint_of_n2n(torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = Model.from_config(small_config()), uniform(rng, 2, 3, 6, 8)
    model.train(uniform(rng, 4, 3, 8, 8), uniform(rng, 4, 3, 8, 8), 1)
    model.save(tmp_path / "ours.pth", epoch=1)
    twin = torch_twin(torch)
    twin.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True)["model"])
    np.testing.assert_allclose(model.predict(x), twin(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epochs": -1}, "`num_epochs` is -1, it must be a whole number of at least 0"),
        ({"num_epochs": 1.5}, "`num_epochs` is 1.5, it must be a whole number of at least 0"),
        ({"batch_size": 0}, "`batch_size` is 0, it must be a whole number of at least 1"),
        ({"batch_size": -1}, "`batch_size` is -1, it must be a whole number of at least 1"),
        ({"shape": (0, 3, 8, 8)}, "there is no pair to learn from: the arrays are empty"),
        ({"shape": ()}, "`train` got arrays of shape (), it needs (N, C, H, W)"),
    ],
)
def test_invalid_arguments_of_train_are_refused(changes: dict[str, Any], message: str) -> None:
    model = small_model()
    pairs = np.zeros(changes.pop("shape", (2, 3, 8, 8)), np.float32)
    with pytest.raises(N2NError) as caught:
        model.train(pairs, pairs, **{"num_epochs": 1, **changes})
    assert caught.value.message == message


def test_zero_epochs_change_nothing() -> None:
    model = small_model()
    before = {name: values.copy() for name, values in model.network.state_dict().items()}
    pairs = np.zeros((2, 3, 8, 8), np.float32)
    assert model.train(pairs, pairs, 0) == []
    assert all(np.array_equal(before[name], values) for name, values in model.network.state_dict().items())


def test_self_ensemble_is_the_mean_over_flips_and_rotations(rng: np.random.Generator) -> None:
    model, x = Model.from_config(small_config()), uniform(rng, 2, 3, 8, 12)
    single = model.predict(x)
    views = [np.flip(model.predict(np.ascontiguousarray(np.flip(x, axes))), axes) for axes in ((), (2,), (3,), (2, 3))]
    x_across = np.ascontiguousarray(x.swapaxes(2, 3))
    views += [
        np.flip(model.predict(np.ascontiguousarray(np.flip(x_across, axes))), axes).swapaxes(2, 3)
        for axes in ((), (2,), (3,), (2, 3))
    ]
    model.predict_as_ensemble()
    np.testing.assert_allclose(model.predict(x), np.mean(views, axis=0), atol=1e-6)
    assert np.abs(model.predict(x) - single).max() > 1e-3
    model.step(x, x)
    np.testing.assert_array_equal(model.predict(x[:1]), model.predict(x)[:1])
