"""How long calls take on a machine that does other work, too."""

import statistics
import time
from collections.abc import Callable, Mapping

import psutil
import torch

UNCOUNTED = 2  # first calls of each


def median_seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call; calls take turns, so that they meet equal load."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + UNCOUNTED):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            wait_for_gpu()
            if turn >= UNCOUNTED:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def mean_seconds(call: Callable[[], object], seconds: float = 1.0) -> tuple[float, float]:
    """Return the mean seconds of wall and of CPU time of a call, repeated for about `seconds`."""
    for _ in range(UNCOUNTED):
        call()
    calls, (start, cpu) = 0, clocks()
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    end, cpu_end = clocks()
    return (end - start) / calls, (cpu_end - cpu) / calls


def wait_for_gpu() -> None:
    """Wait until a GPU that this process uses is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def clocks() -> tuple[float, float]:
    """Return seconds of wall time, and of CPU time of this process and its children."""
    wait_for_gpu()
    used = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    of_children = sum(times.user + times.system for times in used)
    return time.perf_counter(), time.process_time() + of_children
