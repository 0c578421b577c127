"""Configurations: TOML, overrides, range checks and their messages."""

from __future__ import annotations

import datetime
import math
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.config import (
    Config,
    DataConfig,
    NetworkConfig,
    TrainConfig,
    load_config,
    parse_assignment,
    shipped_configs,
)
from n2n_cli.config.reading import MAX_BYTES
from n2n_cli.errors import ConfigError
from n2n_cli.nn.schedules import Constant, Cosine, Step
from tests.nn.cases import some_examples
from tests.nn.founding import founding
from tests.system.test_atomic_files import open_folder, without_privileges

CONV = {"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1}
UP = {"type": "NearestUpsampling", "scale_factor": 2}
SMALL = '[network]\nlayers = [{ type = "ReLU" }]\n'


def refused(origin: str, call: Any, *args: Any) -> ConfigError:
    """Return the error of a call: one line that begins with the origin of the value."""
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert caught.value.message.startswith(f"`{origin}`")
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def override(name: str, value: Any) -> ConfigError:
    return refused("--set x", load_config("default").override, name, value, "--set x")


def layers(*specs: dict[str, Any]) -> ConfigError:
    return override("network.layers", list(specs))


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "my.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# Shipped configurations


def test_founding_task_is_shipped() -> None:
    config = load_config("ee559")
    assert config.train == TrainConfig(epochs=10, batch_size=100, optimizer="SGD", lr=1.0, loss="MSE", seed=0)
    assert config.data == DataConfig("dead-leaves", 32, 50_000, 1000, "pixelate:8", redraw=False)
    network = config.network.build(rng=np.random.default_rng(0))
    assert repr(network) == repr(founding(np.random.default_rng(0)))
    assert config.network.channels == 3


def test_default_is_the_founding_network_with_gaussian_noise() -> None:
    config, ee559 = load_config("default"), load_config("ee559")
    assert (config.network, config.train) == (ee559.network, ee559.train)
    assert config.data == DataConfig("dead-leaves", 32, 50_000, 1000, "gaussian:25", redraw=True)


def test_configuration_is_found_by_name_with_or_without_suffix_and_by_path() -> None:
    path = shipped_configs()["ee559"]
    assert load_config("ee559") == load_config("ee559.toml") == load_config(str(path))
    assert load_config("ee559").origin == "ee559"


def test_file_in_the_working_directory_precedes_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("default.toml").write_text(SMALL)
    Path("ee559").mkdir()
    assert load_config("default.toml").network.layers == ({"type": "ReLU"},)
    assert load_config("ee559").data.noise == "pixelate:8"


# Unreadable files


@pytest.mark.parametrize("name", ["defualt", "./default", "no/such.toml"])
def test_missing_file_is_refused_with_the_shipped_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert caught.value.message == f"there is no configuration `{name}`"
    assert caught.value.hint == "shipped: default, ee559, ee559-adam, ee559-best, movie, photo, unet, unet-small"


def test_hint_for_a_folder_names_the_configuration_in_it(tmp_path: Path) -> None:
    error = refused(str(tmp_path), load_config, str(tmp_path))
    assert error.message.endswith("is a folder, not a configuration")
    assert error.hint == f"perhaps `{tmp_path / 'config.toml'}`"


@pytest.mark.parametrize("name", ["x" * 300, "my.toml/x"])
def test_invalid_path_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, SMALL)
    assert "cannot be read: " in refused(name, load_config, name).message


def test_file_without_permission_is_refused() -> None:
    with open_folder() as folder:
        path = written(folder, SMALL)
        Path(path).chmod(0)
        with without_privileges():
            assert refused(path, load_config, path).message.endswith("cannot be read: Permission denied")


def test_file_size_has_a_limit(tmp_path: Path) -> None:
    text = SMALL + "#" * (MAX_BYTES - len(SMALL))
    assert load_config(written(tmp_path, text)).network.layers == ({"type": "ReLU"},)
    path = written(tmp_path, text + "#")
    assert refused(path, load_config, path).message.endswith("is too long: a configuration has at most 1,000,000 bytes")


