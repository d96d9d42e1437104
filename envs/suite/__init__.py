"""The tasks, one file a domain; a new file with a `TASKS` table is found by itself."""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable

from envs.suite.task import Task


@functools.cache
def registry() -> dict[str, Callable[[], Task]]:
    """Every task's name and what makes it, in alphabetical order."""
    found = {}
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        found |= getattr(importlib.import_module(module.name), "TASKS", {})
    return dict(sorted(found.items()))


def make_task(name: str) -> Task:
    """The task called `name`, e.g. "cheetah-run".

    Raises:
        ValueError: there is no such task; the sentence names those that look alike.
    """
    tasks = registry()
    if name not in tasks:
        close = difflib.get_close_matches(name, tasks, n=3, cutoff=0.4) or list(tasks)
        raise ValueError(f"There is no task {name!r}: did you mean {' or '.join(close)}?")
    return tasks[name]()
