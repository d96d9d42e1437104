"""Groups of third-party environments, in this process or in one of their own."""

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from envs.gymnasium_envs.adapted_env import AdaptedEnv, Decision
from envs.gymnasium_envs.failure import EnvironmentFailure

SECONDS_TO_END = 5.0  # that a process gets to close its environments
PIPE_ERRORS = (EOFError, BrokenPipeError, ConnectionResetError)  # of a process that died


class Description(NamedTuple):
    """What the environments of a group have in common."""

    action_space: gym.Space
    observation_space: gym.spaces.Box
    source: str  # of observations, in words
    own_limit: int | None  # steps
    time_limit: int  # steps


class Step(NamedTuple):
    """A decision of one environment, and the first observation of the next episode."""

    decision: Decision
    next_first: np.ndarray | None  # where the decision ended an episode


class Group:
    """Environments that are stepped one after the other in this process.

    Args:
        makers: makes each of them.
    """

    def __init__(self, makers: Sequence[Callable[[], AdaptedEnv]]):
        self._envs = [make() for make in makers]
        self._call: tuple[str, tuple] = ("describe", ())

    def describe(self) -> list[Description]:
        """Return what the environments have in common, as a list of one."""
        first = self._envs[0]
        return [Description(*(getattr(first, name) for name in Description._fields))]

    def reset(
        self, mask: list[bool], seeds: list[int | None], options: dict | None
    ) -> list[np.ndarray | None]:
        """Start episodes where `mask` is set; return their observations, None elsewhere."""
        return [
            env.reset(seed, options) if chosen else None
            for env, chosen, seed in zip(self._envs, mask, seeds, strict=True)
        ]

    def step(self, actions: np.ndarray) -> list[Step]:
        """Make a decision in each environment, and start the next episode where one ended."""
        return [self._step(env, a) for env, a in zip(self._envs, actions, strict=True)]

    def _step(self, env: AdaptedEnv, action: Any) -> Step:
        decision = env.step(action)
        ended = decision.terminated or decision.truncated
        return Step(decision, env.reset() if ended else None)

    def send(self, method: str, *args: Any) -> None:
        """Note the call of a method that `receive` makes."""
        self._call = method, args

    def receive(self) -> Any:
        """Make the call of the last `send` and return its result."""
        method, args = self._call
        return getattr(self, method)(*args)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            with contextlib.suppress(EnvironmentFailure):
                env.close()


class ProcessGroup:
    """A Group in a process of its own.

    Args:
        makers: makes each of its environments.
        name: of the environments, for messages.
        indices: their numbers in the batch, for messages.
        timeout: seconds that the process may take to answer.

    Raises:
        EnvironmentFailure: an environment raised, or the process died or did not answer.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], AdaptedEnv]],
        name: str,
        indices: list[int],
        timeout: float,
    ):
        self._where, self._timeout = f"{name} (environments {indices})", timeout
        self._pipe, theirs = multiprocessing.Pipe()
        arguments = (theirs, self._pipe, makers)
        self.process = multiprocessing.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def send(self, method: str, *args: Any) -> None:
        """Ask the process to call a method of its Group."""
        with contextlib.suppress(*PIPE_ERRORS):  # `receive` says that it died
            self._pipe.send((method, args))

    def receive(self) -> Any:
        """Return the result of the last `send`."""
        try:
            answered = self._pipe.poll(self._timeout)
            result = self._pipe.recv() if answered else None
        except PIPE_ERRORS:
            self.process.join(SECONDS_TO_END)  # its pipe closes a moment before it ends
            raise EnvironmentFailure(
                f"{self._where}: their process died with exit code {self.process.exitcode} "
                "(-9 is a kill, often for lack of memory; -11 a crash); make them again."
            ) from None
        if not answered:
            self.process.kill()
            raise EnvironmentFailure(
                f"{self._where} did not answer within {self._timeout:g} seconds; expected a "
                "decision or a reset to take less."
            )
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Close the environments and end the process."""
        with contextlib.suppress(*PIPE_ERRORS, OSError):
            self._pipe.send(("close", ()))
        self.process.join(SECONDS_TO_END)
        self.process.kill()
        self._pipe.close()


def _serve(pipe: Connection, parents_end: Connection, makers: Sequence) -> None:
    """Serve a Group's methods over a pipe until "close", or until the parent process ends."""
    gc.freeze()  # what a fork inherits is the parent's to finalise
    parents_end.close()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # sent to a whole group: the parent answers them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # after a fork, torch's thread pool of the parent would hang
    group, method, args = None, "", ()
    while method != "close":
        try:
            method, args = pipe.recv()
        except PIPE_ERRORS:
            return
        try:
            group = group or Group(makers)
            result = getattr(group, method)(*args)
        except (EnvironmentFailure, ValueError) as error:
            result = type(error)(str(error))  # its cause may not be picklable
        with contextlib.suppress(*PIPE_ERRORS):
            pipe.send(result)


def _end_with_parent() -> None:
    """End this process when its parent ends, whatever the environments are doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def kill(processes: Sequence[multiprocessing.Process], owner: int) -> None:
    """Kill processes whatever they do on SIGTERM, which libraries such as SDL may catch.

    Python sends SIGTERM when it exits, and would wait for them forever. A process other than the
    `owner` that started them leaves them alone.
    """
    for process in processes if os.getpid() == owner else ():
        process.kill()