@pytest.mark.parametrize(
    "content",
    [b"[train]\nlr = ", b"[train]\nlr = 1\nlr = 2", b"\x89PNG\r\n"],
    ids=["truncated", "key twice", "picture"],
)
def test_file_that_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    assert "is not TOML: " in refused(path, load_config, path).message


def test_number_of_parts_of_a_key_has_a_limit(tmp_path: Path) -> None:
    path = written(tmp_path, ".".join(["a"] * 20_000) + " = 1\n")
    assert refused(path, load_config, path).message.endswith(" has a key of more than 200 parts")
    many = SMALL + "#" + ", ".join(["0.5"] * 1000)
    assert load_config(written(tmp_path, many)).network.layers == ({"type": "ReLU"},)


# Keys


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("[trian]\n", "trian", "did you mean `train`?"),
        ("lr = 1\n", "lr", "known: `network`, `data`, `train`, `schedule`"),
        ("[train]\nepoch = 3\n", "train.epoch", "did you mean `train.epochs`?"),
        ("[data]\nvalidation-pairs = 3\n", "data.validation-pairs", "did you mean `data.validation_pairs`?"),
        ("[network]\norigin = 'x'\n", "network.origin", None),
        ("[train.lr]\nvalue = 1\n", None, None),
    ],
)
def test_hint_for_an_unknown_key_suggests_the_nearest(
    text: str, name: str | None, hint: str | None, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    error = refused(path, load_config, path)
    if name is None:
        assert error.message.endswith('`train.lr` is {"value": 1}, it must be a number above 0 and at most 1000')
    else:
        assert error.message == f"`{path}`: unknown key `{name}`"
    assert hint is None or error.hint == hint


@pytest.mark.parametrize("name", ["", "train", "network.layers.0.type", "origin", "train.Lr", " train.lr", "x.lr"])
def test_override_of_an_unknown_key_is_refused(name: str) -> None:
    error = override(name, 1)
    assert error.message == f"`--set x`: unknown key `{name}`"
    assert error.hint is not None
    if name:
        assert error.hint.startswith(("did you mean `", "known: `network.channels`, `network.layers`, `network.init`"))


def test_section_must_be_a_table(tmp_path: Path) -> None:
    for text, shown in (("train = 3\n", "3"), ("[[train]]\nlr = 1\n", '[{"lr": 1}]')):
        path = written(tmp_path, text)
        message = refused(path, load_config, path).message
        assert message == f"`{path}`: `train` is {shown}, it must be a table: `[train]`"


def test_tables_of_a_foreign_checkpoint_are_refused_in_one_line() -> None:
    for tables in ({3: 1}, {"train": {3: 1}}, {"train": np.zeros(30)}, {"train": {"loss": np.zeros(30)}}):
        refused("x.pth", Config.from_tables, tables, "x.pth")
    message = refused("x.pth", Config.from_tables, {"train": {"loss": np.zeros(2)}}, "x.pth").message
    assert message == '`x.pth`: `train.loss` is "[0. 0.]", it must be one of "MSE", "L1"'


WRONG: list[tuple[str, Any, str, str]] = [
    *(
        ("train.epochs", value, shown, "a whole number from 1 to 1,000,000")
        for value, shown in (
            (0, "0"),
            (-1, "-1"),
            (1_000_001, "1000001"),
            (2.0, "2.0"),
            (True, "true"),
            ("3", '"3"'),
            ([3], "[3]"),
            (math.nan, "NaN"),
            (10**100, f"1{'0' * 76}..."),
        )
    ),
    *(
        ("train.lr", value, shown, "a number above 0 and at most 1000")
        for value, shown in (
            (0, "0"),
            (0.0, "0.0"),
            (-0.5, "-0.5"),
            (1000.1, "1000.1"),
            (math.nan, "NaN"),
            (math.inf, "Infinity"),
            (-math.inf, "-Infinity"),
            (True, "true"),
            ("fast", '"fast"'),
            (datetime.date(1979, 5, 27), '"1979-05-27"'),
        )
    ),
    ("train.batch_size", 0, "0", "a whole number from 1 to 100,000"),
    ("train.batch_size", 100_001, "100001", "a whole number from 1 to 100,000"),
    ("train.seed", -1, "-1", "a whole number from 0 to 9,223,372,036,854,775,807"),
    ("train.seed", 2**63, "9223372036854775808", "a whole number from 0 to 9,223,372,036,854,775,807"),
    ("train.optimizer", "Sgd", '"Sgd"', 'one of "SGD", "Adam", "AdamW", "Muon"'),
    ("train.optimizer", ["SGD"], '["SGD"]', 'one of "SGD", "Adam", "AdamW", "Muon"'),
    ("train.loss", 3, "3", 'one of "MSE", "L1"'),
    *(
        ("train.betas", value, shown, "two numbers, each from 0 to below 1")
        for value, shown in ((0.9, "0.9"), ([0.9], "[0.9]"), ([0.9, 1], "[0.9, 1]"), ([-0.1, 0.9], "[-0.1, 0.9]"))
    ),
    ("train.momentum", 1, "1", "a number from 0 to below 1"),
    ("train.momentum", True, "true", "a number from 0 to below 1"),
    ("train.average", math.nan, "NaN", "a number from 0 to below 1"),
    ("train.clip_norm", -1, "-1", "a number from 0 to below 1e+09"),
    ("train.weight_decay", "x", '"x"', "a number from 0 to below 10"),
    ("network.init", "He", '"He"', 'one of "uniform", "he"'),
    ("data.augment", 1, "1", "true or false"),
    ("data.recrop", "no", '"no"', "true or false"),
    ("data.recolour", 2, "2", "true or false"),
    ("data.gray", 1, "1", "a number from 0 to below 1"),
    ("data.shrink", 0, "0", "a number above 0 and at most 1"),
    ("data.shrink", 1.5, "1.5", "a number above 0 and at most 1"),
    ("network.channels", 0, "0", "a whole number from 1 to 96"),
    ("network.channels", 97, "97", "a whole number from 1 to 96"),
    ("data.frames", 2, "2", "an odd number from 1 to 31"),
    ("data.frames", 33, "33", "an odd number from 1 to 31"),
    ("data.frame_gap", 0, "0", "a whole number from 1 to 1,000"),
    ("data.axes", "T-YX", '"T-YX"', 'letters such as "TZCYX", or empty'),
    ("data.size", 3, "3", "a whole number from 4 to 1,024"),
    ("data.size", 1025, "1025", "a whole number from 4 to 1,024"),
    ("data.pairs", 0, "0", "a whole number from 1 to 100,000,000"),
    ("data.pairs", 100_000_001, "100000001", "a whole number from 1 to 100,000,000"),
    ("data.validation_pairs", 0, "0", "a whole number from 1 to 1,000,000"),
    ("data.validation_pairs", 1_000_001, "1000001", "a whole number from 1 to 1,000,000"),
    ("data.redraw", 1, "1", "true or false"),
    ("data.redraw", "true", '"true"', "true or false"),
    *(
        (
            "data.source",
            value,
            shown,
            '"dead-leaves", or the path of a folder of pictures or of a pair file, as UTF-8 text',
        )
        for value, shown in ((3, "3"), ("", '""'), ("a\0b", '"a\\u0000b"'), ("a\udcff", '"a\\udcff"'))
    ),
    *(
        ("network.layers", value, shown, "a list of tables, one per layer, each with a `type`")
        for value, shown in (([], "[]"), ("ReLU", '"ReLU"'), (["ReLU"], '["ReLU"]'), ({"type": "x"}, '{"type": "x"}'))
    ),
]


@pytest.mark.parametrize(("name", "value", "shown", "needed"), WRONG)
def test_value_out_of_range_is_refused_with_the_range(name: str, value: Any, shown: str, needed: str) -> None:
    assert override(name, value).message == f"`--set x`: `{name}` is {shown}, it must be {needed}"


def test_very_long_number_is_not_shown() -> None:
    message = override(*parse_assignment("train.epochs=0x" + "f" * 4000)).message
    needed = "a whole number from 1 to 1,000,000"
    assert message == f"`--set x`: `train.epochs` is a number of too many digits, it must be {needed}"


@pytest.mark.parametrize("value", [25, "gauss:3", ""])
def test_invalid_noise_is_refused_with_examples(value: Any) -> None:
    assert "it must be a noise model and its strength, as `gaussian:25`, " in override("data.noise", value).message
    if value:
        assert "it must be a noise model and its strength" in override("data.target_noise", value).message


@pytest.mark.parametrize(
    ("value", "needed"),
    [
        ("gaussian", "`gaussian:25`, from 0 to 255 grey levels"),
        ("gaussian:-1", "`gaussian:25`, from 0 to 255 grey levels"),
        ("gaussian:50-0", "`gaussian:25`, from 0 to 255 grey levels"),
        ("pixelate:2.5", "`pixelate:8`, a whole number from 2 to 64 pixels"),
    ],
)
def test_noise_strength_out_of_range_is_refused_with_the_range(value: str, needed: str) -> None:
    error = override("data.noise", value)
    assert error.message == f'`--set x`: `data.noise` is "{value}", it must be {needed}'


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("train.epochs", 1, 1_000_000),
        ("train.batch_size", 1, 100_000),
        ("train.lr", 1e-300, 1000),
        ("train.seed", 0, 2**63 - 1),
        ("data.size", 4, 1024),
        ("data.pairs", 1, 100_000_000),
        ("data.validation_pairs", 1, 1_000_000),
    ],
)
def test_range_includes_its_ends(name: str, lowest: float, highest: float) -> None:
    for value in (lowest, highest):
        section, key = name.split(".")
        tables = load_config("default").override(name, value, "--set").tables()
        assert tables[section][key] == value


