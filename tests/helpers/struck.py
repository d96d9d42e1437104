"""A command in a process of its own that a signal strikes at a chosen call.

Processes are forked from a server that has imported the commands, so that each begins at once.
"""

import functools
import importlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

PRELOADED = ["agents.train", "agents.evaluate", "agents.collect", "agents.probe", "agents.evolve"]


class Strike(NamedTuple):
    """When a signal comes: at the n-th call of a function."""

    where: str  # "module:name" or "module:class.name"
    nth: int
    signal: int
    after: bool = False  # when the function has returned, not before it begins


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None  # None: it had to be killed
    output: str


def run(module: str, words: list[str], log: Path, strike: Strike | None, limit=300.0) -> Ended:
    """Run `python -m module words` and wait."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=command, args=(module, words, str(log), strike))
    process.start()
    process.join(limit)
    hung = process.is_alive()
    process.kill()
    process.join()
    return Ended(None if hung else process.exitcode, log.read_text(encoding="utf-8"))


def command(module: str, words: list[str], log: str, strike: Strike | None) -> None:
    """Be the command, its output in a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started with (nohup)
    if strike:
        arm(strike)
    sys.argv = [module, *words]
    from aef_worldmodel.utils.command import run_command

    run_command(importlib.import_module(module).main)


def arm(strike: Strike) -> None:
    """Replace the function by one that sends the signal to its own process."""
    module, _, path = strike.where.partition(":")
    owner = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    usual, calls = getattr(owner, name), 0

    @functools.wraps(usual)
    def struck(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == strike.nth and not strike.after:
            os.kill(os.getpid(), strike.signal)
        result = usual(*args, **kwargs)
        if calls == strike.nth and strike.after:
            os.kill(os.getpid(), strike.signal)
        return result

    setattr(owner, name, struck)
