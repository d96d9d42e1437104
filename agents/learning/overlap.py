"""Two sides of an update on two threads, or one after the other in one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch


class LazyResult:
    """A stand-in for a future when there is no second thread: computed on the first `result()`."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self._job: Callable[[], Any] | None = job
        self._value: Any = None

    def result(self) -> Any:
        """Run the job unless it has run, and return its result."""
        if self._job is not None:
            job, self._job = self._job, None
            self._value = job()
        return self._value


class Overlap:
    """Runs jobs of one side of an update beside the other side.

    Use it as a context manager around both sides: on leaving, no job is still at work, even when
    one side failed. On a CPU the steps of an update are too small to profit from more threads each
    (docs/reference/speed.md), so two sides share the cores.

    Args:
        threads: CPU threads for the second side; None runs its jobs in the caller's thread.
    """

    def __init__(self, threads: int | None) -> None:
        self.pool = (
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
            if threads
            else None
        )
        self._jobs: list[Future] = []

    def submit(self, job: Callable[[], Any]) -> Future | LazyResult:
        """Start a job, in the order of submission; return its future."""
        if self.pool is None:
            return LazyResult(job)
        self._jobs.append(self.pool.submit(job))
        return self._jobs[-1]

    def __enter__(self) -> Overlap:
        """Begin an update."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Wait until every job is done."""
        wait(self._jobs)
        self._jobs.clear()
