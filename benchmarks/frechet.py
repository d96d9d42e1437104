"""Which damages the Frechet distance sees: `python -m benchmarks.frechet [out=FILE.csv]`.

Images are damaged in steps, in several ways, and measured against held-out ones: a feature
extractor is of use if its distance rises with every step. `drop` leaves out kinds of images (the
nearest to k of ten fixed ones) and fills up with the others. The extractors are the built-in random
features, random features of another seed, and plain pixels made small. `out` replaces the rows that
were measured and keeps the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.metrics.frechet import Frechet, RandomFeatures
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.training.provenance import command, commit

STEPS = {
    "blur": (0.5, 0.75, 1.0, 1.5, 2.0),  # standard deviation, pixels
    "noise": (4, 8, 16, 32, 64),  # standard deviation, grey levels
    "drop": (2, 4, 6, 8, 9),  # of ten kinds
    "light": (4, 8, 16, 32, 64),  # grey levels added
    "fade": (0.9, 0.8, 0.7, 0.6, 0.5),  # contrast left
    "shift": (1, 2, 3, 4, 6),  # pixels to the right
    "mix": (0.1, 0.2, 0.3, 0.4, 0.5),  # weight of another image laid over each
}
LIMIT = 360  # images of each set at most


@dataclass(frozen=True)
class FrechetConfig:
    """Settings of `python -m benchmarks.frechet`."""

    data: tuple[str, ...] = ("digits", "frames")
    """Sets of images (docs/reference/images.md)."""
    out: str | None = None
    """The CSV; null for none."""


class SmallPixels:
    """The image averaged down to 7x7 or 8x8: the plainest features."""

    name = "small pixels"

    def __call__(self, images: Tensor) -> Tensor:
        side = 7 if images.shape[-1] % 7 == 0 else 8
        return F.adaptive_avg_pool2d(images.float() / 127.5 - 1, side).flatten(1)


def spoil(kind: str, step: float, images: Tensor, pool: Tensor) -> Tensor:
    """Return images (N, C, H, W) uint8 damaged by one step; `drop` takes others from `pool`."""
    random = np.random.RandomState(0)
    x = images.float()
    if kind == "blur":
        x = blur(x, step)
    elif kind == "noise":
        x = x + step * torch.from_numpy(random.standard_normal(x.shape)).float()
    elif kind == "light":
        x = x + step
    elif kind == "fade":
        x = x * step
    elif kind == "shift":
        x = F.pad(x, (int(step), 0, 0, 0), mode="replicate")[..., : x.shape[-1]]
    elif kind == "mix":
        x = (1 - step) * x + step * x.roll(1, 0)
    else:
        centres = pool[:10].float().flatten(1)
        kept = pool[torch.cdist(pool.float().flatten(1), centres).argmin(1) >= step]
        x = kept[torch.from_numpy(random.randint(len(kept), size=len(x)))]
    return x.clamp(0, 255).round().byte()


def blur(x: Tensor, width: float) -> Tensor:
    """Return x (N, C, H, W) blurred by a Gaussian with a standard deviation of `width` pixels."""
    reach = int(3 * width + 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = F.pad(x.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, kernel), kernel.transpose(2, 3)).view_as(x)


def measure(word: str) -> list[dict]:
    """Return the rows of one data set: every extractor, kind and step."""
    data = load_images(word)
    reference = torch.cat([data.validation, data.test])[:LIMIT]
    order = torch.from_numpy(np.random.RandomState(1).permutation(len(data.train)))
    pool = data.train[order]
    images = pool[: len(reference)]
    extractors = {
        "random": RandomFeatures(),
        "random, seed 1": RandomFeatures(1),
        "small pixels": SmallPixels(),
    }
    rows = []
    for name, features in extractors.items():
        distance = Frechet(reference, features)
        floor = distance(images)
        fixed = {"data": word, "features": name, "images": len(reference)}
        rows.append(fixed | {"kind": "none", "step": 0, "distance": floor})
        for kind, steps in STEPS.items():
            values = [distance(spoil(kind, step, images, pool)) for step in steps]
            rises = all(a < b for a, b in zip([floor, *values], values))
            print(
                f"{word:8s} {name:16s} {kind:6s} {'rises' if rises else 'FALLS'} {floor:9.4f} |",
                *(f"{v:9.4f}" for v in values),
                flush=True,
            )
            rows += [
                fixed | {"kind": kind, "step": step, "distance": value}
                for step, value in zip(steps, values)
            ]
    return rows


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the rows where asked."""
    asked = settings.load(argv, FrechetConfig, "benchmarks.frechet")
    torch.set_num_threads(1)
    rows = [row for name in asked.data for row in measure(name)]
    if asked.out:
        fixed = {"commit": commit(), "command": command("benchmarks.frechet", argv)}
        key = ("data", "features", "images", "kind", "step")
        Table(asked.out, key).add(*(row | fixed for row in rows))


if __name__ == "__main__":
    run_command(main)