def test_integer_is_accepted_as_a_float() -> None:
    assert repr(load_config("default").override("train.lr", 2, "--lr").train.lr) == "2.0"


# Dependent keys


def test_schedule_and_its_arguments_are_read_and_overridden(tmp_path: Path) -> None:
    text = SMALL + '[schedule]\nname = "cosine"\nwarmup = 5\n'
    config = load_config(written(tmp_path, text))
    assert config.schedule == Cosine(warmup=5)
    assert config.tables()["schedule"] == {"name": "cosine", "warmup": 5, "by": "step", "floor": 0.0}
    assert config.override("schedule.floor", 0.5, "--set").schedule == Cosine(warmup=5, floor=0.5)
    step = config.override_all([("schedule.name", "step", "--set a"), ("schedule.every", 3, "--set b")])
    assert step.schedule == Step(every=3)
    assert load_config("default").schedule == Constant()


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("schedule.name", "cosin", "`schedule.name`: there is no schedule 'cosin'", "did you mean `cosine`?"),
        ("schedule.name", "step", '`schedule.every`: "step" needs the argument `every`', "for example"),
        ("schedule.floor", 0.5, '`schedule.floor`: "constant" has no argument `floor`', "known: `warmup`, `by`"),
        ("schedule.warmup", -1, "`schedule.warmup`: -1 is not a whole number of at least 0", None),
    ],
)
def test_invalid_schedule_is_refused(name: str, value: Any, message: str, hint: str | None) -> None:
    error = override(name, value)
    assert error.message == f"`--set x`: {message}"
    assert (error.hint or "").startswith(hint or "")


