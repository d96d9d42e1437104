"""30 instants at which a disk is full: one sentence, and no checkpoint is lost.

A small file system in memory is as full as it can be but for so many bytes, which differ from case
to case, so that the run meets its end in another file each time. Mounting it needs root.
"""

import collections
import os
import shutil
import subprocess

import numpy as np
import pytest
from small_run import SMALL

from aef_worldmodel import fit
from aef_worldmodel.image_models.trainer import load_model
from aef_worldmodel.utils.checkpoint import list_checkpoints, load_checkpoint
from aef_worldmodel.utils.errors import UserError
from agents import train

SIZE = 64 * 2**20  # bytes of the file system
FIT = ["networks=conv", "width=4", "latent_dim=2", "updates=30", "batch=16", "evaluate_every=5"]
FIT += ["samples=2", "model=aef-center"]
MAIN = {"fit": fit.main, "train": train.main}
ROOM = {  # command -> kilobytes that are free when it starts
    "fit": [0, 1, 4, *range(8, 120, 16), 150, 200, 250, 300, 350, *range(400, 2_000, 230)],
    "train": [0, 8, 1_000, 7_000, 12_000, 13_000, 14_000, 16_000],
}


@pytest.fixture
def disk(tmp_path):
    """The folder of a small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk, free):
    """Leave `free` bytes on the disk."""
    room = os.statvfs(disk)
    with open(disk / "filler", "wb") as file:
        left = room.f_bavail * room.f_frsize - free
        while left > 0:
            left -= file.write(bytes(min(left, 2**20)))


def run(module, words, capfd):
    """Return what a command ended with, and what it wrote to stderr."""
    try:
        code = MAIN[module](words)
    except UserError as error:
        sentence = str(error)
        return ("sentence" if len(sentence) < 600 else "wall"), capfd.readouterr().err
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}", ""
    return ("finished" if code == 0 else f"code {code}"), capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("module", ROOM)
def test_full_disks(module, disk, tmp_path, capfd):
    random = np.random.default_rng(0)
    np.save(tmp_path / "grey.npy", random.integers(0, 256, (60, 16, 16), dtype=np.uint8))
    words = (
        [f"data={tmp_path / 'grey.npy'}", *FIT] if module == "fit" else [*SMALL, "eval.every=300"]
    )
    counts, faults = collections.Counter(), []
    for number, room in enumerate(ROOM[module]):
        folder = disk / f"run{number}"
        fill(disk, room * 1024)
        result, told = run(module, [*words, f"run={folder}"], capfd)
        result = "traceback: in a thread" if "Traceback" in told else result
        counts[result.partition(":")[0]] += 1
        (disk / "filler").unlink()
        saved = list_checkpoints(folder / "checkpoints")
        for path in saved:
            load_checkpoint(path)
        if saved and module == "fit":
            load_model(folder)
            again, _ = run(module, [f"resume={folder}"], capfd)
            counts["lost"] += again != "finished"
        if result.partition(":")[0] not in ("finished", "sentence"):
            faults.append(f"{room} kB: {result[:300]}")
        shutil.rmtree(folder, ignore_errors=True)
    with capfd.disabled():
        print(f"\n{module}: {len(ROOM[module])} full disks: {dict(counts)}", *faults, sep="\n")
    assert counts["traceback"] == counts["wall"] == counts["lost"] == 0
    assert counts["finished"] + counts["sentence"] == len(ROOM[module])
    assert counts["sentence"] and counts["finished"]
