"""Images from files: numpy arrays, IDX (the MNIST family), folders of PNG and JPEG.

`read_images` returns uint8 tensors (N, C, H, W) by the set they belong to, "all" where a file does
not name one. A file that cannot be read, or that promises more than `LARGEST_ARRAYS` bytes, is one
sentence (UserError) before its content is unpacked.
"""

import gzip
import math
import warnings
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_worldmodel.data.arrays import DAMAGE, read_arrays
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import LARGEST_ARRAYS, exists, open_regular

SETS = ("train", "validation", "test")
PICTURES = {".png", ".jpg", ".jpeg"}
FORMATS = ("PNG", "JPEG")  # that Pillow may read: of its others, some start programs


def read_images(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return images (N, C, H, W) uint8 by set, and a description, of a file or folder.

    Raises:
        UserError: the path does not exist, or cannot be read as images.
    """
    if not exists(path):
        raise UserError(f"{path} does not exist: give the path of a file or folder")
    if path.is_dir():
        return read_idx_folder(path) if idx_files(path) else read_picture_folder(path)
    if path.is_file() and not path.stat().st_size:
        raise UserError(f"{path} is empty: its copy was perhaps cut short; fetch it again")
    if path.suffix in (".npy", ".npz"):
        return read_numpy(path)
    if path.suffix in PICTURES:
        raise UserError(f"{path} is one picture: give the folder of pictures it lies in")
    images, layout = as_images(read_idx(path), path)
    return {"all": images}, f"IDX, {layout}"


def as_images(array: np.ndarray, source: object) -> tuple[Tensor, str]:
    """Return an array of uint8 images as (N, C, H, W), and its layout.

    The layout is NHW, NHWC or NCHW, with 1 or 3 channels.

    Raises:
        UserError: another type, another shape, or one that could be either of the last two.
    """
    shape = array.shape
    if array.dtype != np.uint8:
        raise UserError(
            f"{source} holds {array.dtype} numbers; images are uint8, 0 to 255: convert them "
            "(from 0..1: multiply by 255 and round)"
        )
    last, first = array.ndim == 4 and shape[3] in (1, 3), array.ndim == 4 and shape[1] in (1, 3)
    if array.ndim != 3 and last == first:
        raise UserError(
            f"{source} has shape {shape}, which {'is ambiguous' if last else 'is not images'}: "
            "give (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
        )
    if not array.size:
        raise UserError(f"{source} has shape {shape}, which is empty: give at least one image")
    images = torch.from_numpy(np.array(array, order="C"))
    if array.ndim == 3:
        return images[:, None], "NHW"
    return (images.permute(0, 3, 1, 2).contiguous(), "NHWC") if last else (images, "NCHW")


# -- numpy -------------------------------------------------------------------------------


def read_numpy(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the images of an .npy or .npz by set, and a description.

    An .npz has one array, or arrays `train`, `test`, `validation` (or `x_train`, ... as Keras names
    them; labels beside them are left out).
    """
    arrays = _numpy_arrays(path)
    images, layouts = {}, []
    for name, array in arrays.items():
        source = path if name == "all" else f"{name} in {path}"
        images[name], layout = as_images(array, source)
        layouts.append(layout)
    return images, f"numpy, {' and '.join(dict.fromkeys(layouts))}"


def _numpy_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of images in a file, by set."""
    try:
        arrays = read_arrays(path)
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be read as a numpy array ({reason(error)}): it is damaged or cut "
            "short, or too large; write it again with numpy.save or numpy.savez"
        ) from error
    if "" in arrays:
        return {"all": arrays[""]}
    sets = {name.removeprefix("x_"): array for name, array in arrays.items()}
    sets = {name: array for name, array in sets.items() if name in SETS}
    if "train" in sets:
        return sets
    if len(arrays) == 1:
        return {"all": next(iter(arrays.values()))}
    raise UserError(
        f"{path} holds the arrays {', '.join(arrays) or '(none)'}: give one array of images, or "
        "arrays named train, validation and test"
    )


# -- IDX ---------------------------------------------------------------------------------


def idx_files(folder: Path) -> dict[str, Path]:
    """Return the usual files of the MNIST family in a folder, gzip or not, by set."""
    found = {}
    for name, pattern in (
        ("train", "*train-images*"),
        ("test", "*t10k-images*"),
        ("test", "*test-images*"),
    ):
        files = sorted(p for p in folder.glob(pattern) if p.is_file())
        if files:
            found.setdefault(name, files[0])
    return found


def read_idx_folder(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return the images of train-images-idx3-ubyte and t10k-images-idx3-ubyte, gzip or not."""
    files = idx_files(folder)
    if "train" not in files:
        raise UserError(f"{folder} has {files['test'].name} but no file train-images*: add it")
    return {name: as_images(read_idx(file), file)[0] for name, file in files.items()}, "IDX, NHW"


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an IDX file, gzip or not.

    Raises:
        UserError: not IDX, not bytes, or a length that does not fit the header.
    """
    try:
        with open_regular(path, LARGEST_ARRAYS) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _idx(gzip.open(file) if packed else file, path)
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be unpacked ({reason(error)}): it is damaged or cut short; fetch it "
            "again"
        ) from error


def _idx(file: IO[bytes] | gzip.GzipFile, path: Path) -> np.ndarray:
    """Read the header, then as much as it promises: a small gzip may unpack to any size."""
    start = file.read(4)
    rank = start[3] if len(start) > 3 else 0
    if start[:2] != b"\0\0" or not rank:
        raise UserError(
            f"{path} is not a known file of images: give .npy, .npz, IDX (gzip or not), or a "
            "folder of PNG or JPEG"
        )
    if start[2] != 8:
        raise UserError(f"{path} is IDX of type {start[2]:#04x}; images are unsigned bytes, 0x08")
    if rank == 1:
        raise UserError(f"{path} holds labels, one number each: give the file of images")
    header = file.read(4 * rank)
    if len(header) < 4 * rank:
        raise UserError(f"{path} ends within its header: it was cut short; fetch it again")
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    size = math.prod(shape)
    if size > LARGEST_ARRAYS:
        raise UserError(
            f"{path} has a header for {size:,} bytes of images, more than the {LARGEST_ARRAYS:,} "
            "that are read: it is damaged, or give a part of it"
        )
    body = file.read(size + 1)
    if len(body) != size:
        raise UserError(
            f"{path} has a header for shape {shape} but {_more(len(body), size)} bytes follow: it "
            "was cut short or joined with another; fetch it again"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _more(found: int, size: int) -> str:
    return f"more than {size}" if found > size else str(found)


# -- pictures ----------------------------------------------------------------------------


def read_picture_folder(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return the PNG and JPEG of a folder and its subfolders, in the order of their names.

    They have one size. Subfolders `train`, `validation`, `test` are these sets. One colour picture
    makes all pictures colour.
    """
    sets = {name: _pictures(folder / name) for name in SETS}
    sets = {name: files for name, files in sets.items() if files}
    if "train" not in sets:
        sets = {"all": _pictures(folder)}
    if not any(sets.values()):
        raise UserError(f"{folder} holds no .png, .jpg or .jpeg and no IDX file: give another")
    _check_total(folder, [file for files in sets.values() for file in files])
    opened = {name: [_picture(file) for file in files] for name, files in sets.items()}
    every = [(file, picture) for name in sets for file, picture in zip(sets[name], opened[name])]
    size = every[0][1].size
    for file, picture in every:
        if picture.size != size:
            raise UserError(
                f"{file} is {picture.width}x{picture.height} pixels but {every[0][0].name} is "
                f"{size[0]}x{size[1]}: resize all to one size"
            )
    mode = "L" if all(picture.mode in ("1", "L", "LA") for _, picture in every) else "RGB"
    images = {
        name: as_images(np.stack([np.asarray(p.convert(mode)) for p in pictures]), folder)[0]
        for name, pictures in opened.items()
    }
    return images, f"pictures, {'grey' if mode == 'L' else 'RGB'}"


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)


