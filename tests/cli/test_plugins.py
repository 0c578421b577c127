"""Plugins on the command line: loading, errors, and what they add.

They add layers, losses and noise models.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli import engine
from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.engine import tiling
from n2n_cli.errors import ConfigError
from n2n_cli.models.model import Model
from n2n_cli.system.plugins import loaded_plugins
from tests.cli import TINY, environment, failure, n2n, photo, start
from tests.registries import restored

PLUGIN = """
import numpy as np

from n2n_cli import nn
from n2n_cli.noise import Gaussian, register_noise


@nn.register_layer
class Smooth(nn.Module):
    def __init__(self, share=0.5):
        super().__init__()
        self.share = share

    def forward(self, x):
        y = x.copy()
        y[:, :, 1:] += self.share * x[:, :, :-1]
        y[:, :, :, 1:] += self.share * x[:, :, :, :-1]
        return y

    def backward(self, grad_output):
        grad = grad_output.copy()
        grad[:, :, :-1] += self.share * grad_output[:, :, 1:]
        grad[:, :, :, :-1] += self.share * grad_output[:, :, :, 1:]
        return grad

    def input_span(self, start, stop, axis):
        return start - 1, stop


@nn.register_layer
class OneWay(nn.Module):
    def forward(self, x):
        return np.tanh(x)


@nn.register_layer
class Broken(nn.Module):
    def forward(self, x):
        return x[7, 7, 7, 7, 7]


@nn.register_loss
class Half(nn.MSE):
    def forward(self, prediction, target):
        return super().forward(prediction, target) / 2

    def backward(self):
        return super().backward() / 2


@register_noise
class Mine(Gaussian):
    name, example = "mine", "mine:25"
