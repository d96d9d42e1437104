"""MUJOCO_GL, which chooses the OpenGL that MuJoCo loads when it is imported.

Our renderer needs none. A value that does not work here (a misspelt one, or one whose libraries are
missing) would make `import mujoco` fail, and is taken as "disable" instead.
"""

import importlib
import os

refused = ""  # "MUJOCO_GL=nonsense: why it does not work here"


def check() -> None:
    """Import MuJoCo as MUJOCO_GL says, if it says anything, and disable it where that fails."""
    global refused
    wanted = os.environ.get("MUJOCO_GL", "")
    if not wanted:
        return
    try:
        importlib.import_module("mujoco")
    except Exception as error:  # the OpenGL libraries raise whatever they like
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        refused = f"MUJOCO_GL={wanted}: {why}"
        os.environ["MUJOCO_GL"] = "disable"
