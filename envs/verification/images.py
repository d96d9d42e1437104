"""Compare the ray tracer's images with dm_control's OpenGL images.

Run: MUJOCO_GL=osmesa python -m envs.verification.images [task ...] [--save DIR] [--out CSV]
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

import envs
from envs.batched import BatchedEnv
from envs.dm_control import DmControlEnv
from envs.suite import make_task
from envs.verification import measured, reference
from envs.verification.command import run

COMMAND = "python -m envs.verification.images"
SIZE = (64, 64)


def render_pairs(name: str, states: int = 4, tendons: bool = True, samples: int = 2) -> np.ndarray:
    """Render the same starts of episodes with the ray tracer and with OpenGL.

    Args:
        name: of the task.
        states: number of starts.
        tendons: let OpenGL render tendons; the ray tracer does not.
        samples: the ray tracer's rays per pixel.

    Returns:
        uint8 (states, 2, H, W, 3), the ray tracer's first.

    Raises:
        ValueError: OpenGL does not work here.
    """
    env = BatchedEnv(
        make_task(name),
        states,
        image_size=SIZE,
        samples_per_pixel=samples,
        array="numpy",
        threads=1,
    )
    ours, _ = env.reset(seed=0)
    other = DmControlEnv(name, SIZE)
    other.reset(seed=0)  # also sets what a task changes in the model
    physics = other.reference.physics
    if not tendons:
        physics.model.tendon_rgba[:, 3] = 0.0
    theirs = []
    for i in range(states):
        reference.copy_to(env.sim, i, physics)
        theirs.append(other.render())
    env.close()
    return np.stack([ours.transpose(0, 2, 3, 1), np.stack(theirs)], 1)


def make_row(name: str, samples: int, images: np.ndarray) -> dict:
    """Return a row: the mean difference, and the largest over the pixels' means, of 255."""
    difference = np.abs(images[:, 0].astype(float) - images[:, 1]).mean((0, 3))  # (H, W)
    return {
        "task": name,
        "rays": samples,
        "difference": float(difference.mean()),
        "largest_of_a_pixel": float(difference.max()),
    }


def save(folder: Path, name: str, images: np.ndarray) -> None:
    """Write the pairs as one PNG, the ray tracer's above."""
    folder.mkdir(parents=True, exist_ok=True)
    states, _, height, width, _ = images.shape
    sheet = images.transpose(1, 2, 0, 3, 4).reshape(2 * height, states * width, 3)
    Image.fromarray(sheet).save(folder / f"{name}.png")


def main(argv: list[str]) -> None:
    """Print every task's mean difference."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("tasks", nargs="*", metavar="task", help="all by default")
    parser.add_argument("--no-tendons", action="store_true", help="leave them out of OpenGL's too")
    parser.add_argument("--samples", nargs="+", type=int, default=[2], help="rays per pixel")
    parser.add_argument("--save", type=Path, metavar="DIR", help="folder for the pairs as PNG")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    options = parser.parse_args(argv)
    measured.check(options.out, make_row("", 0, np.zeros((1, 2, 1, 1, 3))))
    print("task                 rays mean difference of 255")
    rows = []
    names: list[str] = options.tasks or envs.tasks()
    counts: list[int] = options.samples
    for name, samples in itertools.product(names, counts):
        images = render_pairs(name, tendons=not options.no_tendons, samples=samples)
        rows.append(make_row(name, samples, images))
        print(f"{name:20s} {samples:4d} {rows[-1]['difference']:6.2f}", flush=True)
        if options.save:
            save(options.save, f"{name}_{samples}" if len(options.samples) > 1 else name, images)
    if options.out:
        command = [COMMAND, *options.tasks, "--samples", *map(str, options.samples)]
        command += ["--no-tendons"] * options.no_tendons
        measured.write(options.out, rows, " ".join(command))


if __name__ == "__main__":
    run(main)
