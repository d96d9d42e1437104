"""Makes the images shipped in aef_worldmodel/data again: `python -m benchmarks.builtin_data`.

`frames` draws 1,000 frames of each task in `datasets.FRAMES` (40 worlds, seed 0) and writes a PNG a
task. `digits` takes them from scikit-learn, which must be installed. Neither changes a byte of the
images when run again.
"""

import sys
from pathlib import Path

import numpy as np

from aef_worldmodel.datasets import FRAMES, fold_worlds
from aef_worldmodel.rendered import render_frames

FOLDER = Path("aef_worldmodel/data")


def digits() -> None:
    """8x8 digits with levels 0..16, as scikit-learn ships them."""
    from sklearn.datasets import load_digits

    np.savez_compressed(FOLDER / "digits.npz", digits=load_digits().images.astype(np.uint8))


def frames() -> None:
    """One sheet a task, a world a row."""
    for task in FRAMES:
        fold_worlds(render_frames(task, 1000)[0]).save(FOLDER / f"{task}.png", optimize=True)


if __name__ == "__main__":
    makers = {"digits": digits, "frames": frames}
    for name in sys.argv[1:] or makers:
        makers[name]()
        print(f"{name}: written to {FOLDER}")
