"""The tasks, one file for each domain; a new file with a `TASKS` dictionary is found by itself.

Names are read from the files' text, so that listing them imports no simulator.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs.suite.task import Task


@functools.cache
def task_modules() -> dict[str, str]:
    """Return every task's name and the module that defines it, in alphabetical order.

    Raises:
        ValueError: a file's `TASKS` is not a dictionary whose keys are string literals.
    """
    found = {}
    for folder in __path__:
        for module in pkgutil.iter_modules([folder]):
            names = _names_in(Path(folder) / f"{module.name}.py")
            found |= dict.fromkeys(names, f"{__name__}.{module.name}")
    return dict(sorted(found.items()))


def _names_in(path: Path) -> list[str]:
    """Return the keys of the dictionary `TASKS` in a file; [] without one."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if ast.unparse(target) != "TASKS":
            continue
        keys = node.value.keys if isinstance(node.value, ast.Dict) else [None]
        names = [key.value for key in keys if isinstance(key, ast.Constant)]
        if len(names) != len(keys):
            raise ValueError(
                f"{path}: TASKS is read without running the file: write it as a dictionary whose "
                'names are strings, e.g. TASKS = {"my-task": MyTask}.'
            )
        return [str(name) for name in names]
    return []


def make_task(name: str) -> Task:
    """Make the task called `name`, e.g. "cheetah-run", or the class that "module:Class" names.

    Raises:
        ValueError: the name is unknown, and the sentence suggests similar ones; or the module
            cannot be imported, or has no such task.
    """
    if ":" in name:
        return _imported_task(name)
    modules = task_modules()
    if name not in modules:
        close = difflib.get_close_matches(name, modules, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}" if close else "`python -m envs` lists them"
        raise ValueError(f"The task {name!r} is unknown: {hint}.")
    return importlib.import_module(modules[name]).TASKS[name]()


def _imported_task(name: str) -> Task:
    """Make a task of one's own, "module:Class"."""
    from envs.suite.task import Task  # imports MuJoCo

    module, _, kind = name.rpartition(":")
    otherwise = f"for an environment of Gymnasium give gym:{name}"
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except Exception as error:  # it is somebody else's code, which may raise anything
        raise ValueError(
            f"The module {module!r} of the task {name!r} cannot be imported "
            f"({type(error).__name__}: {error}): run from the folder that holds it, or {otherwise}."
        ) from error
    if isinstance(found, type) and issubclass(found, Task):
        return found()
    what = "has no such class" if found is None else f"is {found!r}, which is no Task"
    raise ValueError(
        f"The task {name!r} {what}: give a subclass of envs.suite.task.Task, or {otherwise}."
    )
