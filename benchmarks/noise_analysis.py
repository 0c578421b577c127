"""Train the network that chooses quantiles in `n2n_cli.noise.analysis`.

`python -m benchmarks.noise_analysis`

Draws noise of many kinds on crops of photographs and of generated pictures, adds pairs of real noisy and clean pictures
of which `--real` names folders (with `noisy` and `clean` in them; every second file by name is used), and fits the
network so that levels and band energies of the noise come out right. Needs PyTorch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import LUMA, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.noise.analysis import PAIRS, QUANTILES, RANKS, TINY, WEIGHTS, log_quantiles
from n2n_cli.noise.compression import compressed
from n2n_cli.noise.gaussian import blurred
from n2n_cli.noise.spectrum import BANDS, COUNTS, SIDE, Spectrum, measure

KINDS = {
    "camera:0.0001~0.02": 38,
    "gaussian:0.7~60": 14,
    "grain:1~50,0.2-1.5": 14,
    "jpeg:40-98,0-20": 7,
    "none": 7,
    "blurred:5~3000,0.2-1.5": 6,
    "poisson:4~3000": 5,
    "poisson-gaussian:10~2000,0.5~15": 5,
    "row:0.5~8,1~25": 4,
    "impulse:0.001~0.1": 3,
}
"""Noise models and their weights."""
SHRUNK, PLAIN, GRAY, DARK, SOFT, INTEGERS, COMPRESSED = 0.6, 0.07, 0.25, 0.2, 0.15, 0.8, 0.06
"""Shares of shrunk, generated, gray, dark and unsharp pictures, of 8 bits, and with JPEG on top of other noise."""
REPEATS, HIDDEN, BATCH, RATE = 4, 48, 128, 3e-3


class Example(NamedTuple):
    """Quantiles and true energies of the noise of one picture.

    `logs` are the logarithms of the quantiles, (3, bands, quantiles), `energies` is (3, bands), and `gray` is True for
    noise without colour.
    """

    logs: Array
    energies: Array
    gray: bool


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise_analysis", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="FOLDER", required=True, help="clean photographs, JPEG or PNG")
    parser.add_argument("--real", type=Path, metavar="FOLDER", action="append", default=[])
    parser.add_argument("--count", type=int, default=8000, help="drawn examples")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    photographs = sorted(path for path in options.data.iterdir() if path.suffix in (".jpg", ".png"))
    examples = [_drawn(photographs, rng) for _ in range(options.count)]
    real = [example for folder in options.real for example in _real(folder)]
    weights = _trained(examples + REPEATS * real, options.epochs)
    np.savez(options.out, **weights)


def _drawn(photographs: list[Path], rng: np.random.Generator) -> Example:
    clean = _picture(photographs, rng)
    kinds, weights = list(KINDS), np.array(list(KINDS.values()), float)
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    integers = rng.random() < INTEGERS
    if integers:
        clean = to_float(to_integer(clean, np.uint8))
    noisy = clean if kind == "none" else parse_noise(kind).draw(clean, rng=rng)
    if rng.random() < COMPRESSED:
        noisy = compressed(noisy, int(rng.integers(75, 99)), rng=rng)
    return _example(to_float(to_integer(noisy, np.uint8)) if integers else noisy, clean)


def _picture(photographs: list[Path], rng: np.random.Generator) -> Array:
    """Crop of a photograph, or a flat or generated picture.

    It may be gray, dark or unsharp.
    """
    side = int(rng.integers(48, 300))
    if rng.random() < PLAIN:
        flat = np.broadcast_to(rng.random((1, 1, 3)), (side, side, 3))
        picture = to_float(dead_leaves(1, side, seed=int(rng.integers(2**30)), threads=1)[0])
        picture = flat.astype(np.float32) if rng.integers(2) else picture
    else:
        image = Image.open(photographs[rng.integers(len(photographs))]).convert("RGB")
        if rng.random() < SHRUNK:
            factor = rng.uniform(1, 3)
            image = image.resize((max(96, int(image.width / factor)), max(96, int(image.height / factor))))
        limits = rng.integers(96, 401, 2) if rng.random() < 0.95 else rng.integers(SIDE, 96, 2)
        h, w = min(limits[0], image.height), min(limits[1], image.width)
        top, left = rng.integers(image.height - h + 1), rng.integers(image.width - w + 1)
        picture = to_float(np.asarray(image)[top : top + h, left : left + w])
    if rng.random() < GRAY:
        picture = picture @ LUMA
    if rng.random() < DARK:
        picture = picture ** np.float32(rng.uniform(1, 2.5)) * np.float32(rng.uniform(0.3, 1))
    if rng.random() < SOFT:
        sigma = rng.uniform(0.5, 3)
        gain = float(blurred(np.ones((SIDE, SIDE, 1), np.float32), sigma)[0, 0, 0])
        picture = np.clip(blurred(picture, sigma) / gain, 0, 1)
    return picture


def _real(folder: Path) -> list[Example]:
    """Every second pair of a folder, whole and in quarters."""
    examples = []
    for path in sorted((folder / "noisy").iterdir())[::2]:
        noisy, clean = (
            to_float(np.asarray(Image.open(name).convert("RGB"))) for name in (path, folder / "clean" / path.name)
        )
        h, w = (side // 2 for side in noisy.shape[:2])
        parts = [np.s_[:, :], *(np.s_[i : i + h, j : j + w] for i in (0, h) for j in (0, w))]
        examples += [_example(noisy[part], clean[part]) for part in parts]
    return examples


def _example(noisy: Array, clean: Array) -> Example:
    # Without the offset, values without noise would count as clipped to black.
    found, true = measure(noisy), measure(noisy - clean + np.float32(1e-5))
    logs = [log_quantiles(part) for part in _parts(found)]
    return Example(np.stack(logs), np.stack([part.mean(axis=0) for part in _parts(true)]), found.chroma is None)


def _parts(spectrum: Spectrum) -> list[Array]:
    chroma = np.zeros_like(spectrum.luma) if spectrum.chroma is None else spectrum.chroma
    return [spectrum.luma, chroma, spectrum.channels]


def _trained(examples: list[Example], epochs: int) -> dict[str, Any]:
    """Weights and biases of the trained network."""
    import torch
    from torch.nn import Linear, ReLU, Sequential

    torch.manual_seed(0)
    logs, energies, gray = (torch.tensor(np.array(part), dtype=torch.float32) for part in zip(*examples, strict=True))
    first = torch.tensor([i * BANDS + j for i, j in PAIRS])
    second = torch.tensor([j * BANDS + i for i, j in PAIRS])
    place = {pair: k for k, pair in enumerate(PAIRS)}
    pair_of = torch.tensor([place[min(i, j), max(i, j)] for i in range(BANDS) for j in range(BANDS)])
    counts = torch.tensor(COUNTS / SIDE**2)
    last = len(QUANTILES) - 1

    def inputs(logs: Any, gray: Any) -> Any:
        pairs = (logs[:, :, first[1:]] + logs[:, :, second[1:]]) / 2
        colour = pairs[:, 1].flatten(1) * (1 - gray[:, None])
        return torch.cat([pairs[:, 0].flatten(1), colour, gray[:, None]], 1)

    def chosen(ranks: Any, logs: Any) -> Any:
        """Logarithms of the energies at the ranks."""
        ranks = ranks.clamp(*RANKS)
        below = ranks.clamp(0, last - 1e-3).floor().long()
        low, high = (torch.gather(logs, 3, (below + step)[..., None])[..., 0] for step in (0, 1))
        return low + (high - low) * (ranks - below).clamp(0, 1) + ranks.clamp(max=0) + (ranks - last).clamp(min=0)

    def loss(ranks: Any, logs: Any, energies: Any, gray: Any) -> Any:
        found = chosen(ranks, logs)
        levels = (((found.exp() - TINY).clamp(min=0) * counts).sum(-1), (energies * counts).sum(-1))
        by_level = huber(torch.log(levels[0] + 0.04) - torch.log(levels[1] + 0.04))
        by_band = (huber(found - torch.log(energies + 0.01)) * counts.clamp(min=0.02)).sum(-1)
        kept = torch.stack([torch.ones_like(gray), 1 - gray, torch.ones_like(gray)], 1)
        far = ((ranks - 3).abs() - 5).clamp(min=0).mean()  # where a rank is clipped, nothing else pulls it back
        return ((by_level + 0.3 * by_band) * kept).mean() + 1e-3 * far

    def huber(x: Any) -> Any:
        return torch.where(x.abs() < 0.3, x**2 / 0.6, x.abs() - 0.15)

    x = inputs(logs, gray)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    layers = Linear(x.shape[1], HIDDEN), Linear(HIDDEN, HIDDEN), Linear(HIDDEN, 3 * len(PAIRS))
    network = Sequential(layers[0], ReLU(), layers[1], ReLU(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            # A third of the pictures with their contrast changed: the unit of measured values is arbitrary.
            gain = torch.where(torch.rand(len(batch)) < 0.3, torch.empty(len(batch)).uniform_(-3, 1.5), 0).exp()
            scaled = ((logs[batch].exp() - TINY).clamp(min=0) * gain[:, None, None, None] + TINY).log()
            z = inputs(scaled, gray[batch])
            z = (z - mean) / deviation + 0.05 * torch.randn(z.shape)
            ranks = 3 + 2 * network(z).view(-1, 3, len(PAIRS))[:, :, pair_of]
            value = loss(ranks, scaled, energies[batch] * gain[:, None, None], gray[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {value.item():.4f}", flush=True)
    weights, biases = ([getattr(layer, name).detach().numpy() for layer in layers] for name in ("weight", "bias"))
    # Whitening of the input and scale of the ranks go into the outer layers.
    weights[0] = weights[0] / deviation.numpy()
    biases[0] = biases[0] - weights[0] @ mean.numpy()
    weights[2], biases[2] = 2 * weights[2], 2 * biases[2] + 3
    named = {f"weight{i}": weight.astype(np.float16) for i, weight in enumerate(weights)}
    named |= {f"bias{i}": bias for i, bias in enumerate(biases)}
    return {name: named[name] for i in range(3) for name in (f"weight{i}", f"bias{i}")}


if __name__ == "__main__":
    main()
