"""Environments that need no OpenGL do not mind what MUJOCO_GL says, nor a home that is missing."""

import os
import subprocess
import sys

import pytest

MAKE = 'print(envs.make("cartpole-swingup", 1, threads=1, image_size=16).reset()[0].shape)'


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("value", ["nonsense", "wgl", "osmesa"])
def test_a_value_that_does_not_work_is_ignored_and_named(value):
    named = python(f"import envs, mujoco; print(envs.opengl.refused); {MAKE}", MUJOCO_GL=value)
    first, second = named.splitlines()
    assert first.startswith(f"MUJOCO_GL={value}: ") or not first  # OSMesa may be installed
    assert second == "torch.Size([1, 3, 16, 16])"


def test_a_value_that_works_is_kept():
    code = "import envs, os; print([envs.opengl.refused, os.environ.get('MUJOCO_GL')])"
    assert python(code, MUJOCO_GL="disable") == "['', 'disable']\n"


@pytest.mark.slow
def test_no_home():
    assert python(f"import envs; {MAKE}", HOME="/proc/none").endswith("([1, 3, 16, 16])\n")
