"""The error of a third-party environment that breaks its contract."""

import traceback
from pathlib import Path

LONGEST_TEXT = 400  # characters of an exception's text that are repeated
GRAPHICS = ("OpenGL", "EGL", "eglQuery", "GLX", "glfw", "GLFW", "DISPLAY", "X11", "gladLoadGL")
REMEDY = "; without a display, install EGL (libegl1 libgl1) and set MUJOCO_GL=egl"


class EnvironmentFailure(RuntimeError):
    """A third-party environment raised, returned what it must not, or lost its process.

    The message is one sentence: the environment, what was received and what is expected.
    """


def describe_error(error: BaseException) -> str:
    """Return an exception's type and text on one line.

    An exception without a text gets the place where it was raised; one about graphics a remedy.
    """
    name, text = type(error).__name__, " ".join(str(error).split()).rstrip(".")
    if not text:
        places = traceback.extract_tb(error.__traceback__)
        return f"{name} in {_short_path(places[-1].filename)}:{places[-1].lineno}"
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "..."
    graphics = any(word in text for word in GRAPHICS) and "MUJOCO_GL" not in text
    return f"{name}: {text}{REMEDY if graphics else ''}"


def _short_path(path: str) -> str:
    """Return the last three parts of a path."""
    return "/".join(Path(path).parts[-3:])
