"""Whether the renderer draws what it drew before: `python -m envs.verification.frames [task ...]`.

mujoco-warp's images may change between versions, and a model that was trained on the old ones then
sees strange frames. results/reference_frames.csv keeps the hash of a reference frame of each task.
"""

import argparse
import csv
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import torch

import envs
from envs.verification import measured
from envs.verification.command import run

TABLE = Path(__file__).parents[2] / "results" / "reference_frames.csv"


def renderer(env: Any) -> str:
    """Return what draws the images of `BatchedEnv`, in words."""
    version = importlib.metadata.version("mujoco-warp")
    return f"mujoco-warp {version} on {env.device.type} with {env.samples_per_pixel} rays a pixel"


def fingerprint(env: Any) -> dict[str, str]:
    """Return what identifies the images of a `BatchedEnv`, which stays as it was.

    Returns:
        "of": the task and the size; "frame": SHA-256 of the first frame of the episode with seed
        0; "drawn_by": the renderer.
    """
    state = env.state()
    frame = env.reset(seed=0)[0][0]  # (3, H, W)
    env.set_state(state)
    pixels = torch.as_tensor(frame).cpu().contiguous().numpy()
    return {
        "of": f"{type(env.task).__name__} {env.state()['model']} {tuple(frame.shape)}",
        "frame": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "drawn_by": renderer(env),
    }


def frame_row(task: str) -> dict[str, str]:
    """Return a row of `TABLE` for a task of the suite, as its usual images are drawn here."""
    env = envs.make(task, 1, threads=1)
    found = fingerprint(env)
    env.close()
    return {"task": task, "frame": found["frame"], "drawn_by": found["drawn_by"]}


def kept_rows() -> dict[str, dict[str, str]]:
    """Return the rows of `TABLE` by task."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["task"]: row for row in csv.DictReader(file)}


def compared(task: str) -> tuple[bool, str]:
    """Compare a task's reference frame with the kept one.

    Returns:
        Whether they are the same, and a clause that says so and names both renderers.
    """
    kept, now = kept_rows()[task], frame_row(task)
    if kept["frame"] == now["frame"]:
        return True, f"the reference frame of {task} is the kept one, drawn by {now['drawn_by']}"
    return False, (
        f"{now['drawn_by']} draws the reference frame of {task} differently here than "
        f"{kept['drawn_by']} did on {kept['hardware']}: expect other results than the published"
    )


def main(argv: list[str]) -> int:
    """Compare tasks, or write their rows; return 1 if a frame differs."""
    parser = argparse.ArgumentParser(prog="python -m envs.verification.frames", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="task", help="all by default")
    parser.add_argument("--out", type=Path, help="CSV file for new rows, instead of comparing")
    options = parser.parse_args(argv)
    tasks = options.tasks or envs.tasks()
    if options.out:
        command = " ".join(["python -m envs.verification.frames", *options.tasks])
        measured.write(options.out, [frame_row(task) for task in tasks], command)
        return 0
    results = []
    for task in tasks:
        if task not in kept_rows():
            raise ValueError(f"{task} is not in {TABLE}: give tasks that are, or --out.")
        same, clause = compared(task)
        print(clause, flush=True)
        results.append(same)
    return int(not all(results))


if __name__ == "__main__":
    run(main)
