"""Imports: no simulator before an environment is made; the table of tasks; the commands."""

import os
import subprocess
import sys

import pytest

SIMULATORS = ("mujoco", "mujoco_warp", "warp", "dm_control", "scipy")


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def loaded(code):
    """Return which of SIMULATORS Python imports for some code."""
    names = f"[name for name in {SIMULATORS} if name in sys.modules]"
    return run("-c", f"import sys; {code}; print({names})").stdout.strip()


def test_importing_envs_imports_no_simulator():
    assert loaded("import envs; assert len(envs.tasks()) == 48") == "[]"
    assert loaded("import envs; envs.EnvironmentFailure, envs.GymnasiumVectorEnv") == "[]"
    assert loaded("import envs; envs.make('gym:CartPole-v1', 1)") == "[]"


def test_registered_tasks_are_made_without_further_imports():
    code = (
        "import gymnasium, envs; made = gymnasium.make('aef/cheetah-run-v0', obs='proprio'); "
        "assert made.reset(seed=0)[0].shape == (17,)"
    )
    assert "'mujoco'" in loaded(code)


def test_the_public_names():
    import envs

    assert all(getattr(envs, name) for name in envs.__all__)
    assert not hasattr(envs, "no_such_name")


def test_the_table_of_tasks():
    lines = run("-m", "envs").stdout.splitlines()
    assert len(lines) == 49 and lines[0].startswith("task ")
    cheetah = next(line for line in lines if line.startswith("cheetah-run"))
    assert " ".join(cheetah.split()) == "cheetah-run 6 17 1000 10.0 ms 1 side c, warp"


@pytest.mark.slow
def test_a_closed_output_ends_the_table_without_a_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "envs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    os.close(process.stdout.fileno())
    assert b"Traceback" not in process.stderr.read()
