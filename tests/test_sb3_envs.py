"""Stable-Baselines3 on features, in the real worlds and in the dream, with its own checks."""

import numpy as np
import pytest
import torch

from aef_worldmodel.world_model import WorldModel, WorldModelConfig

sb3 = pytest.importorskip("stable_baselines3")
import gymnasium as gym  # noqa: E402
from point import Point, starts  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402

from agents.extractor import AEFExtractor  # noqa: E402
from agents.sb3 import SacAgent, SacConfig, Transitions, transitions  # noqa: E402
from agents.sb3_envs import DreamVecEnv, LatentVecEnv, LatentWrapper  # noqa: E402
from agents.schema import ConfigError  # noqa: E402
from envs.sb3 import SB3VecEnv  # noqa: E402

WIDTH = {"latent_dim": 8, "recurrent_dim": 16, "hidden_dim": 16, "width": 8}
SMALL = {"image_size": 32, "action_repeat": 200, "threads": 1}  # episodes of five decisions


def net():
    """A tiny policy; the package changes the dictionary it is given."""
    return {"policy_kwargs": {"net_arch": [8]}, "device": "cpu"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return WorldModel(WorldModelConfig(**WIDTH), (3, 32, 32), 1)


def test_features_are_those_of_the_filter(model):
    """Two episodes and a half: the same numbers as filtering the pictures by hand."""
    latent = LatentVecEnv(model, "cartpole-swingup", 2, **SMALL)
    plain = SB3VecEnv("cartpole-swingup", 2, **SMALL)
    latent.seed(5), plain.seed(5)
    features, frame = latent.reset(), plain.reset()
    state = model.initial(2)
    first, action = torch.ones(2, dtype=torch.bool), torch.zeros(2, 1)
    generator = np.random.default_rng(0)
    for t in range(12):
        state = model.observe(state, action, torch.from_numpy(frame), first)
        np.testing.assert_allclose(features, state.features.detach().numpy(), atol=1e-5)
        played = generator.uniform(-1, 1, (2, 1)).astype(np.float32)
        features, reward, dones, infos = latent.step(played)
        frame, same_reward, same_dones, same_infos = plain.step(played)
        action, first = torch.from_numpy(played), torch.from_numpy(dones)
        assert (reward == same_reward).all() and (dones == same_dones).all()
        assert dones.all() == (t % 5 == 4)
        if dones.any():
            last = torch.from_numpy(np.stack([i["terminal_observation"] for i in same_infos]))
            end = model.observe(state, action, last, torch.zeros(2, dtype=torch.bool))
            found = np.stack([info["terminal_observation"] for info in infos])
            np.testing.assert_allclose(found, end.features.detach().numpy(), atol=1e-5)
            assert infos[0]["TimeLimit.truncated"]
    begin = latent.beginnings(5)
    assert begin.latent.shape == (6, 8)


def test_dreams_follow_the_model_and_end_where_it_says():
    model = Point()
    torch.manual_seed(0)
    env = DreamVecEnv(model, starts(50), num_envs=3, horizon=4, temperature=0.0)
    features = env.reset()
    returns = np.zeros(3)
    for t in range(1, 9):
        action = np.array([[1.0], [-1.0], [0.0]], np.float32)
        expected = features[:, 1] + 0.5 * action[:, 0]
        features, reward, dones, infos = env.step(action)
        returns += reward
        np.testing.assert_allclose(reward, -((expected - 1) ** 2), atol=1e-6)
        assert dones.all() == (t % 4 == 0)
        if dones.all():
            found = np.stack([info["terminal_observation"] for info in infos])
            np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)
            np.testing.assert_allclose([i["episode"]["r"] for i in infos], returns, rtol=1e-5)
            assert all(i["TimeLimit.truncated"] and i["episode"]["l"] == 4 for i in infos)
            returns[:] = 0
        else:
            np.testing.assert_allclose(features[:, 1], expected, atol=1e-6)
    model.continuation = lambda state: torch.zeros_like(state.latent[..., 0])
    _, _, dones, infos = env.step(action)
    assert dones.all() and not any(info["TimeLimit.truncated"] for info in infos)
    env.seed(1)
    once = env.reset()
    env.seed(1)
    assert (env.reset() == once).all()
    with pytest.raises(ValueError, match="horizon >= 1"):
        DreamVecEnv(model, starts(2), horizon=0)


