"""Somebody else's environments behind the same face."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import envs
from envs.foreign import ForeignEnv
from envs.pictures import Pictures


class Dot(gym.Env):
    """A red dot that an action in [0, 4] moves; the episode ends after five steps."""

    render_mode = "rgb_array"
    action_space = gym.spaces.Box(0.0, 4.0, (1,), np.float32)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(0, 8)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x, self.t = (self.x + round(float(action[0]))) % 32, self.t + 1
        return np.array([self.x], np.float32), float(action[0]), False, self.t >= 5, {}

    def render(self):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, self.x, 0] = 255
        return image


class Fork(gym.Env):
    """Left or right, counted from 1; the picture is the observation, and its left third is red."""

    action_space = gym.spaces.Discrete(2, start=1)
    observation_space = gym.spaces.Box(0, 255, (9, 12, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        image = np.zeros((9, 12, 3), np.uint8)
        image[:, :4, 0] = 240
        return image, {}

    def step(self, action):
        assert type(action) is int and action in (1, 2)
        return self.reset()[0], float(action), action == 2, False, {}


class Faulty(Dot):
    """Raises, or ends its process, when it is told to go as far as it can."""

    def __init__(self, kill=False):
        self.kill = kill

    def step(self, action):
        if action[0] == 4.0 and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if action[0] == 4.0:
            raise OSError("the road ends here")
        return super().step(action)


class Stubborn(Dot):
    """Does not end on SIGTERM, as if SDL had drawn it."""

    def reset(self, **options):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().reset(**options)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_gymnasium_env(threads):
    env = ForeignEnv(Dot, 3, frames=5, image_size=16, action_repeat=2, seed=1, threads=threads)
    assert env.num_choices is None
    first, _ = env.reset()
    assert first.shape == (3, 3, 16, 16) and first.dtype == torch.uint8
    assert env.episode_decisions == 3 and env.single_action_space.shape == (1,)
    obs, reward, terminated, truncated, info = env.step(torch.full((3, 1), 0.5))  # 2 of 4
    assert reward.tolist() == [4.0, 4.0, 4.0] and info == {}
    assert (obs[:, 0].float().mean((1, 2)) == first[:, 0].float().mean((1, 2))).all()
    assert not torch.equal(obs, first)
    env.step(torch.zeros(3, 1))
    obs, reward, terminated, truncated, info = env.step(np.ones((3, 1)))
    assert truncated.all() and not terminated.any() and reward.tolist() == [4.0] * 3
    assert info["final_obs"].shape == obs.shape and info["_final_obs"].all()
    assert not torch.equal(info["final_obs"], obs)
    assert torch.equal(env.reset(seed=1)[0], first)
    env.close()


class Pedals(Dot):
    """Shows its action in the corner of a white picture."""

    action_space = gym.spaces.Box(np.float32([-2, 0, 10]), np.float32([6, 1, 20]))
    render_mode = "rgb_array"

    def step(self, action):
        self.given = action.tolist()
        return self.reset()[0], 0.0, False, False, {"given": self.given}

    def render(self):
        image = np.full((32, 32, 3), 255, np.uint8)
        image[:4], image[-8:], image[:, :2], image[:, -1:] = 0, 0, 0, 0
        return image


@pytest.mark.parametrize(
    ("action", "theirs"),
    [((0, 0, 0), (0, 0, 15)), ((-1, -1, -1), (-2, 0, 10)), ((0.5, 0.5, 0.5), (3, 0.5, 17.5))],
)
def test_a_boxs_nought_is_nought(action, theirs):
    one = Pictures(Pedals, (4, 4), 1)
    one.reset()
    assert one.step(np.float32(action))[4]["given"] == list(theirs)


def test_pictures_are_cropped():
    white = ForeignEnv(Pedals, 2, frames=5, crop=(4, 8, 2, 1)).reset()[0]
    assert white.shape == (2, 3, 64, 64) and (white == 255).all()
    assert (ForeignEnv(Pedals, 1, frames=5, crop=(4, 8, 2, 0)).reset()[0] < 255).any()
    with pytest.raises(ValueError, match=r"crop=\(32, 0, 0, 0\) leaves nothing"):
        ForeignEnv(Pedals, 1, frames=5, crop=(32, 0, 0, 0)).reset()
    with pytest.raises(ValueError, match=r"crop=\(0, -1, 0, 0\) is no cut"):
        ForeignEnv(Pedals, 1, frames=5, crop=(0, -1, 0, 0))


def test_discrete_actions_are_counted_from_nought():
    env = ForeignEnv(Fork, 2, frames=5, image_size=(6, 8), action_repeat=1)
    assert env.single_action_space == gym.spaces.Discrete(2) and env.num_choices == 2
    assert env.action_space.shape == (2,)
    env.reset()
    obs, reward, terminated, *_ = env.step(torch.tensor([0, 1]))
    assert reward.tolist() == [1.0, 2.0] and terminated.tolist() == [False, True]
    # the edge between red and black lies two thirds inside the third of eight columns
    assert obs[0, 0, 0].tolist() == [240, 240, 160, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"action\[1\] = 2 is not within 0 to 1"):
        env.step(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"give integers of shape \(2,\)"):
        env.step(torch.zeros(2))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore")
def test_an_environment_that_raises_is_named(threads):
    env = ForeignEnv(Faulty, 2, frames=5, threads=threads)
    env.reset()
    with pytest.raises(RuntimeError, match="of world 1 raised OSError: the road ends here"):
        env.step(torch.tensor([[0.0], [1.0]]))


@pytest.mark.filterwarnings("ignore:.*Calling `close`.*")
def test_a_process_that_dies_is_named():
    env = ForeignEnv(functools.partial(Faulty, kill=True), 2, frames=5, threads=2)
    env.reset()
    with pytest.raises(RuntimeError, match=r"processes of worlds \[1\] died \(exit codes \[-9\]"):
        env.step(torch.tensor([[0.0], [1.0]]))


def test_a_process_does_not_answer_signals_as_its_parent_does():
    """A run that saves on SIGTERM has workers that end on it, and leave Ctrl-C to the run."""
    handlers = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        env = ForeignEnv(Dot, 2, frames=5, threads=2)
        env.reset()
        worker = env._batch.processes[0]
        os.kill(worker.pid, signal.SIGINT)
        env.step(torch.zeros(2, 1))
        os.kill(worker.pid, signal.SIGTERM)
        worker.join(20)
        assert worker.exitcode == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
        env._batch.processes[1].terminate()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_python_ends_though_processes_do_not_on_sigterm():
    code = (
        "from envs.foreign import ForeignEnv\nfrom test_envs_foreign import Stubborn\n"
        "env = ForeignEnv(Stubborn, 2, frames=5, threads=2)\nenv.reset()"
    )
    here, path = Path(__file__).parent, os.pathsep.join(sys.path)
    environment = os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{path}"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_car_racing():
    pytest.importorskip("Box2D", reason="needs Box2D: pip install 'aef-worldmodel[box2d]'")
    env = envs.make("gym:CarRacing-v3", 2, action_repeat=4)
    first, _ = env.reset()
    assert first.shape == (2, 3, 64, 64) and first.float().std() > 10
    assert env.single_action_space.shape == (3,) and env.episode_decisions == 250
    coast, gas = torch.tensor([0.0, -1.0, -1.0]), torch.tensor([0.0, 1.0, -1.0])
    for _ in range(15):  # the first second zooms in; then whoever has gas moves
        obs, *_ = env.step(torch.stack([coast, gas]))
    later, reward, *_ = env.step(torch.stack([coast, gas]))
    moved = (later.float() - obs.float()).abs().mean((1, 2, 3))
    assert moved[1] > 3 * moved[0] and torch.isfinite(reward).all()
    env.close()
    choosing = envs.make("gym:CarRacing-v3?continuous=False", 1, image_size=32)
    assert choosing.num_choices == 5 and choosing.reset()[0].shape == (1, 3, 32, 32)
    choosing.close()


class Unbounded(Dot):
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)


def test_what_it_cannot_do_it_says():
    env = ForeignEnv(Dot, 2, frames=5)
    env.reset()
    with pytest.raises(ValueError, match="is not within"):
        env.step(torch.full((2, 1), 2.0))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        env.step(torch.zeros(2))
    with pytest.raises(ValueError, match="cannot be saved"):
        env.state()
    assert env.proprio().shape == (2, 0) and env.faults() == {}
    with pytest.raises(ValueError, match="only Discrete and a bounded Box"):
        ForeignEnv(Unbounded, 1, frames=5)
    with pytest.raises(ValueError, match="'fast' is no setting"):
        envs.make("gym:CartPole-v1?fast")
    with pytest.raises(ValueError, match="'no_such_module' that is to register 'Catch-v0'"):
        envs.make("gym:no_such_module:Catch-v0")
    with pytest.raises(ValueError, match="cannot make 'grey:NoSuchEnv-v0'"):
        envs.make("gym:grey:NoSuchEnv-v0")
    with pytest.raises(ValueError, match="Gymnasium cannot make 'NoSuchEnv-v0'"):
        envs.make("gym:NoSuchEnv-v0")
    with pytest.raises(ValueError, match="backend='unity' is not known"):
        envs.make("cheetah-run", backend="unity")
