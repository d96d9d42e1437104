"""Images of third-party environments: which spaces are images, and images as uint8 RGB."""

from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

ROUNDING = 1e-6  # by which floats may miss their bounds
EXPECTED = (
    "an image (H, W), (H, W, 1), (H, W, 3), (H, W, 4), (1, H, W) or (3, H, W), "
    "of integers from 0 to 255 or floats from 0 to 1"
)


def is_image_space(space: gym.Space | None) -> bool:
    """Return whether observations of the space are images that `to_rgb` accepts."""
    if not isinstance(space, gym.spaces.Box) or _layout(space.shape) is None:
        return False
    if space.dtype == np.uint8:
        return len(space.shape) == 3 or bool((space.high == 255).all())
    floats = np.issubdtype(space.dtype, np.floating)
    highest = white_of_floats(space) if floats else 255
    return bool((space.low == 0).all() and (space.high == highest).all())


def white_of_floats(space: gym.spaces.Box) -> float:
    """Return what white is in images of floats: 255 where the space says so, else 1."""
    floats = np.issubdtype(space.dtype, np.floating)
    return 255.0 if floats and (space.high == 255).all() else 1.0


def _layout(shape: tuple[int, ...]) -> str | None:
    """Return "HW", "HWC" or "CHW"; None if no image has this shape."""
    if len(shape) == 2 and min(shape) > 1:
        return "HW"
    if len(shape) == 3 and shape[-1] in (1, 3, 4) and min(shape) > 0:
        return "HWC"
    if len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0:
        return "CHW"
    return None


def to_rgb(image: Any, white: float = 1.0) -> np.ndarray:
    """Convert an image to uint8 (H, W, 3): grey is repeated, the alpha channel is dropped.

    Args:
        image: the image.
        white: in images of floats.

    Raises:
        ValueError: it is not an image; the message says what it is.
    """
    image = image if isinstance(image, np.ndarray) else _as_array(image)
    layout = _layout(image.shape)
    if layout is None or image.dtype == bool or not np.issubdtype(image.dtype, np.number):
        raise ValueError(f"{image.dtype} of shape {image.shape}")
    if image.dtype != np.uint8:
        image = _as_bytes(image, white)
    if layout == "CHW":
        image = image.transpose(1, 2, 0)
    if layout == "HW":
        image = image[..., None]
    return np.broadcast_to(image, (*image.shape[:2], 3)) if image.shape[2] == 1 else image[..., :3]


def _as_array(image: Any) -> np.ndarray:
    if image is None or isinstance(image, str | dict | list | tuple):
        raise ValueError(f"{type(image).__name__}, which is not an array")
    try:
        return np.asarray(image)
    except Exception:
        raise ValueError(f"{type(image).__name__}, which is not an array") from None


def _as_bytes(image: np.ndarray, white: float) -> np.ndarray:
    """Convert integers from 0 to 255, or floats from 0 to `white`, to uint8."""
    low, high = image.min(), image.max()
    if np.issubdtype(image.dtype, np.complexfloating):
        raise ValueError(f"{image.dtype} values")
    floats = np.issubdtype(image.dtype, np.floating)
    most = white * (1 + ROUNDING) if floats else 255
    if not (low >= -ROUNDING and high <= most):  # NaN fails as well
        raise ValueError(f"{image.dtype} values from {low:g} to {high:g}")
    if not floats:
        return image.astype(np.uint8)
    return np.rint(np.clip(image * (255.0 / white), 0, 255)).astype(np.uint8)


def fit(image: np.ndarray, size: tuple[int, int], crop: tuple[int, int, int, int]) -> np.ndarray:
    """Crop and resize an image (H', W', 3), antialiased, to a new array (3, H, W).

    Args:
        image: uint8 (H', W', 3).
        size: (H, W) in pixels.
        crop: pixels cut off at (top, bottom, left, right).

    Raises:
        ValueError: the crop leaves no pixel.
    """
    top, bottom, left, right = crop
    image = image[top : max(len(image) - bottom, 0), left : max(image.shape[1] - right, 0)]
    if not image.size:
        raise ValueError(f"crop={','.join(map(str, crop))} leaves no pixel of its images: cut less")
    height, width = size
    if image.shape[:2] != size:
        resized = Image.fromarray(np.ascontiguousarray(image))
        image = np.asarray(resized.resize((width, height), Image.Resampling.BILINEAR))
    return np.array(image.transpose(2, 0, 1), order="C")  # always a copy