def _check_total(folder: Path, files: list[Path]) -> None:
    """Raise UserError if pictures as large as the first would be too many to read."""
    width, height = _open_picture(files[0]).size
    size = 3 * width * height * len(files)
    if size > LARGEST_ARRAYS:
        raise UserError(
            f"{folder} holds {len(files)} pictures of {width}x{height} pixels, {size:,} bytes and "
            f"more than the {LARGEST_ARRAYS:,} that are read: make them smaller, or give fewer"
        )


def _picture(file: Path) -> Image.Image:
    picture = _open_picture(file)
    if picture.mode.startswith(("I", "F")):
        raise UserError(f"{file} has more than 8 bits a channel ({picture.mode}): make it 8 bits")
    return picture


def _open_picture(file: Path) -> Image.Image:
    """Return a picture, read from a regular file and no larger than Pillow's own limit."""
    faults = (OSError, SyntaxError, ValueError, IndexError, TypeError, MemoryError, ArithmeticError)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings(), open_regular(file, LARGEST_ARRAYS) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(opened, formats=FORMATS)
            picture.load()
    except (*faults, *bombs) as error:
        raise UserError(
            f"{file} cannot be read as a picture ({reason(error)}): it is damaged, cut short or "
            "something else; remove it or write it again"
        ) from error
    return picture
