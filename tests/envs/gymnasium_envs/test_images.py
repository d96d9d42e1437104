"""Images of third-party environments: every common form becomes uint8 RGB, others are refused."""

import gymnasium as gym
import numpy as np
import pytest

from envs.gymnasium_envs.images import fit, is_image_space, to_rgb

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
RGB[0, 0] = 0, 0, 255
GREY = RGB[..., 0]
GREY_RGB = np.repeat(GREY[..., None], 3, 2)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (RGB, RGB),
        (RGB.astype(np.int64), RGB),
        (RGB / 255.0, RGB),
        ((RGB / 255.0).astype(np.float32), RGB),
        (RGB.transpose(2, 0, 1), RGB),
        (np.concatenate([RGB, RGB[..., :1]], 2), RGB),
        (GREY, GREY_RGB),
        (GREY[..., None], GREY_RGB),
        (GREY[None], GREY_RGB),
    ],
    ids=["rgb", "int64", "float64", "float32", "CHW", "RGBA", "HW", "HW1", "1HW"],
)
def test_common_images_become_rgb(image, expected):
    rgb = to_rgb(image)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, expected)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (None, "NoneType, which is not an array"),
        ([[1, 2]], "list, which is not an array"),
        (np.zeros((4, 6, 8), np.uint8), r"uint8 of shape \(4, 6, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 of shape \(0, 8, 3\)"),
        (np.zeros(12, np.uint8), r"uint8 of shape \(12,\)"),
        (RGB > 9, r"bool of shape \(6, 8, 3\)"),
        (RGB.astype(object), r"object of shape \(6, 8, 3\)"),
        (RGB.astype(np.float32), "float32 values from .* to 255"),
        (np.full((6, 8, 3), np.nan), "float64 values from nan to nan"),
        (RGB.astype(np.int16) - 1, "int16 values from -1 to"),
        (RGB.astype(np.int16) + 1, "int16 values from .* to 256"),
    ],
)
def test_others_are_refused(image, text):
    with pytest.raises(ValueError, match=text):
        to_rgb(image)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (gym.spaces.Box(0, 255, (6, 8, 3), np.uint8), True),
        (gym.spaces.Box(0, 9, (6, 8, 3), np.uint8), True),
        (gym.spaces.Box(0, 255, (6, 8), np.uint8), True),
        (gym.spaces.Box(0, 255, (3, 6, 8), np.int64), True),
        (gym.spaces.Box(0.0, 1.0, (6, 8, 1), np.float32), True),
        (gym.spaces.Box(0, 9, (6, 8), np.uint8), False),
        (gym.spaces.Box(0, 255, (4, 6, 8), np.uint8), False),
        (gym.spaces.Box(-np.inf, np.inf, (6, 8, 3), np.float32), False),
        (gym.spaces.Box(0, 255, (128,), np.uint8), False),
        (gym.spaces.Dict({"image": gym.spaces.Box(0, 255, (6, 8, 3), np.uint8)}), False),
    ],
)
def test_spaces_that_are_images(space, expected):
    assert is_image_space(space) is expected


def test_the_result_is_a_copy_whatever_the_layout():
    buffer = np.zeros((3, 6, 8), np.uint8)
    image = fit(to_rgb(buffer.transpose(1, 2, 0)), (6, 8), (0, 0, 0, 0))
    buffer[:] = 7
    assert image.shape == (3, 6, 8) and image.max() == 0


def test_crop():
    np.testing.assert_array_equal(fit(RGB, (3, 4), (1, 2, 3, 1)), RGB[1:4, 3:7].transpose(2, 0, 1))
    with pytest.raises(ValueError, match="crop=6,0,0,0 leaves no pixel of its images: cut less"):
        fit(RGB, (3, 4), (6, 0, 0, 0))
    with pytest.raises(ValueError, match="crop=0,0,5,9 leaves no pixel"):
        fit(RGB, (3, 4), (0, 0, 5, 9))
