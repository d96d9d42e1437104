"""Our pictures beside dm_control's OpenGL ones.

Run: MUJOCO_GL=osmesa python -m envs.verify_pictures [task ...] [--save DIR]
"""

import sys
from pathlib import Path

import numpy as np

from envs import reference
from envs.foreign import DmControl
from envs.suite import make_task, registry
from envs.vector import BatchedEnv

SIZE = (64, 64)


def pairs(name: str, states: int = 4) -> np.ndarray:
    """The same starts of episodes as drawn by the ray tracer and by OpenGL.

    Returns:
        uint8 (states, 2, H, W, 3), ours first.

    Raises:
        ValueError: there is no OpenGL to draw with.
    """
    env = BatchedEnv(make_task(name), states, image_size=SIZE, array="numpy", threads=1)
    ours, _ = env.reset(seed=0)
    theirs = DmControl(name, SIZE)
    theirs.reset(seed=0)  # also sets what a task changes in the model
    drawn = []
    for world in range(states):
        reference.paste_state(env.sim, world, theirs._env.physics)
        drawn.append(theirs.render())
    env.close()
    return np.stack([ours.transpose(0, 2, 3, 1), drawn], 1)


def difference(pictures: np.ndarray) -> float:
    """Mean absolute difference of ours from theirs, in levels of 255."""
    return float(np.abs(pictures[:, 0].astype(float) - pictures[:, 1]).mean())


def main(names: list[str]) -> None:
    """Prints every task's mean difference; "--save DIR" also writes the pairs as PNG."""
    folder = None
    if "--save" in names:
        at = names.index("--save")
        folder = Path(names[at + 1])
        folder.mkdir(parents=True, exist_ok=True)
        names = names[:at] + names[at + 2 :]
    print("task                      mean difference of 255")
    for name in names or registry():
        pictures = pairs(name)
        print(f"{name:25s} {difference(pictures):6.2f}", flush=True)
        if folder:
            from PIL import Image

            states, _, height, width, _ = pictures.shape
            sheet = pictures.transpose(1, 2, 0, 3, 4).reshape(2 * height, states * width, 3)
            Image.fromarray(sheet).save(folder / f"{name}.png")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
