"""Images from files: numpy arrays, IDX (the MNIST family), folders of PNG and JPEG.

`read_images` returns uint8 tensors (N, C, H, W) by the name of the set they belong to, "all" where
a file does not say. Whatever is wrong with a file is one sentence (UserError).
"""

import gzip
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_worldmodel.errors import UserError

SETS = ("train", "validation", "test")
PICTURES = {".png", ".jpg", ".jpeg"}
DAMAGE = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, KeyError)


def read_images(path: Path) -> tuple[dict[str, Tensor], str]:
    """A file or folder -> images (N, C, H, W) uint8 by set, and in words what was found.

    Raises:
        UserError: nothing there, or nothing that can be read; the sentence names the file.
    """
    if not path.exists():
        raise UserError(f"there is no {path}: give the path of an existing file or folder")
    if path.is_dir():
        return read_idx_folder(path) if idx_files(path) else read_picture_folder(path)
    if not path.stat().st_size:
        raise UserError(f"{path} is empty: it was perhaps not copied to the end; fetch it again")
    if path.suffix in (".npy", ".npz"):
        return read_numpy(path)
    if path.suffix in PICTURES:
        raise UserError(f"{path} is one picture: give the folder of pictures it lies in")
    images, layout = as_images(read_idx(path), path)
    return {"all": images}, f"IDX, {layout}"


def as_images(array: np.ndarray, source: object) -> tuple[Tensor, str]:
    """An array of uint8 images, NHW, NHWC or NCHW with 1 or 3 channels -> (N, C, H, W) and which
    of the three it was.

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
        raise UserError(f"{source} has shape {shape}: there is no image in it")
    images = torch.from_numpy(np.array(array, order="C"))
    if array.ndim == 3:
        return images[:, None], "NHW"
    return (images.permute(0, 3, 1, 2).contiguous(), "NHWC") if last else (images, "NCHW")


# -- numpy -------------------------------------------------------------------------------


def read_numpy(path: Path) -> tuple[dict[str, Tensor], str]:
    """An .npy of images; or an .npz of one array, or of arrays `train`, `test`, `validation` (or
    `x_train`, ... as Keras names them; labels beside them are left alone)."""
    arrays = _numpy_arrays(path)
    images, layouts = {}, []
    for name, array in arrays.items():
        source = path if name == "all" else f"{name} in {path}"
        images[name], layout = as_images(array, source)
        layouts.append(layout)
    return images, f"numpy, {' and '.join(dict.fromkeys(layouts))}"


def _numpy_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of images in a file, by set."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"all": loaded}
        with loaded as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be read as a numpy array ({_brief(error)}): it is damaged or cut "
            "short; write it again with numpy.save or numpy.savez"
        ) from error
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
    """The usual files of the MNIST family in a folder, gzip or not, by set."""
    found = {}
    for name, pattern in (("train", "*train-images*"), ("test", "*t10k-images*"),
                          ("test", "*test-images*")):  # fmt: skip
        files = sorted(p for p in folder.glob(pattern) if p.is_file())
        if files:
            found.setdefault(name, files[0])
    return found


def read_idx_folder(folder: Path) -> tuple[dict[str, Tensor], str]:
    """A folder with train-images-idx3-ubyte and t10k-images-idx3-ubyte, gzip or not."""
    files = idx_files(folder)
    if "train" not in files:
        raise UserError(f"{folder} has {files['test'].name} but no file train-images*: add it")
    return {name: as_images(read_idx(file), file)[0] for name, file in files.items()}, "IDX, NHW"


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes, gzip or not -> uint8 array.

    Raises:
        UserError: not IDX, not bytes, fewer or more bytes than its header says.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be unpacked ({_brief(error)}): it is damaged or cut short; fetch it "
            "again"
        ) from error
    rank = data[3] if len(data) > 3 else 0
    if data[:2] != b"\0\0" or not rank:
        raise UserError(
            f"{path} is not a file of images known here: give .npy, .npz, IDX (gzip or not), or a "
            "folder of PNG or JPEG"
        )
    if data[2] != 8:
        raise UserError(f"{path} is IDX of type {data[2]:#04x}; images are unsigned bytes, 0x08")
    if rank == 1:
        raise UserError(f"{path} holds labels, one number each: give the file of images")
    header, body = data[4 : 4 + 4 * rank], data[4 + 4 * rank :]
    if len(header) < 4 * rank:
        raise UserError(f"{path} ends within its header: it was cut short; fetch it again")
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    if len(body) != math.prod(shape):
        raise UserError(
            f"{path} says it has shape {shape} but {len(body)} bytes follow: it was cut short or "
            "joined with another; fetch it again"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


# -- pictures ----------------------------------------------------------------------------


def read_picture_folder(folder: Path) -> tuple[dict[str, Tensor], str]:
    """A folder of PNG and JPEG of one size, subfolders included, in the order of their names.

    Subfolders `train`, `validation`, `test` are these sets. One colour picture makes all colour.
    """
    sets = {name: _pictures(folder / name) for name in SETS}
    sets = {name: files for name, files in sets.items() if files}
    if "train" not in sets:
        sets = {"all": _pictures(folder)}
    if not any(sets.values()):
        raise UserError(f"{folder} holds no .png, .jpg or .jpeg and no IDX file: give another")
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


def _picture(file: Path) -> Image.Image:
    try:
        picture = Image.open(file)
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{file} cannot be read as a picture ({_brief(error)}): it is damaged, cut short or "
            "something else; remove it or write it again"
        ) from error
    if picture.mode.startswith(("I", "F")):
        raise UserError(f"{file} has more than 8 bits a channel ({picture.mode}): make it 8 bits")
    return picture


def _brief(error: Exception) -> str:
    """An error's first line without its full stop."""
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
