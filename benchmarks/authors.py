"""Ours beside the authors' code: `python -m benchmarks.authors peer=FOLDER [out=FILE.csv]`.

FOLDER is a checkout of github.com/gisilvs/AEF, which is read and run but no part of this project;
it needs `pip install nflows`. What it imports besides and does not use here (wandb, torchvision,
pandas) may be missing. Equal architecture, data and updates: aef-center, small networks, latent 8,
batch 128, Adam at 1e-3, gradients clipped at 200. The built-in digits at 28x28 stand in for MNIST,
so bits/dim are not the paper's. Updates alternate between the models, so that both meet the same
machine: read the ratio.
"""

import csv
import importlib
import importlib.util
import math
import statistics
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders import PartitionAEF
from aef_worldmodel.datasets import load_images
from aef_worldmodel.family import AEF
from aef_worldmodel.image_model import ImageModel
from aef_worldmodel.image_networks import ConvDecoder, ConvEncoder
from aef_worldmodel.preprocessing import ActNorm, Chain, Logit
from agents.hardware import HardwareConfig
from agents.provenance import commit, machine

SHAPE, LATENT, BATCH, RATE, CLIP, ALPHA = (1, 28, 28), 8, 128, 1e-3, 200.0, 1e-6
SEEDS, UPDATES, WARM = (0, 1, 2), 100, 5  # the first `WARM` updates are not timed


class Authors(nn.Module):
    """Their model behind two methods of ours."""

    def __init__(self, folder: str):
        super().__init__()
        sys.path.insert(0, folder)
        names = ("wandb", "torchvision", "pandas")
        missing = {name: MagicMock() for name in names if importlib.util.find_spec(name) is None}
        sys.modules.update(missing)
        database = importlib.import_module("models.model_database")
        for name in missing:
            del sys.modules[name]
        self.model = database.get_model("aef-center", "small", "independent", LATENT,
                                        list(SHAPE), ALPHA, "none", "none")  # fmt: skip

    def initialise(self, frames: Tensor) -> None:
        """Theirs starts from its first batch by itself."""

    def groups(self, rate: float) -> list[dict]:
        """One rate for all."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def bits_per_dim(self, frames: Tensor) -> Tensor:
        """Bits/dim of dequantised images, (N,)."""
        u = (frames.float() + torch.rand(frames.shape)) / 256
        return 8 + self.model.loss_function(u) / (math.prod(SHAPE) * math.log(2))

    def loss(self, frames: Tensor) -> Tensor:
        """What is minimised, nats an image: theirs is not divided by D."""
        u = (frames.float() + torch.rand(frames.shape)) / 256
        return self.model.loss_function(u).mean()


class Ours(ImageModel):
    """Their architecture, preprocessing, start and rates from our parts."""

    def __init__(self):
        networks = ConvEncoder(SHAPE, LATENT), ConvDecoder(SHAPE, LATENT)
        bijection = Chain([Logit(ALPHA), ActNorm(1)])
        super().__init__(PartitionAEF(*networks, SHAPE, LATENT, core="center",
                                      bijection=bijection, sigma_floor=1e-5))  # fmt: skip

    def initialise(self, frames: Tensor) -> None:
        """ActNorm alone starts from images, and sigma_d at softplus(0), as theirs."""
        self.eye.set_mean(frames)
        nn.init.zeros_(self.eye.raw_sigma)

    groups = Authors.groups

    def loss(self, frames: Tensor) -> Tensor:
        """Nats an image, so that the clipping of gradients is theirs."""
        return -self.objective(frames).mean()


def timed_update(model: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor) -> float:
    """One update; its milliseconds."""
    begin = time.perf_counter()
    loss = model.loss(batch)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimiser.step()
    return 1e3 * (time.perf_counter() - begin)


def compare(folder: str, seed: int, updates: int) -> list[dict]:
    """Trains all models side by side; a row each."""
    data = load_images("digits")
    torch.manual_seed(seed)
    models = {
        "authors": Authors(folder),
        "ours, their settings": Ours(),
        "ours, defaults": AEF(SHAPE, LATENT, core="center"),
    }
    parameters = {name: sum(p.numel() for p in m.parameters()) for name, m in models.items()}
    assert parameters["authors"] == parameters["ours, their settings"], parameters
    times: dict[str, list[float]] = {name: [] for name in models}
    optimisers = {name: torch.optim.Adam(m.groups(RATE)) for name, m in models.items()}
    for model in models.values():
        model.train().initialise(data.train)
    for update in range(updates):
        batch = data.train[torch.randint(len(data.train), (BATCH,))]
        for name, model in models.items():
            ms = timed_update(model, optimisers[name], batch)
            if update >= WARM:
                times[name].append(ms)
    rows = []
    for name, model in models.items():
        with torch.no_grad():
            bits = model.eval().bits_per_dim(data.test).mean().item()
        ratio = statistics.median(a / b for a, b in zip(times["authors"], times[name]))
        rows.append({
            "model": name, "seed": seed, "updates": updates, "test_bits_per_dim": f"{bits:.4f}",
            "ms_per_update": f"{statistics.median(times[name]):.1f}",
            "times_as_fast": f"{ratio:.2f}", "parameters": parameters[name],
        })  # fmt: skip
        print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def main(arguments: list[str]) -> None:
    """Compares, prints, and writes CSV where asked."""
    words = dict(a.split("=", 1) for a in arguments)
    if not (Path(words.get("peer", "")) / "models" / "model_database.py").exists():
        sys.exit("error: give peer=FOLDER, a checkout of github.com/gisilvs/AEF")
    torch.set_num_threads(1)
    updates = int(words.get("updates", UPDATES))
    rows = [row for seed in SEEDS for row in compare(words["peer"], seed, updates)]
    if "out" in words:
        fixed = {"data": "digits, 28x28", "batch": BATCH, "commit": commit(),
                 "hardware": machine(HardwareConfig(threads=1, autocast="float32")),
                 "command": "python -m benchmarks.authors peer=AEF"}  # fmt: skip
        with open(words["out"], "w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], *fixed])
            writer.writeheader()
            writer.writerows(row | fixed for row in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