class Count(BaseCallback):
    """Counts steps."""

    calls = 0

    def _on_step(self):
        self.calls += 1
        return True


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_learning_saving_and_loading(model, tmp_path, algorithm):
    env = LatentVecEnv(model, "cartpole-swingup", 2, **SMALL)
    small = {"n_steps": 8, "batch_size": 8, "n_epochs": 1} if algorithm == "PPO" else {
        "buffer_size": 100, "learning_starts": 4}  # fmt: skip
    kind, count = getattr(sb3, algorithm), Count()
    agent = kind("MlpPolicy", env, tensorboard_log=str(tmp_path), **small, **net())
    agent.learn(16, callback=count)
    assert count.calls == 8 and list(tmp_path.glob("*/events*"))
    agent.save(tmp_path / "agent.zip")
    again = kind.load(tmp_path / "agent.zip", env=env)
    seen = env.reset()
    one, other = (a.predict(seen, deterministic=True)[0] for a in (agent, again))
    assert (one == other).all() and one.shape == (2, 1)


def test_ppo_learns_in_the_dream():
    torch.manual_seed(0)
    env = DreamVecEnv(Point(), starts(50), num_envs=16, horizon=5, seed=0)
    agent = sb3.PPO(
        "MlpPolicy", env, n_steps=10, batch_size=80, learning_rate=5e-3, seed=0, **net()
    )

    def mean_return():
        env.seed(3)
        features, total = env.reset(), 0.0
        for _ in range(5):
            action, _ = agent.predict(features, deterministic=True)
            features, reward, *_ = env.step(action)
            total += reward.mean()
        return total

    before = mean_return()  # returns are negative
    agent.learn(16 * 10 * 15)
    assert mean_return() > 0.6 * before


def test_one_world_passes_the_packages_check(model):
    single = gym.make("aef/cartpole-swingup-v0", image_size=32, action_repeat=200, threads=1)
    check_env(LatentWrapper(single, model), warn=True)


@pytest.mark.parametrize("trainable", [False, True])
def test_an_eye_inside_a_policy(model, tmp_path, trainable):
    env = SB3VecEnv("cartpole-swingup", 2, frame_stack=2, **SMALL)
    options = {"eye": model.eye, "trainable": trainable}
    kwargs = {"features_extractor_class": AEFExtractor, "features_extractor_kwargs": options,
              "net_arch": [8]}  # fmt: skip
    agent = sb3.PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu",
                    policy_kwargs=kwargs)  # fmt: skip
    extractor = agent.policy.features_extractor
    frame = env.reset()
    found = agent.policy.extract_features(agent.policy.obs_to_tensor(frame)[0])
    pictures = torch.from_numpy(frame).view(4, 3, 32, 32)
    expected = model.eye.encode(pictures).latent.view(2, 16)
    torch.testing.assert_close(found, expected)
    before = [p.detach().clone() for p in extractor.eye.encoder.parameters()]
    agent.learn(16)
    after = list(extractor.eye.encoder.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after)) == trainable
    agent.save(tmp_path / "agent.zip")
    again = sb3.PPO.load(tmp_path / "agent.zip", device="cpu")
    one, other = (a.predict(frame, deterministic=True)[0] for a in (agent, again))
    assert (one == other).all()
    with pytest.raises(ValueError, match="this eye sees pictures of shape"):
        AEFExtractor(gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), model.eye)


def test_transitions_pair_rows_of_one_episode():
    first = torch.tensor([[True, False, False, True, False]])
    terminal = torch.tensor([[False, False, True, False, False]])
    rows = {
        "recurrent": torch.arange(5.0).view(1, 5, 1), "latent": torch.zeros(1, 5, 1),
        "action": 10 + torch.arange(5.0).view(1, 5, 1), "reward": 20 + torch.arange(5.0)[None],
        "first": first, "terminal": terminal,
    }  # fmt: skip
    now, action, reward, after, done = transitions(rows)
    assert now[:, 0].tolist() == [0, 1, 3] and after[:, 0].tolist() == [1, 2, 4]
    assert action[:, 0].tolist() == [10, 11, 13] and reward[:, 0].tolist() == [21, 22, 24]
    assert done[:, 0].tolist() == [0, 1, 0]
    ring = Transitions(4, 2, 1, torch.device("cpu"))
    ring.put(now, action, reward, after, done)
    assert ring.sample(50).rewards.unique().tolist() == [21, 22, 24]
    ring.put(now, action, reward + 10, after, done)  # the oldest two are overwritten
    assert ring.sample(100).rewards.unique().tolist() == [24, 31, 32, 34]


def test_sacs_entropy_weight_starts_where_it_is_told():
    agent = SacAgent(SacConfig(entropy=0.25), 3, 2, 4, torch.device("cpu"))
    assert agent.algorithm.log_ent_coef.exp().item() == pytest.approx(0.25)
    with pytest.raises(ConfigError, match=r"agent\.entropy=0 must be above 0"):
        SacConfig(entropy=0)
