"""One third-party environment: everything that it returns is checked."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from third_party import Dot, Fork, Still

from envs.gymnasium_envs import EnvironmentFailure
from envs.gymnasium_envs.adapted_env import TIME_LIMIT, AdaptedEnv, View


def make(make_one, action_repeat=1, time_limit=None):
    return AdaptedEnv(
        make_one, "gym:X-v0", 4, View("pixels", (8, 8), (0, 0, 0, 0), action_repeat, time_limit)
    )


def returning(step=None, reset=None):
    """An environment whose step or reset returns what is given."""

    class Returning(Still):
        def result(self):
            return step if step is not None else super().result()

        def reset(self, **options):
            first = super().reset(**options)
            return reset if reset is not None else first

    return Returning


IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("reward", [1, True, np.float64(1), np.array(1.0), np.int8(1)])
def test_numbers_are_rewards(reward):
    env = make(returning((IMAGE, reward, False, False, {})), action_repeat=3)
    env.reset()
    assert env.step(np.zeros(1))[1] == 3.0


@pytest.mark.parametrize(
    ("reward", "text"),
    [
        (None, "None"),
        ("1", "'1'"),
        (np.ones(1), r"array\(\[1.\]\)"),
        (float("nan"), "nan"),
        (-float("inf"), "-inf"),
        (1e39, r"1e\+39"),
        (10**400, "1000"),
    ],
)
def test_other_rewards_are_refused(reward, text):
    env = make(returning((IMAGE, reward, False, False, {})))
    env.reset()
    sentence = rf"gym:X-v0 \(environment 4\) returned the reward {text}.*; expected a finite"
    with pytest.raises(EnvironmentFailure, match=sentence):
        env.step(np.zeros(1))


def test_rewards_that_add_up_to_infinity_are_refused():
    env = make(returning((IMAGE, 3e38, False, False, {})), action_repeat=2)
    env.reset()
    with pytest.raises(EnvironmentFailure, match=r"the reward 6e\+38"):
        env.step(np.zeros(1))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ((IMAGE, 1.0, False), "returned 3 values from step; expected .observation, reward"),
        ((IMAGE, 1.0, False, False), "returned 4 values from step, the last of them False; expec"),
        ((IMAGE[:4], 1.0, False, False, {}), "returned an image of 4x8 pixels from the observat"),
        (IMAGE, "returned a ndarray from step"),
        ((IMAGE, 1.0, None, False, {}), "returned None as terminated or truncated"),
        ((IMAGE, 1.0, False, "no", {}), "returned 'no' as terminated or truncated"),
        ((None, 1.0, False, False, {}), "returned NoneType, .* from the observation; expected an"),
        ((IMAGE / 0.5 + 2, 1.0, False, False, {}), "returned float64 values from 2 to 2 from the"),
    ],
)
def test_other_results_are_refused(result, text):
    env = make(returning(result))
    env.reset()
    with pytest.raises(EnvironmentFailure, match=text):
        env.step(np.zeros(1))


def test_a_reset_of_three_values_is_refused():
    with pytest.raises(EnvironmentFailure, match=r"returned 3 values from reset; expected \(obs"):
        make(returning(reset=(IMAGE, {}, 1))).reset()


class Older(Still):
    """As environments of Gym were: no seed in `reset`, no info there, one `done`."""

    seeds = ()

    def seed(self, seed):
        self.seeds = (*self.seeds, seed)

    def reset(self):
        self.t = 0
        return self.image()

    def result(self):
        return self.image(), 1.0, self.t == 2, {"TimeLimit.truncated": self.cut}


@pytest.mark.parametrize("cut", [False, True])
def test_the_older_interface_is_taken(cut):
    Older.cut = cut
    env = make(Older)
    assert env.reset(seed=7).shape == (3, 8, 8) and env._env.seeds == (7,)
    assert env.step(np.zeros(1))[1:] == (1.0, False, False, 1)
    assert env.step(np.zeros(1))[1:] == (1.0, not cut, cut, 1)


def test_the_observation_is_preferred_to_render():
    env = make(Fork)
    assert env.reset()[0, 0].tolist() == [240, 240, 160, 0, 0, 0, 0, 0]
    assert make(Dot).reset(seed=0)[0].max() > 0  # its observation is a number: render is used


def test_neither_images_nor_render_is_refused():
    class Blind(Still):
        render_mode = None
        observation_space = gym.spaces.Box(0.0, 1.0, (3,), np.float32)

    sentence = "has the observation space Box.* with 0 images and render_mode=None; expected one"
    with pytest.raises(EnvironmentFailure, match=sentence):
        make(Blind)


def test_an_environment_without_spaces_is_refused():
    with pytest.raises(EnvironmentFailure, match="has the action space None; expected Discrete, "):
        make(lambda: object())


def test_graphics_that_are_missing_come_with_a_remedy():
    class NoDisplay(Dot):
        def render(self):
            raise RuntimeError("an OpenGL platform library has not been loaded")

    with pytest.raises(EnvironmentFailure, match=r"render raised RuntimeError: .*MUJOCO_GL=egl\.$"):
        make(NoDisplay).reset()


def limited(*limits):
    def make_one():
        env = Still()
        for limit in limits:
            env = gym.wrappers.TimeLimit(env, limit)
        return env

    return make_one


def test_the_limit_of_the_environment_counts():
    assert make(limited(7)).time_limit == 7
    assert make(limited(7, 5), time_limit=3).time_limit == 5
    assert make(limited(), time_limit=3).time_limit == 3
    endless = make(limited())
    assert endless.own_limit is None and endless.time_limit == TIME_LIMIT


def test_episodes_without_an_end_are_truncated():
    env = make(limited(), action_repeat=2, time_limit=3)
    for _ in range(2):
        env.reset()
        assert env.step(np.zeros(1))[1:] == (2.0, False, False, 2)
        assert env.step(np.zeros(1))[1:] == (1.0, False, True, 1)


def test_torch_images_are_taken():
    class Torch(Still):
        def image(self):
            return torch.full((8, 8, 3), 9, dtype=torch.uint8)

    assert (make(Torch).reset() == 9).all()


def seen(space, obs, view="pixels", **attributes):
    """The first observation of an environment with this observation space and observation."""

    class Seen(Still):
        observation_space = space

        def image(self):
            return obs

    for name, value in attributes.items():
        setattr(Seen, name, value)
    env = AdaptedEnv(Seen, "gym:X-v0", 0, View(view, (16, 16), (0, 0, 0, 0), 1, 5))
    return env, env.reset()


PICTURE = np.full((16, 16, 3), 50, np.uint8)
PICTURE_SPACE = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
CODES = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)  # MiniGrid's view, which is no image


def test_one_image_among_other_observations_is_used():
    space = gym.spaces.Dict({"codes": CODES, "camera": gym.spaces.Tuple([PICTURE_SPACE])})
    env, first = seen(space, {"codes": np.zeros((7, 7, 3)), "camera": (PICTURE,)})
    assert (first == 50).all() and env.source == "the observation['camera'][0], uint8 (16, 16, 3)"


@pytest.mark.parametrize(
    ("space", "images"), [({"codes": CODES}, 0), ({"a": PICTURE_SPACE, "b": PICTURE_SPACE}, 2)]
)
def test_otherwise_it_is_rendered_or_refused(space, images):
    white = np.full((16, 16, 3), 255, np.uint8)
    env, first = seen(gym.spaces.Dict(space), None, render=lambda self: white)
    assert env.source == "render()" and (first == 255).all()
    sentence = f"with {images} images and render_mode=None; expected one image or"
    with pytest.raises(EnvironmentFailure, match=sentence):
        seen(gym.spaces.Dict(space), None, render_mode=None)


def test_an_observation_without_its_image_is_refused():
    with pytest.raises(EnvironmentFailure, match=r"returned \{\} as observation; expected 'a'"):
        seen(gym.spaces.Dict({"a": PICTURE_SPACE}), {})


def test_floats_up_to_255_where_the_space_says_so():
    space = gym.spaces.Box(0, 255, (16, 16, 3), np.float32)
    assert (seen(space, PICTURE.astype(np.float32))[1] == 50).all()


def test_vectors_hold_all_numbers():
    space = gym.spaces.Dict({"b": gym.spaces.Discrete(3), "a": gym.spaces.Box(-1, 1, (2, 1))})
    env, first = seen(space, {"a": np.float32([[0.5], [1]]), "b": 2}, "proprio")
    assert first.dtype == np.float32 and first.tolist() == [0.5, 1, 0, 0, 1]
    assert env.observation_space.shape == (5,) and env.source == "the observation, 5 numbers"


@pytest.mark.parametrize(
    ("obs", "text"),
    [
        ([np.nan, 0], "expected 2 finite numbers"),
        ([0], "expected 2 finite"),
        (None, "None from the ob"),
    ],
)
def test_other_vectors_are_refused(obs, text):
    with pytest.raises(EnvironmentFailure, match=f"returned .*{text}"):
        seen(gym.spaces.Box(-1, 1, (2,)), obs, "proprio")


def test_spaces_of_no_fixed_length_are_no_vectors():
    with pytest.raises(EnvironmentFailure, match=r"has the observation space Seq.*; expected 1 to"):
        seen(gym.spaces.Sequence(gym.spaces.Box(-1, 1, (2,))), (), "proprio")
