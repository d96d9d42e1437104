"""Damaged files in Warp's cache of compiled kernels, which Warp itself reads without a check."""

import json
import re
import shutil
import struct
from pathlib import Path

ELF = b"\x7fELF\x02\x01"  # 64 bits, little-endian: objects on Linux, and those of NVIDIA GPUs
UNFINISHED = re.compile(r"_p\d+_t\d+$")  # folders in which a process is compiling now
OBJECTS = (".o", ".cubin")


def remove_damaged(cache: Path) -> list[Path]:
    """Remove the kernels whose files were cut short; Warp compiles them again when they are used.

    Args:
        cache: the folder, with a folder for each module.

    Returns:
        The folders that were removed.
    """
    damaged = [
        folder
        for folder in (sorted(cache.iterdir()) if cache.is_dir() else [])
        if not UNFINISHED.search(folder.name) and not all(map(_is_whole, folder.glob("*")))
    ]
    for folder in damaged:
        shutil.rmtree(folder, ignore_errors=True)
    return damaged


def _is_whole(path: Path) -> bool:
    """Return whether a file of the cache is as long as it says; True for other kinds."""
    try:
        if path.suffix == ".meta":
            return isinstance(json.loads(path.read_bytes()), dict)
        return path.suffix not in OBJECTS or path.stat().st_size >= _least_size(path)
    except ValueError:
        return False
    except OSError:  # another process is compiling it
        return True


def _least_size(path: Path) -> int:
    """Return the bytes that a compiled object has: its table of sections is at the end."""
    with path.open("rb") as file:
        header = file.read(64)
    if len(header) < 64 or not header.startswith(ELF):
        return 64
    start, entry, count = (
        *struct.unpack_from("<Q", header, 40),
        *struct.unpack_from("<HH", header, 58),
    )
    return start + entry * count
