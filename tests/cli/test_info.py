"""`n2n info`: lines, JSON and refusals."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.images import Picture, read_picture, write_pages
from n2n_cli.info.machine import System
from n2n_cli.info.network import describe_source
from n2n_cli.info.picture import describe_picture
from n2n_cli.models.model import Model
from n2n_cli.noise.analysis import analyse_noise
from n2n_cli.noise.gaussian import blurred
from n2n_cli.system.json_lines import json_line
from tests.cli import failure, n2n

SYSTEM = System("0.1", "3.11", "2.0", "a CPU", ("avx", "fma"), 2, "OpenBLAS 0.3", "Zen", 1, 99.6, 200.0)


@pytest.fixture(autouse=True)
def machine(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, SYSTEM)


def describe(monkeypatch: pytest.MonkeyPatch, system: System) -> None:
    """Replace the description of this machine."""
    monkeypatch.setattr("n2n_cli.info.machine.describe_system", lambda: system)


def test_machine_is_printed_in_aligned_lines() -> None:
    assert n2n("info") == (
        0,
        """\
n2n                     0.1
Python                  3.11
NumPy                   2.0
processor               a CPU
vector instructions     avx fma
cores for this process  2
BLAS                    OpenBLAS 0.3, kernel Zen, 1 thread a call
sgemm, 1 thread         100 GFLOP/s
sgemm, 2 threads        200 GFLOP/s
""",
        "",
    )


def test_unknown_facts_of_the_machine_are_printed_or_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, System("0.1", "3.11", "2.0", "arm64", (), 1, "accelerate", None, None, 7.0, 7.0))
    assert n2n("info").out.splitlines()[4:] == [
        "vector instructions     unknown",
        "cores for this process  1",
        "BLAS                    accelerate",
        "sgemm, 1 thread         7 GFLOP/s",
    ]


def test_checkpoint_is_printed_layer_by_layer() -> None:
    Model.from_checkpoint("tiny.pth").save("a\nb.pth", epoch=12, psnr=23.456, noisy_psnr=20.1)
    answer = n2n("info", "a\nb.pth")
    assert (answer.code, answer.err) == (0, "")
    assert (
        answer.out.partition("200 GFLOP/s\n")[2]
        == """\
network                 a\\nb.pth
pictures                photos
noise                   gaussian:25
seed                    0
epoch                   12 of 3
validation PSNR         23.46 dB, noisy 20.10 dB
parameters              84
receptive field         3x3 pixels
period                  1x1 pixels

     layer                                                            output of 3x8x8  parameters  MAC a pixel
0    Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))            3x8x8          84           81
1    Sigmoid()                                                                  3x8x8           0            0
sum                                                                                            84           81
"""
    )


def test_configuration_has_no_epoch() -> None:
    lines = n2n("info", "tiny.toml").out.splitlines()
    assert lines[9:15] == [
        "network                 tiny.toml",
        "pictures                photos",
        "noise                   gaussian:25",
        "seed                    0",
        "epochs                  3",
        "parameters              84",
    ]


def test_picture_is_printed_in_aligned_lines() -> None:
    answer = n2n("info", "photos/0.png")
    assert answer == (
        0,
        f"""\
picture   photos/0.png
format    PNG, {Path("photos/0.png").stat().st_size:,} bytes
size      20x24 pixels
pixels    RGB, 8 bits a channel
metadata  none
values    8 bit, display
noise     {analyse_noise(read_picture("photos/0.png").pixels)}
""",
        "",
    )


def test_noise_of_a_picture_is_one_line(rng: np.random.Generator) -> None:
    noise = blurred(rng.standard_normal((256, 256, 1), dtype=np.float32), 1)
    pixels = np.clip(np.rint(120 + 10 * noise), 0, 255).astype(np.uint8)
    write_pages("noisy.png", [Picture(pixels)])
    line = n2n("info", "noisy.png").out.splitlines()[-1]
    found = re.fullmatch(r"noise +sigma (\d+\.\d) \(grey levels of 255\), correlated over 3 pixels", line)
    assert found
    assert float(found[1]) == pytest.approx(10, rel=0.25)


def test_optional_facts_of_a_picture() -> None:
    pages = [
        Picture(
            np.full((3, 4, 1), 0.5, np.float32),
            alpha=np.ones((3, 4), np.float32),
            metadata={"dpi": (300.0, 150.0), "icc_profile": b"x"},
        )
    ] * 2
    write_pages("a\nb.tif", pages)
    lines = n2n("info", "a\nb.tif").out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines[:3]] == ["picture", "format", "size"]
    assert lines[0].endswith("a\\nb.tif")
    assert lines[3:] == [
        "pixels         gray with alpha, 32 bits a channel float",
        "pages          2, T 2; values and noise are of the first",
        "dots per inch  300 x 150",
        "metadata       ICC profile",
        "values         32 bit float, 0.5 to 0.5; its values are constant",
        "noise          picture too small to measure",
    ]


def test_axes_pixel_size_and_channels_of_a_stack() -> None:
    metadata = {
        "axes": "ZCYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeY": 0.25,
        "PhysicalSizeZ": 1.5,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    tifffile.imwrite("stack.ome.tif", np.zeros((3, 2, 4, 5), np.uint16), ome=True, metadata=metadata)
    assert n2n("info", "stack.ome.tif").out.splitlines()[2:7] == [
        "size        5x4 pixels",
        "pixels      gray, 16 bits a channel",
        "pages       6, Z 3, C 2; values and noise are of the first",
        "pixel size  X 0.25 µm, Y 0.25 µm, Z 1.5 µm",
        "channels    DAPI, GFP",
    ]
    facts = json.loads(n2n("info", "stack.ome.tif", "--json").out)
    assert facts["axes"] == [["Z", 3], ["C", 2]]
    assert facts["pixel_size"]["Z"] == [1.5, "µm"]


def test_number_of_channels_of_a_picture_is_printed() -> None:
    pixels = np.zeros((4, 5, 6), np.uint8)
    tifffile.imwrite("many.tif", pixels, photometric="minisblack", planarconfig="contig", metadata=None)
    assert "pixels    6 channels, 8 bits a channel\n" in n2n("info", "many.tif").out


def test_json_of_a_picture_omits_the_machine() -> None:
    answer = n2n("info", "photos/0.png", "--json")
    assert (answer.code, answer.err, answer.out.count("\n")) == (0, "", 1)
    assert json.loads(answer.out) == json.loads(json_line(asdict(describe_picture("photos/0.png"))))


def test_json_has_all_facts_of_machine_and_network() -> None:
    found = json.loads(n2n("info", "--json").out)
    assert found == {**json.loads(json.dumps(asdict(SYSTEM))), "network": None}
    answer = n2n("info", "tiny.pth", "--json")
    assert (answer.code, answer.err, answer.out.count("\n")) == (0, "", 1)
    found = json.loads(answer.out)
    assert found["network"] == json.loads(json.dumps(asdict(describe_source("tiny.pth"))))
    assert found["network"]["layers"][0]["output"] == [3, 8, 8]


def test_weights_of_pytorch_need_a_configuration() -> None:
    write_checkpoint("weights.pth", Model.from_checkpoint("tiny.pth").network.state_dict())
    assert "--config" in failure("info", "weights.pth")[2]
    assert "parameters              84\n" in n2n("info", "weights.pth", "--config", "tiny.toml").out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.pth"], 1, "there is no checkpoint `missing.pth`"),
        (["missing"], 2, "there is no configuration `missing`"),
        (["photos"], 2, "`photos` is a folder, not a configuration"),
        (["missing.png"], 1, "`missing.png`"),
        (["photos/0.png", "--config", "default"], 2, "`--config` needs the checkpoint that it fits"),
        (["tiny.pth", "--config", "default"], 1, "`tiny.pth`"),
        (["tiny.toml", "--config", "default"], 2, "`--config` needs the checkpoint that it fits"),
        (["--config", "default"], 2, "`--config` needs the checkpoint that it fits"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], code: int, message: str) -> None:
    got = failure("info", *words)
    assert got[0] == code
    assert message in got[1]