"""
LAYER = '  { type = "Smooth", share = 0.25 },\n'
OWN = TINY.replace("  { type", f"{LAYER}  {{ type", 1) + 'loss = "Half"\n'
OWN = OWN.replace("[data]\n", '[data]\nnoise = "mine:20"\n')
OTHERS = "`--plugin FILE.py` loads others"


@pytest.fixture(autouse=True)
def here(here: Path) -> Iterator[Path]:
    (here / "my.py").write_text(PLUGIN)
    (here / "own.toml").write_text(OWN)
    (here / "loading.toml").write_text('plugins = ["my.py"]\n' + OWN)
    with restored():
        yield here


def checkpoint(name: str = "own.pth") -> str:
    """Write an untrained checkpoint of `own.toml`, with nothing left registered."""
    with restored():
        Model.from_config(load_config("loading.toml", plugins=True), threads=1).save(name)
    return name


def changed(source: str, **tables: Any) -> str:
    """Write a checkpoint with other tables in its configuration."""
    tree = read_checkpoint(source)
    tree["config"] |= tables
    write_checkpoint(Path("changed.pth"), tree)
    return "changed.pth"


# Loading


@pytest.mark.parametrize(
    "words",
    [
        ("--plugin", "my.py", "info", "own.toml"),
        ("info", "own.toml", "--plugin", "my.py"),
        ("info", "--plugin=my.py", "own.toml"),
        ("--plugin", "my.py", "info", "own.toml", "--plugin", "my.py"),
        ("--plugin", "other.py", "--plugin", "my.py", "info", "own.toml"),
    ],
)
def test_option_may_stand_anywhere_and_be_repeated(words: tuple[str, ...], here: Path) -> None:
    (here / "other.py").write_text("x = 1\n")
    answer = n2n(*words)
    assert answer.code == 0, answer.err
    assert "Smooth()" in answer.out
    assert loaded_plugins() == [str(here.resolve() / name) for name in ("other.py", "my.py") if name in " ".join(words)]


def test_plugins_are_relative_to_their_configuration(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "deep.py").write_text(PLUGIN)
    (here / "folder" / "a.toml").write_text('plugins = ["deep.py"]\n' + OWN)
    answer = n2n("train", "--config", "folder/a.toml", "--epochs", "1", "--out", "run")
    assert answer.code == 0, answer.err
    assert "noise mine:20" in answer.err
    saved = load_config("run/config.toml")
    assert (saved.train.loss, saved.data.noise, saved.network.layers[0]["type"]) == ("Half", "mine:20", "Smooth")
    assert "plugin" not in (here / "run" / "config.toml").read_text()
    assert "plugin" not in str(saved.tables())


@pytest.mark.parametrize("value", ["3", '"my.py"', "[3]", "{}", '["a\\u0000"]'])
def test_invalid_list_of_plugins_is_refused(value: str, here: Path) -> None:
    (here / "a.toml").write_text(f"plugins = {value}\n" + TINY)
    code, message, hint = failure("train", "--config", "a.toml")
    assert code == 2
    assert re.search(r"`a\.toml`: `plugins` is .+, it must be a list of Python files$", message)
    assert hint == 'for example `plugins = ["my_layers.py"]`'


def test_plugins_that_cannot_be_loaded_are_refused(here: Path) -> None:
    takes = "`--plugin FILE.py` takes the path of a Python file"
    assert failure("--plugin", "absent.py", "models") == (2, "there is no plugin `absent.py`", takes)
    (here / "a.toml").write_text('plugins = ["absent.py"]\n' + TINY)
    assert failure("train", "--config", "a.toml") == (2, "there is no plugin `absent.py`", takes)
    message, hint = "the plugin `tiny.toml` is not a Python file", "its name must end with `.py`"
    assert failure("models", "--plugin", "tiny.toml") == (2, message, hint)
    (here / "taken.py").write_text("from n2n_cli import nn\nnn.register_layer(type('ReLU', (nn.ReLU,), {}))\n")
    message = "the plugin `taken.py`, line 2: the name `ReLU` is taken: there is a layer `ReLU` already"
    assert failure("models", "--plugin", "taken.py") == (2, message, "rename `ReLU`")


def test_debug_prints_the_traceback_of_a_plugin(here: Path) -> None:
    (here / "bad.py").write_text("def f():\n    return {}['key']\n\nf()\n")
    message, hint = "the plugin `bad.py`, line 2: KeyError: 'key'", "`n2n --debug ...` shows the traceback"
    assert failure("--plugin", "bad.py", "models") == (2, message, hint)
    answer = n2n("--debug", "--plugin", "bad.py", "models")
    assert answer.code == 2
    assert "return {}['key']" in answer.err
    assert answer.err.endswith(f"error: {message}\n\nhint: {hint}\n")


def test_plugin_option_is_applied_before_other_options() -> None:
    answer = n2n("train", "--config", "tiny.toml", "--noise", "mine:9", "--epochs", "1", "--plugin", "my.py")
    assert answer.code == 0, answer.err


# Files that may not name plugins


def refused_key(origin: str) -> tuple[int, str, str]:
    message = f"`{origin}`: `plugins` is not allowed here: only a file that `--config` names may load them"
    return 2, message, "without the key, `--plugin FILE.py` loads them"


def test_checkpoint_loads_no_plugin(here: Path) -> None:
    path = changed("tiny.pth", plugins=[str(here / "my.py")])
    photo(here / "a.png")
    for words in (
        ("denoise", "--model", path, "a.png", "b.png"),
        ("eval", path, "--data", "photos"),
        ("info", path),
        ("train", "--init", path),
        ("export", path, "c.pth"),
    ):
        assert failure(*words) == refused_key(path)
    assert loaded_plugins() == []


def test_resumed_run_folder_loads_no_plugin(here: Path) -> None:
    run = here / "run"
    run.mkdir()
    (run / "config.toml").write_text('plugins = ["../my.py"]\n' + OWN)
    assert failure("train", "--resume", "run") == refused_key("run/config.toml")
    checkpoint("run/last.pth")
    assert failure("train", "--resume", "run")[2] == "`n2n --plugin FILE.py ...` loads the file that defines it"
    assert loaded_plugins() == []


def test_info_loads_no_plugin() -> None:
    assert failure("info", "loading.toml") == refused_key("loading.toml")
    with pytest.raises(ConfigError, match="`plugins` is not allowed here"):
        load_config("loading.toml")
    with pytest.raises(ConfigError, match="`plugins` is not allowed here"):
        Config.from_tables({"plugins": []}, "a.pth")
    assert loaded_plugins() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("default", ("train",)),
        ("default", ("train", "--config", "default")),
        ("unet.toml", ("train", "--config", "unet.toml")),
        ("default", ("sweep", "--param", "train.lr", "--values", "1")),
        ("theirs/config.toml", ("eval", "tiny.pth", "--config", "theirs/config.toml")),
    ],
)
def test_file_named_as_a_shipped_configuration_loads_no_plugin(name: str, words: tuple[str, ...], here: Path) -> None:
    (here / "theirs").mkdir()
    (here / name).write_text(f'plugins = ["{here}/my.py"]\n' + OWN)
    code, message, hint = failure(*words)
    found = f"`{name}` is named as a shipped configuration or one in a run folder: its `plugins` are not loaded"
    assert (code, message[-len(found) :]) == (2, found)
    assert hint == "if you trust the file, give it another name"
    assert loaded_plugins() == []


def test_shell_completion_loads_no_plugin(here: Path) -> None:
    (here / "log.py").write_text("open('log', 'w').close()\n")
    for typed in ("n2n --plugin log.py den", "n2n denoise --plugin log.py --rec"):
        asked = {"_N2N_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        program = Path(sys.executable).with_name("n2n")
        done = subprocess.run([program], capture_output=True, text=True, check=False, env=environment(**asked))
        assert typed.split()[-1] in done.stdout
    assert not (here / "log").exists()


# Unregistered names


def test_checkpoint_without_its_plugin_is_refused(here: Path) -> None:
    path = checkpoint()
    photo(here / "a.png")
    hint = "`n2n --plugin FILE.py ...` loads the file that defines it"
    layer, loss = {"type": "Smooth"}, {"loss": "Half"}
    for tables, message in (
        ({"data": {}, "train": {}}, "`network.layers[0].type`: there is no layer of type 'Smooth'"),
        ({"network": {"layers": [{"type": "Residual", "layers": [layer]}]}, "data": {}, "train": {}}, "layers[0].type"),
        ({"network": {"layers": [{"type": "ReLU"}]}, "data": {}, "train": loss}, '`train.loss` is "Half", it must be'),
        ({"data": {"noise": "mine:20"}}, '`data.noise` is "mine:20", it must be a noise model and its strength'),
    ):
        code, found, found_hint = failure("denoise", "--model", changed(path, **tables), "a.png", "b.png")
        assert (code, found_hint) == (2, hint)
        assert found.startswith("`changed.pth`: ")
        assert message in found


def test_configuration_without_its_plugin_is_refused(here: Path) -> None:
    for text, hint in (
        (TINY.replace('"Sigmoid"', '"Sigmoids"'), f"did you mean `Sigmoid`? ({OTHERS})"),
        (TINY + 'loss = "Half"\n', OTHERS),
        (TINY.replace("[data]\n", '[data]\nnoise = "mine:20"\n'), OTHERS),
    ):
        (here / "a.toml").write_text(text)
        code, _, found = failure("train", "--config", "a.toml")
        assert (code, found) == (2, hint)
    strength = failure("train", "--config", "tiny.toml", "--noise", "gaussian:-1")
    assert strength[2] == "see `n2n train --help`"  # a plugin would not help


# Failing layers


def with_layer(here: Path, name: str) -> str:
    (here / "a.toml").write_text(TINY.replace('"Sigmoid"', f'"{name}"'))
    return "a.toml"


def test_layer_without_backward_cannot_be_trained(here: Path) -> None:
    code, message, hint = failure("--plugin", "my.py", "train", "--config", with_layer(here, "OneWay"))
    assert (code, message) == (1, "OneWay cannot be trained: it has no `backward`")
    assert hint == "define `backward(self, grad_output)`; it returns the gradient with respect to the input"


def test_failing_layer_is_a_fault_of_n2n_or_a_plugin(here: Path) -> None:
    code, message, hint = failure("--plugin", "my.py", "train", "--config", with_layer(here, "Broken"))
    assert code == 1
    assert message.startswith("IndexError: too many indices for array")
    assert hint == "this is a fault of n2n or of a plugin; `n2n --debug ...` shows where"


# Training and denoising


def test_training_with_a_plugin_resumes_to_the_same_weights(here: Path) -> None:
    assert n2n("train", "--config", "loading.toml", "--epochs", "2", "--out", "whole").code == 0
    assert n2n("train", "--config", "loading.toml", "--epochs", "1", "--out", "parts").code == 0
    answer = n2n("train", "--resume", "parts", "--epochs", "2", "--plugin", "my.py")
    assert answer.code == 0, answer.err
    whole, parts = (read_checkpoint(Path(folder) / "last.pth")["model"] for folder in ("whole", "parts"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_hint_for_resuming_names_the_plugin(here: Path) -> None:
    long = ["train", "--config", "loading.toml", "--epochs", "1000000", "--out", "run"]
    with start(*long) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/"):
                break
        process.terminate()
        err = process.communicate(timeout=60)[1]
    place = re.escape(str(here.resolve() / "my.py"))
    assert re.search(rf"`n2n train --resume run --plugin {place}` continues it\n$", err)


def test_sweep_loads_plugins_in_its_jobs() -> None:
    words = ("sweep", "--param", "train.lr", "--values", "0.1,0.2", "--epochs", "1", "--jobs", "2")
    for config in (("--config", "loading.toml"), ("--config", "own.toml", "--plugin", "my.py", "--out", "other")):
        answer = n2n(*words, *config)
        assert answer.code == 0, answer.err
        assert "train.lr=0." in answer.out


def test_plugin_layer_in_tiles_and_bands_is_seamless(here: Path) -> None:
    path = checkpoint()
    pixels = np.asarray(Image.open(photo(here / "a.png", (80, 60, 3))))
    answer = n2n("--plugin", "my.py", "denoise", "--model", path, "a.png", "b.png")
    assert answer.code == 0, answer.err
    model = Model.from_checkpoint(path)
    x = (pixels / np.float32(255)).transpose(2, 0, 1)[None].astype(np.float32)
    whole = model.network.eval()(x)
    executor = engine.compile(model.network, threads=2)
    np.testing.assert_allclose(executor.in_bands(x), whole, atol=1e-6)
    np.testing.assert_allclose(tiling.apply(executor, x, tile=16), whole, atol=1e-6)
    written = np.asarray(Image.open("b.png")).transpose(2, 0, 1) / 255
    inside = np.s_[:, 8:-8, 8:-8]  # `denoise` mirrors the image at its border
    np.testing.assert_allclose(written[inside], whole[0].clip(0, 1)[inside], atol=0.51 / 255)
