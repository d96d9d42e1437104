"""What `reset` and `step` take and return, in the forms of Gymnasium and of the older Gym."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LARGEST_REWARD = float(np.finfo(np.float32).max)
RESULT = "(observation, reward, terminated, truncated, info)"


class Misreturned(ValueError):
    """A value that an environment must not return; the message says what and what is expected."""


class StepResult(NamedTuple):
    """A checked result of `step`."""

    obs: Any
    reward: float  # finite in float32
    terminated: bool
    truncated: bool


def call_reset(env: Any, seed: int | None, options: dict | None) -> Any:
    """Start an episode and return its first observation.

    Gymnasium's `reset` takes a seed and returns (observation, info). Gym's takes nothing, returns
    the observation alone, and `seed` is a method of its own.

    Raises:
        Misreturned: the result is a tuple of another length.
    """
    arguments = {"seed": seed, "options": options}
    known = _accepted(env.reset, arguments)
    if "seed" not in known and seed is not None and callable(getattr(env, "seed", None)):
        env.seed(seed)
    result = env.reset(**known)
    if not isinstance(result, tuple):
        return result
    if len(result) != 2:
        raise Misreturned(f"{len(result)} values from reset; expected (observation, info)")
    return result[0]


def _accepted(function: Callable, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a function has parameters for."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def parse_step(result: Any) -> StepResult:
    """Return a result of `step`, checked.

    Gym's (observation, reward, done, info) is taken as well: there, an info with
    "TimeLimit.truncated" tells a time limit from an end.

    Raises:
        Misreturned: the result is of another form; the message says what it is.
    """
    if not isinstance(result, tuple) or len(result) not in (4, 5):
        kind = (
            f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        )
        raise Misreturned(f"{kind} from step; expected {RESULT}")
    obs, reward, ended, *rest = result
    if len(rest) == 2:
        terminated, truncated = _flag(ended), _flag(rest[0])
    elif isinstance(rest[0], dict):
        truncated = _flag(ended) and bool(rest[0].get("TimeLimit.truncated", False))
        terminated = _flag(ended) and not truncated
    else:
        raise Misreturned(
            f"4 values from step, the last of them {short(rest[0])}; expected an info"
        )
    return StepResult(obs, finite(reward), terminated, truncated)


def finite(reward: Any) -> float:
    """Return a reward as a float that float32 can hold; raise Misreturned for another."""
    number = isinstance(reward, int | float | np.number | np.bool_)
    number = number or (isinstance(reward, np.ndarray) and reward.shape == ())
    try:
        value = float(reward) if number else np.nan
    except (TypeError, ValueError, OverflowError):
        value = np.nan
    if not abs(value) <= LARGEST_REWARD:  # NaN fails as well
        raise Misreturned(f"the reward {short(reward)}; expected a finite float32 number")
    return value


def _flag(value: Any) -> bool:
    """Return `terminated` or `truncated` as a bool."""
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise Misreturned(f"{short(value)} as terminated or truncated; expected a bool")
    return bool(value)


def short(value: Any) -> str:
    """Return a value's repr on one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."
