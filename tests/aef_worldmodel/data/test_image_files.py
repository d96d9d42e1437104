"""Images from files: every form is read, every damaged file is one sentence."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.utils.errors import UserError

RANDOM = np.random.RandomState(1)


def pixels(*shape):
    return RANDOM.randint(0, 256, shape).astype(np.uint8)


def idx(array):
    return (
        b"\0\0\x08"
        + bytes([array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.tobytes())
    )


def everything(images):
    return torch.cat([images.train, images.validation, images.test])


def same_set(images, array):
    """The three sets together are the given images (N, C, H, W), each once."""
    got, want = everything(images).flatten(1), torch.as_tensor(array).flatten(1)
    return sorted(map(bytes, got.numpy())) == sorted(map(bytes, want.numpy()))


# -- numpy -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, shown, layout",
    [
        ((20, 5, 4), (1, 5, 4), "NHW"),
        ((20, 5, 4, 1), (1, 5, 4), "NHWC"),
        ((20, 5, 4, 3), (3, 5, 4), "NHWC"),
        ((20, 3, 5, 4), (3, 5, 4), "NCHW"),
        ((20, 1, 5, 4), (1, 5, 4), "NCHW"),
    ],
)
def test_layouts(tmp_path, shape, shown, layout):
    array = pixels(*shape)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    order = {
        "NHW": lambda a: a[:, None],
        "NHWC": lambda a: a.transpose(0, 3, 1, 2),
        "NCHW": lambda a: a,
    }[layout]
    for file in ("a.npy", "a.npz"):
        images = load_images(str(tmp_path / file))
        assert images.shape == shown and layout in images.source and file in images.source
        assert same_set(images, np.ascontiguousarray(order(array)))
        assert [len(images.train), len(images.validation), len(images.test)] == [16, 2, 2]


def test_named_sets_are_kept(tmp_path):
    train, test, validation = pixels(20, 4, 4), pixels(5, 4, 4), pixels(6, 4, 4)
    labels = np.arange(20)
    np.savez(tmp_path / "a.npz", train=train, test=test, validation=validation, y_train=labels)
    images = load_images(str(tmp_path / "a.npz"))
    for name, array in (("train", train), ("test", test), ("validation", validation)):
        assert np.array_equal(getattr(images, name)[:, 0].numpy(), array)


def test_validation_comes_out_of_the_training_images(tmp_path):
    train, test = pixels(20, 4, 4), pixels(5, 4, 4)
    np.savez(tmp_path / "mnist.npz", x_train=train, x_test=test, y_train=np.arange(20))
    images = load_images(str(tmp_path / "mnist.npz"))
    assert np.array_equal(images.test[:, 0].numpy(), test)
    assert [len(images.train), len(images.validation)] == [18, 2]
    both = torch.cat([images.train, images.validation])[:, 0].numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, train))


def saved(array):
    return lambda path: np.save(path, array)


NUMPY = {
    "float": (saved(np.zeros((20, 4, 4))), "float64 numbers.*multiply by 255"),
    "flat": (saved(pixels(20, 16)), "not images"),
    "four channels": (saved(pixels(20, 8, 8, 4)), "not images"),
    "either": (saved(pixels(20, 3, 8, 3)), "ambiguous"),
    "no image": (saved(pixels(0, 8, 8)), "which is empty"),
    "too few": (saved(pixels(2, 8, 8)), "2 images are too few"),
    "objects": (saved(np.array([{}, {}])), "cannot be read as a numpy array"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "something else": (lambda path: path.write_bytes(b"hello"), "cannot be read as a numpy array"),
}


@pytest.mark.parametrize("case", NUMPY)
def test_bad_numpy(tmp_path, case):
    write, said = NUMPY[case]
    write(tmp_path / "bad.npy")
    with pytest.raises(UserError, match=said) as caught:
        load_images(str(tmp_path / "bad.npy"))
    assert "bad.npy" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_numpy_cut_short(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    (np.save if suffix == "npy" else np.savez_compressed)(path, pixels(20, 8, 8))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match="damaged or cut short"):
        load_images(str(path))


def test_arrays_of_which_none_is_meant(tmp_path):
    np.savez(tmp_path / "a.npz", one=pixels(20, 4, 4), two=pixels(20, 4, 4))
    with pytest.raises(UserError, match="the arrays one, two: give one array"):
        load_images(str(tmp_path / "a.npz"))


def test_sets_of_different_shapes(tmp_path):
    np.savez(tmp_path / "a.npz", train=pixels(20, 4, 4), test=pixels(20, 5, 4))
    with pytest.raises(UserError, match="different shapes"):
        load_images(str(tmp_path / "a.npz"))


# -- IDX ---------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path, packed):
    array = pixels(20, 6, 5)
    data = gzip.compress(idx(array)) if packed else idx(array)
    (tmp_path / "images-idx3-ubyte").write_bytes(data)
    images = load_images(str(tmp_path / "images-idx3-ubyte"))
    assert images.shape == (1, 6, 5) and same_set(images, array)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_four_files_of_mnist(tmp_path, end):
    train, test = pixels(20, 6, 5), pixels(7, 6, 5)
    for name, array in (
        ("train-images-idx3-ubyte", train),
        ("t10k-images-idx3-ubyte", test),
        ("train-labels-idx1-ubyte", pixels(20)),
        ("t10k-labels-idx1-ubyte", pixels(7)),
    ):
        data = idx(array)
        (tmp_path / f"{name}{end}").write_bytes(gzip.compress(data) if end else data)
    images = load_images(str(tmp_path))
    assert np.array_equal(images.test[:, 0].numpy(), test)
    assert [len(images.train), len(images.validation)] == [18, 2]


IDX = {
    "cut short": (idx(pixels(20, 6, 5))[:-7], "593 bytes follow"),
    "too long": (idx(pixels(20, 6, 5)) + b"\0", "more than 600 bytes follow"),
    "no shape": (idx(pixels(20, 6, 5))[:10], "ends within its header"),
    "labels": (idx(pixels(20)), "holds labels"),
    "floats": (b"\0\0\x0d\x03" + idx(pixels(20, 6, 5))[4:], "type 0x0d"),
    "gzip cut short": (gzip.compress(idx(pixels(20, 6, 5)))[:-40], "cannot be unpacked"),
    "nothing known": (b"GIF89a" * 9, "not a known file of images"),
    "empty": (b"", "is empty"),
    "no image": (idx(pixels(0, 6, 5)), "which is empty"),
}


@pytest.mark.parametrize("case", IDX)
def test_bad_idx(tmp_path, case):
    data, said = IDX[case]
    (tmp_path / "bad-idx3-ubyte").write_bytes(data)
    with pytest.raises(UserError, match=said) as caught:
        load_images(str(tmp_path / "bad-idx3-ubyte"))
    assert "bad-idx3-ubyte" in str(caught.value) and "\n" not in str(caught.value)


def test_test_files_without_training_files(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(pixels(20, 6, 5)))
    with pytest.raises(UserError, match="no file train-images"):
        load_images(str(tmp_path))


# -- pictures ----------------------------------------------------------------------------


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def test_a_folder_of_pictures(tmp_path):
    arrays = [pixels(6, 5, 3) for _ in range(12)]
    for i, array in enumerate(arrays):
        write(tmp_path / f"part{i % 2}" / f"{i:02}.png", array)
    images = load_images(str(tmp_path))
    assert images.shape == (3, 6, 5) and "RGB" in images.source
    assert same_set(images, np.stack(arrays).transpose(0, 3, 1, 2).copy())


def test_grey_pictures_have_one_channel_and_one_coloured_makes_three(tmp_path):
    for i in range(12):
        write(tmp_path / f"{i:02}.jpg", pixels(6, 5))
    assert load_images(str(tmp_path)).shape == (1, 6, 5)
    write(tmp_path / "x.png", pixels(6, 5, 3))
    assert load_images(str(tmp_path)).shape == (3, 6, 5)


def test_folders_named_after_sets(tmp_path):
    for i in range(12):
        write(tmp_path / "train" / f"{i:02}.png", pixels(6, 5))
    test = [pixels(6, 5) for _ in range(3)]
    for i, array in enumerate(test):
        write(tmp_path / "test" / f"{i}.png", array)
    images = load_images(str(tmp_path))
    assert np.array_equal(images.test[:, 0].numpy(), np.stack(test))
    assert [len(images.train), len(images.validation)] == [11, 1]


def odd_size(folder):
    write(folder / "odd.png", pixels(7, 5))


def damaged(folder):
    (folder / "odd.png").write_bytes(b"\x89PNG but no more")


def cut_short(folder):
    path = write(folder / "odd.png", pixels(60, 50))
    path.write_bytes(path.read_bytes()[:2000])


def sixteen_bits(folder):
    Image.fromarray(pixels(6, 5).astype(np.uint16) * 200).save(folder / "odd.png")


PICTURES = {
    "size": (odd_size, "5x7 pixels but 00.png is 5x6"),
    "damaged": (damaged, "cannot be read as a picture"),
    "cut short": (cut_short, "cannot be read as a picture"),
    "sixteen bits": (sixteen_bits, "more than 8 bits"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_bad_pictures(tmp_path, case):
    for i in range(12):
        write(tmp_path / f"{i:02}.png", pixels(6, 5))
    spoil, said = PICTURES[case]
    spoil(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        load_images(str(tmp_path))
    assert "odd.png" in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_folder_and_a_single_picture(tmp_path):
    with pytest.raises(UserError, match="holds no"):
        load_images(str(tmp_path))
    path = write(tmp_path / "a.png", pixels(6, 5))
    with pytest.raises(UserError, match="give the folder"):
        load_images(str(path))
