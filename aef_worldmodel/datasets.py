"""Sets of still images with a fixed split, by a word: `load_images("digits")`.

| word | images |
|---|---|
| `digits`, `digits:32` | 1,797 handwritten digits, enlarged from 8x8 to 28x28 or another size |
| `frames`, `frames:cheetah-run` | 3,000 frames of three control tasks, or 1,000 of one; 64x64 |
| `env:TASK`, `env:TASK:COUNT:SEED` | frames drawn now by `envs`, 2,000 with seed 0 unless told |
| a path | .npy, .npz, IDX, a folder of pictures: see `image_files` |

docs/data.md has every form and every error.
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

from aef_worldmodel.errors import UserError
from aef_worldmodel.image_files import read_images
from aef_worldmodel.rendered import render_frames

FRAMES = ("cartpole-swingup", "cheetah-run", "walker-walk")  # built in, 1,000 each
DIGIT_SIDES = (8, 64)  # smallest and largest side of `digits`
HELD_OUT = 0.1  # share of the images in validation, and in test


@dataclass(frozen=True)
class Images:
    """Three sets of uint8 images (N, C, H, W) of one shape."""

    train: Tensor
    """What is learnt from."""
    validation: Tensor
    """What choices are made on."""
    test: Tensor
    """What is reported."""
    source: str
    """One line: what was read, how it was understood and split."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return tuple(self.train.shape[1:])


def load_images(spec: str) -> Images:
    """The images a word or a path names. The split is the same every time.

    Raises:
        UserError: an unknown word, a path that is not there, or files that cannot be read as
            images; one sentence that names what was given and what to give.
    """
    word, _, rest = spec.partition(":")
    if word == "digits":
        return _digits(rest)
    if word == "frames":
        return _frames(rest)
    if word == "env":
        return _rendered(rest)
    path = Path(spec).expanduser()
    if not path.exists():
        raise UserError(
            f"unknown images {spec!r}: give digits, digits:32, frames, frames:TASK, env:TASK, or "
            "the path of a .npy, .npz or IDX file or of a folder of pictures"
        )
    sets, found = read_images(path)
    return split(sets, f"{path.name}: {found}")


# -- splits ------------------------------------------------------------------------------


def split(sets: dict[str, Tensor], source: str, group: Tensor | None = None) -> Images:
    """Images by set -> the three sets. What is missing is taken from "train" or "all", a tenth
    each, drawn without replacement by a fixed permutation; what is taken apart is shuffled, so
    that the first images of a set stand for all.

    Args:
        sets: images (N, C, H, W) uint8 by set: "all", or "train" with or without the others.
        source: what was read, in words.
        group: of "all", numbers (N,) of what must not be torn apart (an episode's frames): the
            last groups are held out.

    Raises:
        UserError: too few images, or sets of different shapes.
    """
    shapes = {name: tuple(images.shape[1:]) for name, images in sets.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"{source}: sets of different shapes {shapes}; give images of one shape")
    missing = [name for name in ("validation", "test") if name not in sets]
    if not missing:
        return Images(**sets, source=_described(source, sets))
    sets = dict(sets)
    rest = sets.pop("all") if "all" in sets else sets.pop("train")
    if len(rest) < 1 + 2 * len(missing):
        raise UserError(f"{source}: {len(rest)} images are too few to split; give at least 10")
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
    """What was read, with the images' shape and numbers."""
    counts = "/".join(str(len(sets[name])) for name in ("train", "validation", "test"))
    shape = "x".join(map(str, sets["train"].shape[1:]))
    return f"{source}, {shape}, split {counts}"


def _shuffled(count: int) -> Tensor:
    """A permutation of 0..count-1 that no version of a library changes."""
    return torch.from_numpy(np.random.RandomState(0).permutation(count))  # a frozen stream


# -- built in ----------------------------------------------------------------------------


def digit_images() -> Tensor:
    """The digits as they are, (1797, 8, 8) uint8 with values 0..16."""
    return torch.from_numpy(np.load(BytesIO(_builtin("digits.npz")))["digits"])


def _digits(rest: str) -> Images:
    """Digits stretched to 0..255 and enlarged by bicubic interpolation."""
    low, high = DIGIT_SIDES
    side = int(rest or 28) if (rest or "28").isdigit() else 0
    if not low <= side <= high:
        raise UserError(f"digits:{rest} is no size: give one from digits:{low} to digits:{high}")
    small = digit_images()[:, None].double() * (255 / 16)  # (N, 1, 8, 8)
    large = F.interpolate(small, side, mode="bicubic", align_corners=False)
    images = large.clamp(0, 255).round().byte()
    how = "as they are" if side == 8 else "enlarged from 8x8 by bicubic interpolation"
    return split({"all": images}, f"1,797 UCI digits {how}")


def _frames(rest: str) -> Images:
    """The built-in frames of one task, or of all, split by world."""
    if rest and rest not in FRAMES:
        raise UserError(f"frames:{rest} is not built in: give one of {', '.join(FRAMES)}, or "
                        f"env:{rest} to draw some")  # fmt: skip
    tasks = (rest,) if rest else FRAMES
    frames = torch.cat([unfold_worlds(_builtin(f"{task}.png")) for task in tasks])
    world = WORLD.repeat(len(tasks))  # (N,): the same worlds of every task are held out
    return split({"all": frames}, f"frames of {', '.join(tasks)}, between worlds", world)


WORLD = torch.arange(40).repeat_interleave(25)  # (1000,): the world of a built-in frame


def fold_worlds(frames: Tensor) -> Image.Image:
    """Frames of 40 worlds (1000, 3, 64, 64) -> one picture, a world a row."""
    rows = frames.view(40, 25, 3, 64, 64).permute(0, 3, 1, 4, 2)  # (40, 64, 25, 64, 3)
    return Image.fromarray(rows.reshape(40 * 64, 25 * 64, 3).numpy())


def unfold_worlds(png: bytes) -> Tensor:
    """Inverse of `fold_worlds`, from the bytes of a PNG."""
    sheet = torch.from_numpy(np.array(Image.open(BytesIO(png))))  # (2560, 1600, 3)
    rows = sheet.view(40, 64, 25, 64, 3).permute(0, 2, 4, 1, 3)  # (40, 25, 3, 64, 64)
    return rows.reshape(1000, 3, 64, 64)


def _builtin(name: str) -> bytes:
    return (files("aef_worldmodel") / "data" / name).read_bytes()


# -- rendered ----------------------------------------------------------------------------


def _rendered(rest: str) -> Images:
    """Frames drawn now, split between worlds."""
    match = re.fullmatch(r"(?P<task>.*?[^:0-9].*?)(:(?P<count>\d+)(:(?P<seed>\d+))?)?", rest)
    if not match:
        raise UserError(
            f"env:{rest} names no task: give env:TASK or env:TASK:COUNT:SEED, for instance "
            "env:cheetah-run:5000:1"
        )
    count, seed = int(match["count"] or 2000), int(match["seed"] or 0)
    try:
        frames, world = render_frames(match["task"], count, seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    source = f"{count} frames of {match['task']}, seed {seed}, between worlds"
    return split({"all": frames}, source, world)