def test_dependent_keys_are_set_together() -> None:
    wide = [{**CONV, "in_channels": 1, "out_channels": 1}]
    config = load_config("default").override_all(
        [("network.channels", 1, "--set a"), ("network.layers", wide, "--set b"), ("data.size", 5, "--set c")]
    )
    assert (config.network.channels, config.data.size) == (1, 5)
    error = refused(
        "--set a, --set b`: `data.size",
        load_config("default").override_all,
        [("data.size", 5, "--set a"), ("train.lr", 2, "--set b")],
    )
    assert error.message.endswith("`data.size` is 5, this network needs a multiple of 4")


@pytest.mark.parametrize(
    ("optimizer", "key", "value"),
    [("Adam", "momentum", 0.9), ("AdamW", "momentum", 0.9), ("SGD", "betas", (0.9, 0.99)), ("AdamW", "bias_lr", 0.1)],
)
def test_argument_of_another_optimiser_is_refused(optimizer: str, key: str, value: Any) -> None:
    config = load_config("default").override("train.optimizer", optimizer, "--set")
    error = refused("--set x", config.override, f"train.{key}", value, "--set x")
    assert error.message.endswith(f", {optimizer} has no {key}")
    assert error.hint == "leave it out, or choose another `train.optimizer`: SGD, Adam, AdamW, Muon"


