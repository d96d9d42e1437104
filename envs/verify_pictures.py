"""Our pictures beside dm_control's OpenGL ones.

Run: MUJOCO_GL=osmesa python -m envs.verify_pictures [task ...] [--save DIR] [--out CSV]
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from envs import measured, reference
from envs.foreign import DmControl
from envs.suite import make_task, registry
from envs.vector import BatchedEnv

SIZE = (64, 64)


def pairs(name: str, states: int = 4, tendons: bool = True, rays: int = 2) -> np.ndarray:
    """The same starts of episodes as drawn by the ray tracer and by OpenGL.

    Args:
        states: how many starts.
        tendons: let OpenGL draw them; the ray tracer does not.
        rays: how many of the ray tracer's a pixel is the mean of.

    Returns:
        uint8 (states, 2, H, W, 3), ours first.

    Raises:
        ValueError: there is no OpenGL to draw with.
    """
    env = BatchedEnv(make_task(name), states, image_size=SIZE, rays=rays, array="numpy", threads=1)
    ours, _ = env.reset(seed=0)
    theirs = DmControl(name, SIZE)
    theirs.reset(seed=0)  # also sets what a task changes in the model
    if not tendons:
        theirs._env.physics.model.tendon_rgba[:, 3] = 0.0
    drawn = []
    for world in range(states):
        reference.paste_state(env.sim, world, theirs._env.physics)
        drawn.append(theirs.render())
    env.close()
    return np.stack([ours.transpose(0, 2, 3, 1), drawn], 1)


def row(name: str, rays: int, pictures: np.ndarray) -> dict:
    """A row of the table: the mean difference, and its largest over the pixels' means."""
    apart = np.abs(pictures[:, 0].astype(float) - pictures[:, 1]).mean((0, 3))  # (H, W)
    return {
        "task": name,
        "rays": rays,
        "difference": float(apart.mean()),
        "largest_of_a_pixel": float(apart.max()),
    }


def save(folder: Path, name: str, pictures: np.ndarray) -> None:
    """Writes the pairs as one PNG, ours above."""
    folder.mkdir(parents=True, exist_ok=True)
    states, _, height, width, _ = pictures.shape
    sheet = pictures.transpose(1, 2, 0, 3, 4).reshape(2 * height, states * width, 3)
    Image.fromarray(sheet).save(folder / f"{name}.png")


def main(words: list[str]) -> None:
    """Prints every task's mean difference."""
    parser = argparse.ArgumentParser(prog="python -m envs.verify_pictures")
    parser.add_argument("tasks", nargs="*", metavar="task", help="all if none is named")
    parser.add_argument("--no-tendons", action="store_true", help="leave them out of OpenGL's too")
    parser.add_argument("--rays", nargs="+", type=int, default=[2], help="a pixel; 2 unless told")
    parser.add_argument("--save", type=Path, metavar="DIR", help="where to write the pairs as PNG")
    parser.add_argument("--out", type=Path, help="CSV to keep the table in")
    options = parser.parse_args(words)
    measured.check(options.out, row("", 0, np.zeros((1, 2, 1, 1, 3))))
    print("task                 rays mean difference of 255")
    rows = []
    for name, rays in itertools.product(options.tasks or registry(), options.rays):
        pictures = pairs(name, tendons=not options.no_tendons, rays=rays)
        rows.append(row(name, rays, pictures))
        print(f"{name:20s} {rays:4d} {rows[-1]['difference']:6.2f}", flush=True)
        if options.save:
            save(options.save, f"{name}_{rays}" if len(options.rays) > 1 else name, pictures)
    if options.out:
        words = ["python -m envs.verify_pictures", *options.tasks]
        words += ["--rays", *map(str, options.rays)]
        words += ["--no-tendons"] * options.no_tendons
        measured.write(options.out, rows, " ".join(words))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
