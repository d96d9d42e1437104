"""Damaged files over every reader: one sentence or the content that was written."""

import collections
import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from aef_worldmodel.data.episodes import read_episode, read_info, write_episode, write_info
from aef_worldmodel.data.image_files import read_images
from aef_worldmodel.data.replay import Replay
from aef_worldmodel.metrics.inception import load_features
from aef_worldmodel.utils.checkpoint import load_checkpoint, save_checkpoint
from aef_worldmodel.utils.config.yaml_files import check_sealed
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table, open_metrics, read_metrics
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.training.recording import Recording
from agents.training.runs import read_provenance, write_provenance

SECONDS = 20  # the longest time that a damaged file may take
LONGEST = 600  # characters of a sentence, most of them the file's path
SPARSE = 2**30  # bytes of a file without content
FIELDS = {
    "frame": ((3, 4, 4), torch.uint8),
    "action": ((2,), torch.float32),
    "recurrent": ((5,), torch.float16),
}
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
STATE = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "steps": 7, "names": ["a", (1, None)]}


# -- what is written, and how it is read -----------------------------------------------------------


class Scale(torch.nn.Module):
    """Features of images: their means."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))


def make_replay(folder):
    replay = Replay(folder, FIELDS, 2, 40, 4, mutable=("recurrent",))
    for step in range(30):
        value = torch.tensor([step, step + 100])
        row = {
            "frame": value.byte().view(2, 1, 1, 1).expand(2, 3, 4, 4),
            "action": value[:, None].expand(2, 2).float(),
            "recurrent": torch.zeros(2, 5),
        }
        replay.add(row)
    torch.save(replay.state_dict(), folder / "state.pt")


def load_replay(folder):
    replay = Replay(folder, FIELDS, 2, 40, 4, mutable=("recurrent",))
    replay.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return replay.sample(50, 3, torch.Generator().manual_seed(0))


def load_recording(folder):
    return Recording(folder).sample(50, 3, torch.Generator().manual_seed(0))


def make_idx(path, opener):
    with opener(path, "wb") as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">3I", *PIXELS.shape) + PIXELS.tobytes())


def make_pictures(folder, suffix):
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{i}.{suffix}")


def make_metrics(path):
    Table(path).add(*({"frames": i, "loss": i / 7, "note": i * 3} for i in range(20)))


def load_metrics(path):
    rows = read_metrics(path, "frames")
    open_metrics(path, "frames", 10)  # as a resumed run does
    return rows


def make_episode(folder):
    rows = {
        "frame": torch.from_numpy(PIXELS)[:, None],
        "action": torch.zeros(12, 2),
        "reward": torch.arange(12.0),
        "first": torch.arange(12) == 0,
        "terminal": torch.arange(12) == 11,
    }
    write_episode(folder, 0, rows)


def load_settings(path):
    check_sealed(path)  # as the checkpoint of a run says
    return settings.read(path)


def make_provenance(path):
    config = settings.TrainConfig(hardware=HardwareConfig(threads=1, precision="float32"))
    write_provenance(path.parent, ["env=cheetah-run"], config, None)


READERS = {  # reader -> the file's name or "", make, load, whether the format has checksums
    "checkpoint": (
        "step_000000000009.safetensors",
        lambda path: save_checkpoint(path.parent, 9, STATE, {"kind": "train"}),
        lambda path: load_checkpoint(path, "train").state,
        True,
    ),
    "replay": ("", make_replay, load_replay, True),
    "recording": ("", make_replay, load_recording, True),
    "settings": (
        "config.yaml",
        lambda path: settings.save(path, settings.TrainConfig(seed=3, frames=77_000)),
        load_settings,
        True,
    ),
    "episode": (
        "episode_000000.npz",
        lambda path: make_episode(path.parent),
        read_episode,
        True,
    ),
    "idx.gz": (
        "train-images-idx3-ubyte.gz",
        lambda path: make_idx(path, gzip.open),
        read_images,
        True,
    ),
    "npz": ("images.npz", lambda path: np.savez_compressed(path, train=PIXELS), read_images, True),
    "idx": ("train-images-idx3-ubyte", lambda path: make_idx(path, open), read_images, False),
    "npy": ("images.npy", lambda path: np.save(path, PIXELS), read_images, False),
    "png": ("", lambda folder: make_pictures(folder, "png"), read_images, False),
    "jpeg": ("", lambda folder: make_pictures(folder, "jpg"), read_images, False),
    "metrics": ("metrics.csv", make_metrics, load_metrics, False),
    "table": ("table.csv", make_metrics, lambda path: Table(path, ["frames"]).rows, False),
    "provenance": ("provenance.json", make_provenance, read_provenance, False),
    "info": (
        "info.json",
        lambda path: write_info(path.parent, {"env": {"task": "x"}}),
        lambda path: read_info(path.parent),
        False,
    ),
    "features": (
        "features.pt",
        lambda path: torch.jit.script(Scale()).save(str(path)),
        load_features,
        False,
    ),
}


# -- damages ---------------------------------------------------------------------------------------


def flip(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data, rng):
    del data[rng.randrange(len(data)) :]


def behead(data, rng):
    del data[: rng.randrange(1, len(data) + 1)]


def zero(data, rng):
    at, size = rng.randrange(len(data)), rng.randint(1, 64)
    data[at : at + size] = bytes(len(data[at : at + size]))


def scatter(data, rng):
    for _ in range(rng.randint(2, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def insert(data, rng):
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 40))


def repeat(data, rng):
    at, size = rng.randrange(len(data)), rng.randint(1, 200)
    data[at:at] = data[at : at + size]


def text(data, rng):
    """Replace the file, or put something into it, that a parser stumbles over."""
    words = [b'"', b"[" * 20_000, b"{", b"9" * 5_000, b"1e999", b"null", b"\xff\xfe", b"\0" * 9]
    words += [b"&a [*a, *a]", b"!!python/object/apply:os.system ['touch executed']", b",,\n"]
    words += [b"cos\nsystem\n(S'touch executed'\ntR.", b"NaN", b"%!PS (executed) (w) file", b"\n\n"]
    word, at = rng.choice(words), rng.randrange(len(data))
    data[0 if rng.random() < 0.3 else at : at if rng.random() < 0.5 else len(data)] = word


BYTES = (flip, cut, behead, zero, scatter, insert, repeat, text)


def replace(path, rng):
    """Put something in the file's place that is no file."""
    path.unlink()
    kind = rng.choice(["fifo", "sparse", "folder", "empty", "absent", "loop"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(SPARSE)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "loop":
        path.symlink_to(path)


def damage(path, rng):
    if rng.random() < 0.1:
        replace(path, rng)
    else:
        data = bytearray(path.read_bytes())
        rng.choice(BYTES)(data, rng)
        path.write_bytes(data)


# -- outcomes --------------------------------------------------------------------------------------


class Hang(BaseException):
    """A reader took too long."""


def on_alarm(number, frame):
    raise Hang


def plain(value):
    """Return content in a form that can be compared."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value if isinstance(value, int | float | str | None) else type(value).__name__


def outcome(load, path, expected):
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = plain(load(path))
    except UserError as error:
        sentence = str(error)
        fits = "\n" not in sentence and len(sentence) <= LONGEST + len(str(path))
        return "refused" if fits else f"wall: {sentence}"
    except Hang:
        return "hang"
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "same" if found == expected else "other"


@pytest.mark.parametrize("cases", [80, pytest.param(3_000, marks=pytest.mark.slow)])
def test_damaged_files(tmp_path, monkeypatch, capsys, cases):
    monkeypatch.chdir(tmp_path)
    former, begin = signal.signal(signal.SIGALRM, on_alarm), time.monotonic()
    counts, faults = collections.Counter(), collections.Counter()
    for reader, (name, make, load, checked) in READERS.items():
        whole = tmp_path / reader / "whole"
        whole.mkdir(parents=True)
        make(whole / name if name else whole)
        expected = plain(load(shutil.copytree(whole, whole.parent / "copy") / name))
        shutil.rmtree(whole.parent / "copy")
        for case in range(-(-cases // len(READERS))):
            rng = random.Random(f"{reader} {case}")
            copy = shutil.copytree(whole, whole.parent / "copy")
            files = [p for p in sorted(copy.rglob("*")) if p.is_file() and p.name != "state.pt"]
            damage(rng.choice(files), rng)
            result = outcome(load, copy / name if name else copy, expected)
            if result == "other" and not checked:
                result = "other, in a format without checksums"
            counts[result.partition(":")[0]] += 1
            if result.partition(":")[0] not in ("same", "refused") and "without" not in result:
                faults[f"{reader}: {result[:200]}"] += 1
            with contextlib.suppress(OSError):
                shutil.rmtree(copy)
    signal.signal(signal.SIGALRM, former)
    counts["executed"] = int((tmp_path / "executed").exists())
    with capsys.disabled():
        print(f"\n{sum(counts.values())} damaged files in {time.monotonic() - begin:.0f} s:")
        print(json.dumps({name: counts[name] for name in sorted(counts)}, indent=1))
        for fault, count in faults.most_common(40):
            print(f"{count} times {fault}")
    bad = ("traceback", "hang", "other", "wall", "executed")
    assert {name: counts[name] for name in bad} == dict.fromkeys(bad, 0)
    assert counts["refused"] > cases / 3


# -- bombs -----------------------------------------------------------------------------------------


def idx_bomb(path):
    with gzip.open(path, "wb") as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 2**10, 2**10) + bytes(2**24))


def npz_bomb(path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**40,)}
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(2**24))


def npy_bomb(path):
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (2**40,)}
        )


def png_bomb(path):
    path.mkdir()
    Image.new("1", (30_000, 30_000)).save(path / "a.png")


def yaml_bomb(path):
    lines = ["a: &a0 [x, x]", *(f"k{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    path.write_text("\n".join(lines))


BOMBS = {
    "images.gz": (idx_bomb, read_images),
    "images.npz": (npz_bomb, read_images),
    "images.npy": (npy_bomb, read_images),
    "episode_000000.npz": (npz_bomb, read_episode),
    "pictures": (png_bomb, read_images),
    "config.yaml": (yaml_bomb, settings.read),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_take_memory(tmp_path, name):
    import resource

    make, load = BOMBS[name]
    make(tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=name.partition(".")[0]):
        load(tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB
