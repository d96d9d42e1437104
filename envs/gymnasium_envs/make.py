"""Third-party environments by name: "gym:ID?settings" and "dm_control:TASK?settings"."""

import ast
import copy
import functools
import importlib
import re
from typing import Any

import gymnasium as gym

from envs.checks import image_shape
from envs.gymnasium_envs.failure import describe_error
from envs.gymnasium_envs.vector import GymnasiumVectorEnv, checked_crop
from envs.suite import make_task

# what Python says of a constructor without it, or without any argument
NO_RENDER_MODE = re.compile(r"unexpected keyword argument 'render_mode'|\(\) takes no arguments")
CROP = (0, 0, 0, 0)


def make_third_party(kind: str, name: str, num_envs: int, **options: Any) -> GymnasiumVectorEnv:
    """Make N copies of a third-party environment.

    Args:
        kind: "gym" or "dm_control".
        name: the environment. A module that registers it with Gymnasium may precede it, with a
            colon: "my_package:MyEnv-v0". Settings may follow a question mark, joined by "&":
            crop=TOP,BOTTOM,LEFT,RIGHT in pixels, and arguments of `gymnasium.make`.
        num_envs: N.
        options: arguments of `GymnasiumVectorEnv`.

    Raises:
        ValueError: the name or a setting is unknown, or the module cannot be imported.
        EnvironmentFailure: the environment raised.
    """
    makers = {"gym": _make_gym, "dm_control": _make_dm_control}
    if kind not in makers:
        raise ValueError(
            f"The task {kind}:{name} is unknown: give a task of `python -m envs`, gym:ID or "
            "dm_control:TASK."
        )
    name, _, query = name.partition("?")
    settings = dict(_setting(text) for text in query.split("&") if text)
    options["crop"] = checked_crop(settings.pop("crop", CROP))
    return makers[kind](name, settings, num_envs, **options)


def _make_gym(
    name: str, settings: dict[str, Any], num_envs: int, **options: Any
) -> GymnasiumVectorEnv:
    module, _, short = name.rpartition(":")
    _check_module(module, short)
    try:
        registered = gym.spec(short)
    except gym.error.Error as error:
        raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from None
    limit = settings.pop("max_episode_steps", registered.max_episode_steps)
    if limit is not None:
        options["time_limit"] = limit
    rendered = options.get("obs", "pixels") == "pixels"
    mode = {"render_mode": "rgb_array"} if rendered else {}
    one = functools.partial(_make_one, module, short, limit, mode | settings)
    return GymnasiumVectorEnv(one, num_envs, name=f"gym:{name}", **options)


def _make_one(module: str, name: str, limit: int | None, settings: dict[str, Any]) -> gym.Env:
    """Make one Gymnasium environment; the checks of AdaptedEnv replace Gymnasium's.

    Gymnasium's own wrappers are left out, because they break on the results of older environments.
    """
    if module:  # again, for a process that does not inherit the registration
        importlib.import_module(module)
    spec = copy.deepcopy(gym.spec(name))
    spec.max_episode_steps, spec.order_enforce, spec.disable_env_checker = None, False, True
    try:
        env = gym.make(spec, **settings)
    except TypeError as error:
        if not NO_RENDER_MODE.search(str(error)):
            raise
        env = gym.make(spec, **{k: v for k, v in settings.items() if k != "render_mode"})
    if env.unwrapped.spec is not None:
        env.unwrapped.spec.max_episode_steps = limit  # some environments read it
    return env


def _make_dm_control(
    task: str, settings: dict[str, Any], num_envs: int, **options: Any
) -> GymnasiumVectorEnv:
    from envs.dm_control import DmControlEnv  # imports MuJoCo

    if settings:
        raise ValueError(
            f"dm_control:{task} has no setting {next(iter(settings))!r}: give crop or nothing."
        )
    size = image_shape("image_size", options.get("image_size", 64))
    options["time_limit"] = make_task(task).episode_length
    one = functools.partial(DmControlEnv, task, size)
    return GymnasiumVectorEnv(one, num_envs, name=f"dm_control:{task}", **options)


def _check_module(module: str, name: str) -> None:
    """Import the module that registers the environment `name` with Gymnasium."""
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:
        raise ValueError(
            f"The module {module!r} that is to register {name!r} cannot be imported: "
            f"{describe_error(error)}."
        ) from error


def _setting(text: str) -> tuple[str, Any]:
    """Parse "continuous=False" into a name and a value: a Python literal, or else a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{text!r} is not a setting of an environment: give name=value after '?'.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