@pytest.mark.parametrize(
    ("key", "value"),
    [("out_channels", 4_194_305), ("out_channels", 10**30), ("kernel_size", 1027), ("kernel_size", [9, 99999])],
)
def test_network_of_gigabytes_is_refused_before_it_is_built(key: str, value: Any) -> None:
    wide = {**CONV, "in_channels": 16, "out_channels": 16, key: value}
    error = layers({"type": "Sequential", "layers": [{**CONV, "out_channels": 16}, wide]})
    assert error.message == "`--set x`: `network.layers` have more than 100,000,000 weights"


def test_init_he_scales_weights_and_zeroes_biases(rng: np.random.Generator) -> None:
    config = load_config("default").override("network.init", "he", "--set")
    weight, bias = (parameter for parameter, _ in config.network.build(rng=rng).param()[2:4])
    assert weight.std() == pytest.approx(np.sqrt(2 / (48 * 9)), rel=0.03)
    assert not bias.any()


# Networks


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (
            {"type": "Conv3d"},
            "[1].type`: there is no layer of type 'Conv3d'",
            "did you mean `Conv2d`? (`--plugin FILE.py` loads others)",
        ),
        (
            {},
            "[1]`: the layer has no `type`",
            "known types: Conv2d, TransposeConv2d, NearestUpsampling, PixelUnshuffle, PixelShuffle, MaxPool2d, ReLU, "
            "LeakyReLU, Sigmoid, Residual, SkipConcat, Sequential",
        ),
        (CONV | {"strid": 2}, "[1].strid`: Conv2d has no argument `strid`", "did you mean `stride`?"),
        (CONV | {"stride": 0}, "[1].stride`: 0 is not a whole number of at least 1", None),
    ],
)
def test_error_of_a_layer_names_its_place_and_key(spec: dict[str, Any], message: str, hint: str | None) -> None:
    error = layers(CONV, spec)
    assert error.message == f"`--set x`: `network.layers{message}"
    assert error.hint == hint


def test_layers_that_do_not_fit_together_are_refused() -> None:
    message = layers(CONV, {"type": "ReLU"}, CONV | {"in_channels": 5}).message
    assert message.startswith("`--set x`: `network.layers` do not fit together: layer 2: Conv2d(5, 3")
    assert "layer 0: Conv2d(3, 48" in override("network.channels", 1).message


@pytest.mark.parametrize(
    ("specs", "shape"),
    [
        ([CONV | {"out_channels": 2}], "(2, 64, 64)"),
        ([CONV | {"padding": 0}], "(3, 62, 62)"),
        ([CONV | {"padding": [1, 0]}], "(3, 64, 62)"),
        ([CONV, UP], "(3, 128, 128)"),
    ],
)
def test_network_must_keep_channels_and_size(specs: list[dict[str, Any]], shape: str) -> None:
    message = layers(*specs).message
    assert f"map a picture of shape (3, 64, 64) to {shape};" in message


