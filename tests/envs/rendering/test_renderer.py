"""The renderer's threads."""

import threading

import torch
import warp as wp
from batches import make

import envs
from envs.rendering import ray_tracer


def test_kernels_are_built_in_one_thread(monkeypatch):
    """mujoco-warp builds a kernel in each chunk's first rendering; two at once are mixed up."""
    render, first = ray_tracer.mjw.render, {}

    def noted(model, data, context):
        first.setdefault(id(context), (threading.current_thread(), context))
        render(model, data, context)

    monkeypatch.setattr(ray_tracer.mjw, "render", noted)
    env = envs.make("cheetah-run", 6, image_size=16, threads=3)
    env.reset(seed=0)
    env.step(torch.zeros(6, 6))
    threads = {thread for thread, _ in first.values()}
    assert len(first) >= 3 and threads == {threading.main_thread()}


def test_rendering_threads_leave_warps_device_alone(monkeypatch):
    env, entered = make(num_envs=4, threads=2), []

    class Scoped(wp.ScopedDevice):
        def __enter__(self):
            entered.append(threading.current_thread())
            return super().__enter__()

    monkeypatch.setattr(wp, "ScopedDevice", Scoped)
    env.reset()
    assert set(entered) == {threading.main_thread()}  # all threads share one
