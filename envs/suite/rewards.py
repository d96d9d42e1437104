"""Soft indicator functions from which rewards are built, batched in torch."""

import math

import torch
from torch import Tensor


def _gaussian(x: Tensor, v: float) -> Tensor:
    return torch.exp(x.square() * math.log(v))


def _hyperbolic(x: Tensor, v: float) -> Tensor:
    return 1 / torch.cosh(x * math.acosh(1 / v))


def _long_tail(x: Tensor, v: float) -> Tensor:
    return 1 / (x.square() * (1 / v - 1) + 1)


def _linear(x: Tensor, v: float) -> Tensor:
    return (1 - x * (1 - v)).clamp(min=0)


def _quadratic(x: Tensor, v: float) -> Tensor:
    return (1 - x.square() * (1 - v)).clamp(min=0)


def _reciprocal(x: Tensor, v: float) -> Tensor:
    return 1 / (x.abs() * (1 / v - 1) + 1)


SHAPES = {
    "gaussian": _gaussian,
    "hyperbolic": _hyperbolic,
    "long_tail": _long_tail,
    "linear": _linear,
    "quadratic": _quadratic,
    "reciprocal": _reciprocal,
}


def tolerance(
    x: Tensor,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: float = 0.0,
    shape: str = "gaussian",
    value_at_margin: float = 0.1,
) -> Tensor:
    """Return 1 inside `bounds`, falling off outside over the distance `margin`.

    Args:
        x: values of any shape and unit.
        bounds: inclusive (lower, upper), in the unit of `x`; infinities are allowed.
        margin: distance from the nearest bound at which the value is `value_at_margin`;
            0 makes a hard indicator.
        shape: the fall-off, one of `SHAPES`.
        value_at_margin: in (0, 1); "linear" and "quadratic" also take 0.

    Returns:
        A tensor like `x`, in [0, 1].

    Raises:
        ValueError: `bounds` in the wrong order, a negative margin or an unknown shape.
    """
    lower, upper = bounds
    if lower > upper:
        raise ValueError(f"bounds={bounds} are in the wrong order: give (lower, upper).")
    if margin < 0:
        raise ValueError(f"margin={margin} is negative: give a distance of 0 or more.")
    if shape not in SHAPES:
        raise ValueError(f"shape={shape!r} is unknown: choose one of {', '.join(SHAPES)}.")
    inside = (x >= lower) & (x <= upper)
    if margin == 0:
        return inside.to(x.dtype)
    distance = torch.where(x < lower, lower - x, x - upper) / margin
    return torch.where(inside, torch.ones_like(x), SHAPES[shape](distance, value_at_margin))
