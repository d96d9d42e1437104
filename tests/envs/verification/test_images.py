"""The ray tracer's images and dm_control's OpenGL ones, where a software OpenGL is installed."""

import os
import subprocess
import sys

import pytest

BATCH = """
import envs, torch
env = envs.make("dm_control:pendulum-swingup", 2, image_size=32, threads=2, seed=4)
first, _ = env.reset()
obs, reward, terminated, truncated, _ = env.step(torch.ones(2, 1))
env.close()
assert obs.shape == (2, 3, 32, 32) and obs.dtype == torch.uint8 and obs.float().std() > 5
assert not torch.equal(first[0], first[1]), "both environments have the same seed"
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


def test_dm_control_in_processes():
    assert with_software_opengl("-c", BATCH)[0] == "drawn"


@pytest.mark.parametrize("task", ["cheetah-run", "finger-turn-easy"])
def test_images_are_nearly_those_of_dm_control(task):
    name, samples, difference = with_software_opengl("-m", "envs.verification.images", task)[-3:]
    # in levels of 255; leaving out the sky makes more than 60
    assert (name, samples) == (task, "2") and float(difference) < 4
