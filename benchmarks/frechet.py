"""What the Frechet distance sees: `python -m benchmarks.frechet [data=digits] [out=FILE.csv]`.

Images are spoilt more and more in several ways and measured against held-out ones: a feature
extractor is of use if its distance rises with every step. `drop` leaves out kinds of images (the
nearest to k of ten fixed ones) and fills up with the others. Compared are the built-in random
features, random features of another seed, and plain pixels made small. Without `data` it is done
on digits and on frames; `out` replaces the rows of what was measured and keeps the others.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.datasets import load_images
from aef_worldmodel.frechet import Frechet, RandomFeatures
from agents.provenance import commit

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


class SmallPixels:
    """The image averaged down to 7x7 or 8x8: the plainest features."""

    name = "small pixels"

    def __call__(self, images: Tensor) -> Tensor:
        side = 7 if images.shape[-1] % 7 == 0 else 8
        return F.adaptive_avg_pool2d(images.float() / 127.5 - 1, side).flatten(1)


def spoil(kind: str, step: float, images: Tensor, pool: Tensor) -> Tensor:
    """`images` spoilt by one step of a kind; `drop` draws them from `pool` instead."""
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
    """Gaussian blur of (N, C, H, W) with a standard deviation of `width` pixels."""
    reach = int(3 * width + 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = F.pad(x.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, kernel), kernel.transpose(2, 3)).view_as(x)


def measure(word: str) -> list[dict]:
    """Every kind and step on one data set."""
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
            print(f"{word:8s} {name:16s} {kind:6s} {'rises' if rises else 'FALLS'} {floor:9.4f} |",
                  *(f"{v:9.4f}" for v in values), flush=True)  # fmt: skip
            rows += [fixed | {"kind": kind, "step": step, "distance": value}
                     for step, value in zip(steps, values)]  # fmt: skip
    return rows


def main(arguments: list[str]) -> None:
    """Measures, prints, and writes CSV where asked."""
    words = dict(a.split("=", 1) for a in arguments)
    names = words.get("data", "digits,frames").split(",")
    torch.set_num_threads(1)
    rows = [row for name in names for row in measure(name)]
    if "out" in words:
        path = Path(words["out"])
        old = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
        fixed = {
            "commit": commit(),
            "command": f"python -m benchmarks.frechet data={','.join(names)}",
        }
        new = [row | {"distance": f"{row['distance']:.6g}"} | fixed for row in rows]
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(new[0]))
            writer.writeheader()
            writer.writerows([row for row in old if row["data"] not in names] + new)


if __name__ == "__main__":
    main(sys.argv[1:])
