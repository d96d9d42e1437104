"""Make the shipped weights `dmc`: `python -m benchmarks.backbone_weights out=FOLDER`.

Renders random scenes of the suite into FOLDER/scenes.npz, trains the model on them by
`aef_worldmodel.fit` in FOLDER/NAME, and goes on where it was stopped. The held-out domains are in
no image. `model=vae` and `model=ae` train the rivals of `benchmarks.backbone` on the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aef_worldmodel import fit
from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.utils.checkpoint import list_checkpoints
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.files import atomic_write
from agents.config import train as settings

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


def main(argv: Sequence[str]) -> int:
    """Render, train, and say where the run is."""
    asked = settings.load(argv, WeightsConfig, "benchmarks.backbone_weights")
    if asked.out is None:
        raise ConfigError("out is not set: give out=FOLDER for the images and the runs")
    out = Path(asked.out)
    data, run = scenes(out, asked.count, asked.seed), out / asked.model
    if list_checkpoints(run / "checkpoints"):
        return fit.main([f"resume={run}", f"updates={asked.updates}"])
    words = (f"data={data}", f"model={asked.model}", f"run={run}", f"seed={asked.seed}")
    return fit.main([*words, f"updates={asked.updates}", *SETTINGS])


if __name__ == "__main__":
    run_command(main)
