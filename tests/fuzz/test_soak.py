"""Hours in minutes: making, stepping and evaluating over and over costs no more and no more.

AEF_SOAK_MINUTES (5 by default) is shared among the tests; with 60 they are the hour of a release.
Each repeats its unit of work until its time is over, and what the process holds at the end must be
what it held after the first repetitions.
"""

import gc
import os
import time

import numpy as np
import psutil
import pytest
import torch
from small_run import logger, make
from third_party import Still

import envs
from envs.gymnasium_envs import GymnasiumVectorEnv

pytestmark = pytest.mark.slow
SECONDS = 60 * float(os.environ.get("AEF_SOAK_MINUTES", "5")) / 4
WARM = 5  # repetitions that fill caches
MEGABYTES = 64  # that memory may grow


def held():
    """Return memory in megabytes, open files, threads and child processes."""
    process = psutil.Process()
    return (
        process.memory_info().rss / 2**20,
        process.num_fds(),
        process.num_threads(),
        len(process.children(recursive=True)),
    )


def soak(work, least, collect=True):
    """Repeat `work` for the time, at least so often, and raise AssertionError if anything grows."""
    began, count, early = time.monotonic(), 0, held()
    while count < least + WARM or time.monotonic() - began < SECONDS:
        work()
        count += 1
        if count == WARM:
            early = held()
    if collect:
        gc.collect()
    memory, *others = (late - before for late, before in zip(held(), early, strict=True))
    print(f"{count} times: {memory:+.0f} MB, files, threads and processes {others}")
    assert memory < MEGABYTES and max(others) <= 0


@pytest.fixture
def no_collector():
    """Free environments by their references alone, as between rare collections."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_environments_made_and_closed(no_collector):
    def work():
        env = envs.make("cartpole-swingup", 4, image_size=16, threads=2)
        env.reset()
        env.step(torch.zeros(4, 1))
        env.close()

    soak(work, 200, collect=False)


def test_third_party_environments_made_and_closed_in_processes():
    def work():
        env = GymnasiumVectorEnv(Still, 2, image_size=16, time_limit=9, threads=2)
        env.reset(seed=0)
        env.step(np.zeros((2, 1), np.float32))
        env.close()

    soak(work, 20)


def test_steps_across_episodes():
    env = envs.make("cartpole-swingup", 8, image_size=16, action_repeat=10, threads=2)
    env.reset(seed=0)

    def work():
        for _ in range(250):
            env.step(2 * torch.rand(8, 1) - 1)

    soak(work, 80)  # 20,000 decisions
    env.close()


def test_evaluations(tmp_path):
    run = make(tmp_path, "env.action_repeat=20", "env.image_size=32")
    log = logger(run)

    def work():
        run.evaluate(log)
        run.decisions += 1

    with log:
        soak(work, 75)
