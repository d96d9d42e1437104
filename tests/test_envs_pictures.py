"""Our pictures beside dm_control's OpenGL ones, where a software OpenGL is installed."""

import os
import subprocess
import sys

import pytest

BATCH = """
import envs, torch
env = envs.make("pendulum-swingup", 2, backend="dm_control", image_size=32, threads=2, seed=4)
first, _ = env.reset()
obs, reward, terminated, truncated, _ = env.step(torch.ones(2, 1))
env.close()
assert obs.shape == (2, 3, 32, 32) and obs.dtype == torch.uint8 and obs.float().std() > 5
assert not torch.equal(first[0], first[1]), "both worlds have the same seed"
assert not torch.equal(first, obs) and not (terminated | truncated).any()
print("drawn", reward.tolist())
"""


def with_software_opengl(*words):
    """Runs Python with OSMesa; skips the test where there is none."""
    environment = os.environ | {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    if done.returncode and ("OpenGL" in done.stderr or "cannot draw" in done.stderr):
        pytest.skip("dm_control cannot draw here: install libosmesa6")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_dm_controls_own_as_a_batch_of_processes():
    assert with_software_opengl("-c", BATCH)[0] == "drawn"


@pytest.mark.parametrize("task", ["cheetah-run", "finger-turn-easy"])
def test_pictures_are_nearly_dm_controls(task):
    name, rays, difference = with_software_opengl("-m", "envs.verify_pictures", task)[-3:]
    # in levels of 255; leaving out the sky makes more than 60
    assert (name, rays) == (task, "2") and float(difference) < 4
