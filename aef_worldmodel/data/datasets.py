"""Sets of still images with a fixed split, by name: `load_images("digits")`.

| name | images |
|---|---|
| `digits`, `digits:32` | 1,797 handwritten digits, enlarged from 8x8 to 28x28 or another size |
| `frames`, `frames:cheetah-run` | 3,000 frames of three control tasks, or 1,000 of one; 64x64 |
| `env:TASK`, `env:TASK:COUNT:SEED` | frames rendered now by `envs`: 2,000, seed 0 by default |
| `suite`, `suite:COUNT:SEED` | random states and looks of every task, COUNT (600) of each model |
| `suite-finger,quadruped:COUNT:SEED` | the same without some domains |
| a path | .npy, .npz, IDX, a folder of pictures: see `image_files` |

docs/reference/images.md has every form and every error.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.data.image_files import read_images
from aef_worldmodel.data.render_dataset import render_frames, render_suite
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import exists

FRAMES = ("cartpole-swingup", "cheetah-run", "walker-walk")  # built in, 1,000 each
DIGIT_SIDES = (8, 64)  # smallest and largest side of `digits`
HELD_OUT = 0.1  # share of the images in validation, and in test


@dataclass(frozen=True)
class Images:
    """Three sets of uint8 images (N, C, H, W) of one shape."""

    train: Tensor
    """Images to learn from."""
    validation: Tensor
    """Images to make choices on."""
    test: Tensor
    """Images for the report."""
    source: str
    """One line: the source, its layout, and the split."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.train.shape
        return channels, height, width


def load_images(spec: str) -> Images:
    """Return the images of a name or a path, split the same way every time.

    Raises:
        UserError: an unknown name, a path that does not exist, or files that cannot be read as
            images.
    """
    name, _, rest = spec.partition(":")
    if name == "digits":
        return _digits(rest)
    if name == "frames":
        return _frames(rest)
    if name == "env":
        return _rendered(rest)
    if name.partition("-")[0] == "suite":
        return _suite(name.partition("-")[2], rest)
    path = Path(spec).expanduser()
    if not exists(path):
        raise UserError(
            f"unknown images {spec!r}: give digits, digits:32, frames, frames:TASK, env:TASK, "
            "suite, or the path of a .npy, .npz or IDX file or of a folder of pictures"
        )
    sets, found = read_images(path)
    return split(sets, f"{path.name}: {found}")


# -- splits ------------------------------------------------------------------------------


def split(sets: dict[str, Tensor], source: str, group: Tensor | None = None) -> Images:
    """Return the three sets of images by set.

    A missing set is a tenth of "train" or "all", drawn without replacement by a fixed permutation.
    Sets that are made here are shuffled, so that the first images of a set represent all.

    Args:
        sets: images (N, C, H, W) uint8 by set: "all", or "train" with or without the others.
        source: description of the source.
        group: of "all", the group of each image (N,), which stays in one set (frames of an
            episode): the last groups are held out.

    Raises:
        UserError: too few images, or sets of different shapes.
    """
    shapes = {name: tuple(images.shape[1:]) for name, images in sets.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"{source}: sets of different shapes {shapes}: give images of one shape")
    missing = [name for name in ("validation", "test") if name not in sets]
    if not missing:
        return Images(**sets, source=_described(source, sets))
    sets = dict(sets)
    rest = sets.pop("all") if "all" in sets else sets.pop("train")
    if len(rest) < 1 + 2 * len(missing):
        raise UserError(f"{source}: {len(rest)} images are too few to split: give at least 10")
    order = group if group is not None else _shuffled(len(rest))
    parts, units = ["train", *missing], len(order.unique())
    size = max(1, round(HELD_OUT * units))
    cuts = [0, *(units - size * k for k in range(len(missing), -1, -1))]
    for part, low, high in zip(parts, cuts, cuts[1:]):
        if group is None:
            sets[part] = rest[order[low:high]]
        else:
            images = rest[(group >= low) & (group < high)]
            sets[part] = images[_shuffled(len(images))]
    return Images(**sets, source=_described(source, sets))


def _described(source: str, sets: dict[str, Tensor]) -> str:
    """Return the source with the shape and the numbers of images."""
    counts = "/".join(str(len(sets[name])) for name in ("train", "validation", "test"))
    shape = "x".join(map(str, sets["train"].shape[1:]))
    return f"{source}, {shape}, split {counts}"