@pytest.mark.parametrize(
    ("stride", "period"), [(2, 2), ([3, 1], 3), ([1, 3], 3), ([2, 3], 6)], ids=["both", "rows", "columns", "lcm"]
)
def test_crop_size_must_be_a_multiple_of_the_period_of_both_axes(stride: Any, period: int) -> None:
    specs = [CONV | {"stride": stride}, UP | {"scale_factor": stride}]
    config = load_config("default").override("network.layers", [CONV], "x").override("data.size", 6 * period, "x")
    config = config.override("network.layers", specs, "x")
    for size in (6 * period - 1, 6 * period + 1):
        message = refused("--set x", config.override, "data.size", size, "--set x").message
        assert message == f"`--set x`: `data.size` is {size}, this network needs a multiple of {period}"


def test_crop_size_must_be_at_least_the_largest_kernel() -> None:
    specs = [CONV | {"kernel_size": 7, "padding": 0}, CONV | {"kernel_size": 7, "padding": 6}]
    config = load_config("default").override("network.layers", specs, "x")
    assert config.override("data.size", 7, "x").data.size == 7
    message = refused("--set x", config.override, "data.size", 6, "--set x").message
    assert message.startswith("`--set x`: `data.size` is 6: layer 0: Conv2d")


@pytest.mark.parametrize("text", ["", "[train]\nlr = 0.5\n", "[network]\nchannels = 3\n"])
def test_configuration_without_layers_is_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    error = refused(path, load_config, path)
    assert "`network.layers` is missing" in error.message
    assert error.hint is not None
    example = error.hint.removeprefix("for example `").removesuffix("`")
    assert load_config(written(tmp_path, f"[network]\n{example}")).network.channels == 3


def test_missing_keys_have_default_values(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALL + "[train]\nlr = 3\n"))
    default = load_config("default")
    assert config.data == default.data
    assert config.train == replace(default.train, lr=3.0)


# Overrides


