"""Environments as others publish them, where they are installed.

pip install ale-py minigrid highway-env gymnasium-robotics
python -m pytest -m slow tests/envs/gymnasium_envs/test_published.py
"""

import os
import subprocess
import sys
import warnings

import pytest
import torch

import envs

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PONG = "the observation, uint8 (210, 160, 3)"
PUBLISHED = [  # module, name, choices, decisions of an episode, what is seen
    ("ale_py", "ALE/Pong-v5", 6, 5_000, PONG),
    ("ale_py", "ALE/Pong-v5?max_episode_steps=60", 6, 30, PONG),
    ("minigrid", "MiniGrid-Empty-5x5-v0", 7, 5_000, "render()"),
    ("minigrid", "MiniGrid-Empty-5x5-v0?max_episode_steps=40", 7, 20, "render()"),
    ("highway_env", "highway-fast-v0", 5, 5_000, "render()"),
]
SEEN = {  # module -> environment, numbers of its state
    "minigrid": ("minigrid:MiniGrid-Empty-5x5-v0", None),  # its mission is a text
    "highway_env": ("highway_env:highway-fast-v0", 25),
    "gymnasium_robotics": ("gymnasium_robotics:PointMaze_UMaze-v3", 8),
    "mujoco": ("Humanoid-v5", 348),
}


def play(task, threads, decisions, **options):
    """Play random decisions in two environments; return them and the last results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = envs.make(task, 2, threads=threads, seed=1, **options)
    env.reset()
    torch.manual_seed(0)
    for _ in range(decisions):
        if env.num_choices:
            action = torch.randint(0, env.num_choices, (2,))
        else:
            action = 2 * torch.rand(env.action_space.shape) - 1
        results = env.step(action)
    env.close()
    return env, results


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("module", "name", "choices", "length", "source"), PUBLISHED)
def test_published_environments(module, name, choices, length, source, threads):
    pytest.importorskip(module, reason=f"needs {module}: pip install {module.replace('_', '-')}")
    decisions = min(length, 30)
    env, results = play(f"gym:{module}:{name}", threads, decisions, image_size=32)
    assert (env.num_choices, env.episode_decisions, env.source) == (choices, length, source)
    assert results[0].shape == (2, 3, 32, 32) and results[0].float().std() > 5
    if length == decisions:
        assert results[3].all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("module", SEEN)
def test_their_states(module, threads):
    pytest.importorskip(module, reason=f"needs {module}: pip install {module.replace('_', '-')}")
    name, numbers = SEEN[module]
    if numbers is None:
        with pytest.raises(envs.EnvironmentFailure, match=r"has the observation space Dict.*expec"):
            play(f"gym:{name}", threads, 1, obs="proprio")
        return
    _, results = play(f"gym:{name}", threads, 5, obs="proprio")
    assert results[0].shape == (2, numbers) and torch.isfinite(results[0]).all()


def test_fetch_reach_plays_or_names_its_fault():
    """Version 1.4.2 does not know the types of joints of MuJoCo 3.17."""
    module = "gymnasium_robotics"
    pytest.importorskip(module, reason="pip install gymnasium-robotics")
    try:
        env, _ = play("gym:gymnasium_robotics:FetchReach-v4", 1, 5, obs="proprio")
        assert env.single_observation_space.shape == (16,)
    except envs.EnvironmentFailure as error:
        assert "its constructor raised AssertionError in gymnasium_robotics/utils" in str(error)


def test_missing_graphics_are_one_sentence_with_a_remedy():
    """MuJoCo's own renderer needs OpenGL; GLFW needs a display as well."""
    code = "import envs; envs.make('gym:Humanoid-v5', 1).reset()"
    environment = os.environ | {"MUJOCO_GL": "glfw"}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    last = done.stderr.splitlines()[-1]
    assert "EnvironmentFailure: gym:Humanoid-v5 (environment 0): render raised" in last
    assert last.endswith("without a display, install EGL (libegl1 libgl1) and set MUJOCO_GL=egl.")