def _shuffled(count: int) -> Tensor:
    """Return a permutation of 0..count-1 that no version of a library changes."""
    return torch.from_numpy(np.random.RandomState(0).permutation(count))  # a frozen stream


# -- built in ----------------------------------------------------------------------------


def digit_images() -> Tensor:
    """Return the original digits, (1797, 8, 8) uint8 with values 0..16."""
    return torch.from_numpy(np.load(BytesIO(_builtin("digits.npz")))["digits"])


def _digits(rest: str) -> Images:
    """Return digits scaled to 0..255 and enlarged by bicubic interpolation."""
    low, high = DIGIT_SIDES
    side = int(rest or 28) if (rest or "28").isdigit() else 0
    if not low <= side <= high:
        raise UserError(f"digits:{rest} is not a size: give one from digits:{low} to digits:{high}")
    small = digit_images()[:, None].double() * (255 / 16)  # (N, 1, 8, 8)
    large = F.interpolate(small, side, mode="bicubic", align_corners=False)
    images = large.clamp(0, 255).round().byte()
    how = "at their own size" if side == 8 else "enlarged from 8x8 by bicubic interpolation"
    return split({"all": images}, f"1,797 UCI digits {how}")


def _frames(rest: str) -> Images:
    """Return the built-in frames of one task, or of all, split between environments."""
    if rest and rest not in FRAMES:
        raise UserError(
            f"frames:{rest} is not built in: give one of {', '.join(FRAMES)}, or "
            f"env:{rest} to render some"
        )
    tasks = (rest,) if rest else FRAMES
    frames = torch.cat([unfold_frames(_builtin(f"{task}.png")) for task in tasks])
    origin = ORIGIN.repeat(len(tasks))  # (N,): the same environments of every task are held out
    return split({"all": frames}, f"frames of {', '.join(tasks)}, between environments", origin)


ORIGIN = torch.arange(40).repeat_interleave(25)  # (1000,): environment of each built-in frame


def fold_frames(frames: Tensor) -> Image.Image:
    """Return frames of 40 environments (1000, 3, 64, 64) as one picture, a row for each."""
    rows = frames.view(40, 25, 3, 64, 64).permute(0, 3, 1, 4, 2)  # (40, 64, 25, 64, 3)
    return Image.fromarray(rows.reshape(40 * 64, 25 * 64, 3).numpy())


def unfold_frames(png: bytes) -> Tensor:
    """Invert `fold_frames`, from the bytes of a PNG."""
    sheet = torch.from_numpy(np.array(Image.open(BytesIO(png))))  # (2560, 1600, 3)
    rows = sheet.view(40, 64, 25, 64, 3).permute(0, 2, 4, 1, 3)  # (40, 25, 3, 64, 64)
    return rows.reshape(1000, 3, 64, 64)


def _builtin(name: str) -> bytes:
    return (files("aef_worldmodel.data") / "builtin" / name).read_bytes()


# -- rendered ----------------------------------------------------------------------------


def _rendered(rest: str) -> Images:
    """Return frames rendered now, split between environments."""
    match = re.fullmatch(r"(?P<task>.*?[^:0-9].*?)(:(?P<count>\d+)(:(?P<seed>\d+))?)?", rest)
    if not match:
        raise UserError(
            f"env:{rest} names no task: give env:TASK or env:TASK:COUNT:SEED, for instance "
            "env:cheetah-run:5000:1"
        )
    count, seed = int(match["count"] or 2000), int(match["seed"] or 0)
    try:
        frames, origin = render_frames(match["task"], count, seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    source = f"{count} frames of {match['task']}, seed {seed}, between environments"
    return split({"all": frames}, source, origin)


def _suite(without: str, rest: str) -> Images:
    """Return scenes of the suite rendered now, split between environments."""
    match = re.fullmatch(r"((?P<count>\d+)(:(?P<seed>\d+))?)?", rest)
    if not match:
        raise UserError(
            f"suite:{rest} is not a set: give suite:COUNT:SEED, for instance suite:600:0"
        )
    count, seed = int(match["count"] or 600), int(match["seed"] or 0)
    left_out = tuple(filter(None, without.split(",")))
    try:
        frames, origin, tasks = render_suite(count, seed, left_out)
    except ValueError as error:
        raise UserError(str(error)) from error
    of = f"of {len(tasks)} models" + (f" without {', '.join(left_out)}" if left_out else "")
    return split({"all": frames}, f"{count} scenes each {of}, seed {seed}, by environment", origin)