def test_override_changes_one_key_of_a_copy() -> None:
    config = load_config("default")
    changed = config.override("data.pairs", 4000, "--set data.pairs=4000")
    assert (config.data.pairs, changed.data.pairs) == (50_000, 4000)
    wanted = config.tables()
    wanted["data"]["pairs"] = 4000
    assert changed.tables() == wanted


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("train.lr=0.5", "train.lr", 0.5),
        ("train.epochs=1_000", "train.epochs", 1000),
        (" train.epochs = 3 ", "train.epochs", 3),
        ("data.redraw=false", "data.redraw", False),
        ("data.redraw=False", "data.redraw", "False"),
        ("data.noise=gaussian:15", "data.noise", "gaussian:15"),
        ('data.noise="gaussian:15"', "data.noise", "gaussian:15"),
        ("data.source=my photos", "data.source", "my photos"),
        ("data.source = my photos ", "data.source", "my photos"),
        ("data.source=a=b", "data.source", "a=b"),
        ("data.source=photos #2", "data.source", "photos #2"),
        ("data.source='2024'", "data.source", "2024"),
        ("data.source=", "data.source", ""),
        ('network.layers=[{type="ReLU"}]', "network.layers", [{"type": "ReLU"}]),
        ("=3", "", 3),
        ("train.lr=0.5\nx=3", "train.lr", "0.5\nx=3"),
        ("train.lr=" + "[" * 100_000, "train.lr", "[" * 100_000),
        ("train.seed=" + "9" * 5000, "train.seed", "9" * 5000),
    ],
)
def test_assignment_is_toml_or_plain_text(text: str, name: str, value: Any) -> None:
    parsed = parse_assignment(text)
    assert parsed == (name, value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize("text", ["train.lr", "", "train.lr:3"])
def test_assignment_without_equals_sign_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignment(text)
    assert caught.value.message == f"`--set {text}` has no `=`"
    assert caught.value.hint == "for example `--set train.lr=0.5`"


# Round trips

awkward = st.sampled_from("\"\\'\n\r\t\x01\x1b\x7f\x85\u2028\ufeff=#é😀")
texts = st.text(awkward | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
strided = st.sampled_from([1, 2, [2, 1], [2, 2]]).map(
    lambda stride: (CONV | {"stride": stride, "bias": False}, UP | {"scale_factor": stride}, {"type": "Sigmoid"})
)
configs = st.builds(
    Config,
    st.builds(NetworkConfig, st.just(3), strided),
    st.builds(
        DataConfig,
        source=texts,
        size=st.integers(2, 512).map(lambda half: 2 * half),
        pairs=st.integers(1, 100_000_000),
        validation_pairs=st.integers(1, 1_000_000),
        noise=st.one_of(
            st.floats(0, 255).map(lambda sigma: f"gaussian:{sigma}"),
            st.integers(2, 64).map(lambda block: f"pixelate:{block}"),
        ),
        redraw=st.booleans(),
    ),
    st.builds(
        TrainConfig,
        epochs=st.integers(1, 1_000_000),
        batch_size=st.integers(1, 100_000),
        lr=st.floats(0, 1000, exclude_min=True),
        seed=st.integers(0, 2**63 - 1),
    ),
)


@given(configs)
@some_examples
def test_configuration_round_trip_through_toml_and_tables(config: Config) -> None:
    tables = tomllib.loads(config.to_toml())
    assert tables == config.tables()
    assert Config.from_tables(tables, "elsewhere") == config


def test_configuration_round_trip_through_a_file(tmp_path: Path) -> None:
    config = load_config("ee559").override("data.source", 'C:\\a "b"\x7fé', "--data")
    again = load_config(written(tmp_path, config.to_toml()))
    assert again == config
    assert again.origin == str(tmp_path / "my.toml")
    assert again.to_toml() == config.to_toml()


def test_tables_are_copies() -> None:
    config = load_config("default")
    config.tables()["network"]["layers"][0]["type"] = "x"
    assert config.network.layers[0]["type"] == "Conv2d"


def test_every_shipped_configuration_loads() -> None:
    assert [load_config(name).origin for name in shipped_configs()] == [
        "default",
        "ee559",
        "ee559-adam",
        "ee559-best",
        "movie",
        "photo",
        "unet",
        "unet-small",
    ]


# Time limits for untrusted configurations

POINT = {"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
ENLARGE = {"type": "NearestUpsampling", "scale_factor": 1000}


def nested(depth: int) -> list[dict[str, Any]]:
    inner: list[dict[str, Any]] = [{"type": "ReLU"}] * 150
    for _ in range(depth):
        inner = [{"type": "Residual", "layers": inner}, *[{"type": "ReLU"}] * 150]
    return inner


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([POINT] * 60_000, "have more than 2,000 layers"),
        ([POINT, *nested(15)], "have more than 2,000 layers"),
        (
            [*[ENLARGE] * 900, *[{**POINT, "stride": 1000}] * 900],
            "do not fit together: their outputs are too large for any",
        ),
        ([ENLARGE] * 1900, "do not fit together: their outputs are too large for any memory"),
        (
            [*[ENLARGE] * 1900, {**POINT, "in_channels": 4}],
            "do not fit together: their outputs are too large for any memory",
        ),
        ([{**POINT, "stride": 1000}] * 1900, "do not fit together: their outputs are too large for any memory"),
    ],
    ids=["many", "nested", "up and down", "up", "up and wrong", "down"],
)
def test_networks_that_take_too_long_to_check_are_refused_soon(specs: list[dict[str, Any]], message: str) -> None:
    began = time.monotonic()
    assert message in layers(*specs).message
    assert time.monotonic() - began < 5


def test_largest_network_is_checked_soon() -> None:
    began = time.monotonic()
    tables: dict[str, Any] = {"network": {"channels": 3, "layers": [POINT] * 2000}}
    tables["train"] = {"freeze": ["*[0-9]*[0-9]*[0-9]*b*i*a*s*"] * 100}
    Config.from_tables(tables, "test")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("patterns", [["0.*"] * 101, ["*" * 201]], ids=["many", "long"])
def test_too_many_or_long_patterns_are_refused(patterns: list[str]) -> None:
    assert "it must be at most 100 patterns of at most 200 characters" in override("train.freeze", patterns).message
