"""Make the shipped weights `dmc`: `python -m benchmarks.backbone_weights out=FOLDER`.

Renders random scenes of the suite into FOLDER/scenes.npz, trains the model on them by
`aef_worldmodel.fit` in FOLDER/NAME, and goes on where it was stopped. The held-out domains are in
no image. `model=vae` and `model=ae` train the rivals of `benchmarks.backbone` on the same images.
`ship=true` writes the best weights so far to aef_worldmodel/pretrained/dmc instead, as float16.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel import AEFBackbone, fit
from aef_worldmodel.backbone.folder import SHIPPED
from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.image_models.config import load
from aef_worldmodel.metrics.image_quality import psnr, to_uint8
from aef_worldmodel.utils.checkpoint import list_checkpoints
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.training.provenance import provenance

HELD_OUT = ("finger", "manipulator", "quadruped")  # domains
SETTINGS = (  # of all models; the architecture is that of a world model's usual autoencoder
    "latent_dim=32",
    "networks=patch",
    "width=64",
    "sigma_floor=0.1",
    "batch=64",
    "rate=0.0006",
    "evaluate_every=500",
    "patience=0",
    "device=cpu",
)


@dataclass(frozen=True)
class WeightsConfig:
    """Settings of `python -m benchmarks.backbone_weights`."""

    out: str | None = None
    """Folder for the images and the runs."""
    model: Literal["aef-dct", "vae", "ae"] = "aef-dct"
    """The image model."""
    count: int = 400
    """Images of each model of the suite."""
    updates: int = 16_000
    """Gradient steps."""
    seed: int = 0
    """Of images, networks and batches."""
    ship: bool = False
    """Write the shipped folder from the AEF's best weights, and train nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, count=(40, None), updates=(1, None), seed=(0, 2**32 - 1))


def scenes(out: Path, count: int, seed: int) -> Path:
    """Return the file of images, rendered if it is not there."""
    path = out / "scenes.npz"
    if not path.exists():
        images = load_images(f"suite-{','.join(HELD_OUT)}:{count}:{seed}")
        print(images.source, flush=True)
        with atomic_write(path, "wb") as file:
            np.savez(file, train=images.train, validation=images.validation, test=images.test)
    return path


def ship(out: Path) -> None:
    """Write the shipped weights with their card, and a row of what was measured."""
    run = out / "aef-dct"
    test, config = load_images(str(out / "scenes.npz")).test, load([f"resume={run}"])
    backbone = AEFBackbone.from_run(run)
    updates = list_checkpoints(run / "checkpoints")[-1].stem.removeprefix("step_").lstrip("0")
    source = provenance(
        "benchmarks.backbone_weights",
        [f"updates={updates}", f"seed={config.seed}"],
        resolve(HardwareConfig(threads=torch.get_num_threads())),
    )
    bits, image_db, latent = measured(backbone, test)
    backbone.facts = {
        "name": "dmc",
        "data": "random states of all models of the DeepMind Control suite but those of the "
        f"domains {', '.join(HELD_OUT)}, half of them with random colours, lights and cameras, "
        "drawn by this project's renderer (envs/scenes.py)",
        "updates": int(updates),
        "batch": config.batch,
        "bits/dim of held-out environments": round(bits, 4),
        "PSNR of their reconstructions": f"{image_db:.2f} dB",
        **source,
        "licence": "MIT",
    }
    backbone.save_pretrained(SHIPPED / "dmc", torch.float16)
    half = AEFBackbone.from_pretrained(SHIPPED / "dmc")
    half_bits, half_db, half_latent = measured(half, test)
    off = (half_latent - latent).abs().max().item()
    row = {"updates": updates, "bits_per_dim": bits, "psnr": image_db, "bits_per_dim_16": half_bits}
    row |= {"psnr_16": half_db, "largest_latent_error_16": off, "test_images": len(test)}
    print(*(f"{name} {value}" for name, value in row.items()), sep="\n")
    Table("results/backbone_weights.csv", ("commit", "updates")).add(row | source)


@torch.no_grad()
def measured(backbone: AEFBackbone, test: Tensor) -> tuple[float, float, Tensor]:
    """Return bits/dim, dB of reconstructions and the latents of test images."""
    parts = test.split(256)
    bits = torch.cat([backbone.bits_per_dim(part, dequantise=False) for part in parts])
    again = torch.cat([to_uint8(backbone.reconstruct(part)) for part in parts])
    latents = torch.cat([backbone(part) for part in parts])
    return bits.mean().item(), psnr(again, test).mean().item(), latents


def main(argv: Sequence[str]) -> int:
    """Render, train, and say where the run is."""
    asked = settings.load(argv, WeightsConfig, "benchmarks.backbone_weights")
    if asked.out is None:
        raise ConfigError("out is not set: give out=FOLDER for the images and the runs")
    out = Path(asked.out)
    if asked.ship:
        ship(out)
        return 0
    data, run = scenes(out, asked.count, asked.seed), out / asked.model
    if list_checkpoints(run / "checkpoints"):
        return fit.main([f"resume={run}", f"updates={asked.updates}"])
    words = (f"data={data}", f"model={asked.model}", f"run={run}", f"seed={asked.seed}")
    return fit.main([*words, f"updates={asked.updates}", *SETTINGS])


if __name__ == "__main__":
    run_command(main)
