"""Environments that each break their contract in one way, for tests/fuzz."""

import os
import signal
import sys
import time

import gymnasium as gym
import numpy as np

PICTURE = np.full((16, 16, 3), 90, np.uint8)
BOX = gym.spaces.Box
IMAGES = BOX(0, 255, (16, 16, 3), np.uint8)


def fail(error):
    """Raise an error where an expression is needed."""
    raise error


class Nameless(Exception):
    """An exception whose text raises as well."""

    def __str__(self):
        return "the road\nhas\tended." * 100


class Odd:
    """Neither a number nor an array, with a repr that raises."""

    def __repr__(self):
        raise RuntimeError("no repr")


def step(**changes):
    """A result of `step` with some parts changed."""
    parts = {"obs": PICTURE, "reward": 1.0, "terminated": False, "truncated": False, "info": {}}
    return tuple((parts | changes).values())


# fault -> what the fourth step returns, or does
FAULTS = {
    "value_error": lambda: fail(ValueError("probabilities do not sum to 1")),
    "stop_iteration": lambda: fail(StopIteration()),
    "key_error": lambda: fail(KeyError("road")),
    "assertion": lambda: fail(AssertionError()),
    "long_text": lambda: fail(Nameless()),
    "memory_error": lambda: fail(MemoryError()),
    "recursion": lambda: (lambda again: again(again))(lambda again: again(again)),
    "system_exit": lambda: sys.exit(3),
    "os_error": lambda: fail(OSError(28, "No space left on device")),
    "unpicklable": lambda: fail(type("Local", (Exception,), {})("here", lambda: 0)),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "os_exit": lambda: os._exit(7),
    "hang": lambda: time.sleep(10_000),
    "reset_hang": step,
    "reset_error": step,
    "constructor": step,
    "close_error": step,
    "old_step": lambda: (PICTURE, 1.0, False, {}),
    "old_step_cut": lambda: (PICTURE, 1.0, True, {"TimeLimit.truncated": True}),
    "three_values": lambda: (PICTURE, 1.0, False),
    "step_none": lambda: None,
    "step_list": lambda: list(step()),
    "reward_none": lambda: step(reward=None),
    "reward_text": lambda: step(reward="1"),
    "reward_array": lambda: step(reward=np.ones(2)),
    "reward_nan": lambda: step(reward=float("nan")),
    "reward_inf": lambda: step(reward=-np.inf),
    "reward_huge": lambda: step(reward=10**400),
    "reward_odd": lambda: step(reward=Odd()),
    "flag_none": lambda: step(terminated=None),
    "flag_array": lambda: step(truncated=np.array([True, False])),
    "info_ragged": lambda: step(info={"a": np.zeros(np.random.randint(1, 9)), "b": Odd()}),
    "info_none": lambda: step(info=None),
    "image_none": lambda: step(obs=None),
    "image_text": lambda: step(obs="picture"),
    "image_object": lambda: step(obs=PICTURE.astype(object)),
    "image_empty": lambda: step(obs=PICTURE[:0]),
    "image_smaller": lambda: step(obs=PICTURE[:8]),
    "image_int64": lambda: step(obs=PICTURE.astype(np.int64)),
    "image_minus": lambda: step(obs=PICTURE.astype(np.int64) - 91),
    "image_float": lambda: step(obs=PICTURE / 255),
    "image_nan": lambda: step(obs=PICTURE * np.nan),
    "image_complex": lambda: step(obs=PICTURE * 1j),
    "image_grey": lambda: step(obs=PICTURE[..., 0]),
    "image_rgba": lambda: step(obs=np.concatenate([PICTURE, PICTURE[..., :1]], 2)),
    "image_odd": lambda: step(obs=Odd()),
    "ends_at_once": lambda: step(terminated=True),
    "action_unbounded": step,
    "action_dict": step,
    "action_none": step,
    "choices_many": step,
    "choices_several": step,
    "space_none": step,
    "space_odd": step,
}
PLAYED = {  # what is taken all the same
    "old_step",
    "old_step_cut",
    "info_ragged",
    "info_none",
    "image_int64",
    "image_float",
    "image_grey",
    "image_rgba",
    "ends_at_once",
    "choices_several",
    "close_error",
}
ACTIONS = {
    "action_unbounded": BOX(-np.inf, np.inf, (1,)),
    "action_dict": gym.spaces.Dict({"a": gym.spaces.Discrete(2)}),
    "action_none": None,
    "choices_many": gym.spaces.Discrete(10**9),
    "choices_several": gym.spaces.MultiDiscrete([3, 4]),
}


class Bad(gym.Env):
    """Does one of FAULTS in its fourth step, or where its name says."""

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, fault, render_mode=None):
        if fault == "constructor":
            raise OSError("no such road")
        self.fault, self.t = fault, 0
        self.action_space = ACTIONS.get(fault, BOX(-1.0, 1.0, (1,)))
        self.observation_space = {"space_none": None, "space_odd": Odd()}.get(fault, IMAGES)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        if self.fault == "reset_hang":
            time.sleep(10_000)
        if self.fault == "reset_error":
            raise StopIteration
        return PICTURE, {}

    def step(self, action):
        self.t += 1
        return FAULTS[self.fault]() if self.t == 4 else step()

    def close(self):
        if self.fault == "close_error":
            raise OSError("already closed")


gym.register("Bad-v0", Bad, max_episode_steps=9)
