"""Arrays of .npy and .npz files, read without executing code and within a limit of memory."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from aef_worldmodel.utils.files import LARGEST_ARRAYS, open_regular

DAMAGE = (  # what zipfile, zlib and numpy raise for files that are damaged
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    SyntaxError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


def read_arrays(
    path: str | Path, names: Collection[str] | None = None, most: int = LARGEST_ARRAYS
) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz by name, or that of an .npy as "".

    Args:
        path: the file.
        names: arrays to read; None for all.
        most: bytes of all arrays, of which a larger number is refused before they are unpacked.

    Raises:
        one of `DAMAGE`: the file is damaged, too large, or lacks an array.
    """
    with open_regular(path, most) as file:
        start = file.read(6)
        file.seek(0)
        if start == np.lib.format.MAGIC_PREFIX:
            return {"": _read(file, most)}
        return _read_archive(file, names, most)


def _read_archive(
    file: IO[bytes], names: Collection[str] | None, most: int
) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name in members if names is None else names:
            if name not in members:
                raise ValueError(f"it has no array {name}")
            with archive.open(members[name]) as member:
                found[name] = _read(member, most - sum(array.nbytes for array in found.values()))
                if member.read(1):  # also checks the checksum at the end
                    raise ValueError(f"its array {name} is longer than its header says")
    return found


def _read(file: IO[bytes], most: int) -> np.ndarray:
    """Read one array: first the header, then as many bytes as it promises."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its arrays have version {version} of numpy's format")
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(file)
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"it promises {size:,} bytes, more than the {most:,} that are read")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could execute code")
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{len(data):,} bytes follow its header for {size:,}")
    array = np.frombuffer(bytearray(data), dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
