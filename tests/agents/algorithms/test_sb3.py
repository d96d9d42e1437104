"""Stable-Baselines3 on features, in real environments and in imagination, with its own checks."""

import numpy as np
import pytest
import torch

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.world_models.base import State
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel

sb3 = pytest.importorskip("stable_baselines3")
import gymnasium as gym  # noqa: E402
from point import Point, spec, starts  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402

from aef_worldmodel.backbone import AEFBackbone  # noqa: E402
from aef_worldmodel.sb3 import AEFExtractor, EncodedVecEnv  # noqa: E402
from agents.algorithms.sb3.ppo import PpoAgent, PpoConfig  # noqa: E402
from agents.algorithms.sb3.sac import (  # noqa: E402
    SacAgent,
    SacConfig,
    TransitionBuffer,
    transitions,
)
from agents.latent_envs import DreamVecEnv, LatentVecEnv, LatentWrapper  # noqa: E402
from envs.sb3 import SB3VecEnv  # noqa: E402

WIDTH = {"latent_dim": 8, "recurrent_dim": 16, "hidden_dim": 16, "width": 8}
SMALL = {"image_size": 32, "action_repeat": 200, "threads": 1}  # episodes of five decisions


def net():
    """A tiny policy; the package changes the dictionary it is given."""
    return {"policy_kwargs": {"net_arch": [8]}, "device": "cpu"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return RecurrentWorldModel(RecurrentConfig(**WIDTH), (3, 32, 32), 1)


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


def test_imagined_episodes_follow_the_model_and_end_where_it_says():
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
    small = (
        {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
        if algorithm == "PPO"
        else {"buffer_size": 100, "learning_starts": 4}
    )
    kind, count = getattr(sb3, algorithm), Count()
    agent = kind("MlpPolicy", env, tensorboard_log=str(tmp_path), **small, **net())
    agent.learn(16, callback=count)
    assert count.calls == 8 and list(tmp_path.glob("*/events*"))
    agent.save(tmp_path / "agent.zip")
    again = kind.load(tmp_path / "agent.zip", env=env)
    seen = env.reset()
    one, other = (a.predict(seen, deterministic=True)[0] for a in (agent, again))
    assert (one == other).all() and one.shape == (2, 1)


def test_ppo_learns_in_imagination():
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


def test_one_environment_passes_the_packages_check(model):
    single = gym.make("aef/cartpole-swingup-v0", image_size=32, action_repeat=200, threads=1)
    check_env(LatentWrapper(single, model), warn=True)


def test_a_pretrained_backbone_inside_a_policy_is_saved_with_it(tmp_path):
    settings = {"model": "aef-dct", "latent_dim": 8, "networks": "patch", "width": 8}
    AEFBackbone((3, 32, 32), settings).save_pretrained(tmp_path / "eye")
    options = {"pretrained": str(tmp_path / "eye"), "trainable": True}
    kwargs = {"features_extractor_class": AEFExtractor, "features_extractor_kwargs": options}
    env = SB3VecEnv("cartpole-swingup", 2, **SMALL)
    sizes = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "device": "cpu"}
    agent = sb3.PPO("CnnPolicy", env, policy_kwargs=kwargs, **sizes).learn(16)
    agent.save(tmp_path / "agent.zip")
    again, frame = sb3.PPO.load(tmp_path / "agent.zip", device="cpu"), env.reset()
    one, other = (a.predict(frame, deterministic=True)[0] for a in (agent, again))
    assert (one == other).all()
    loaded = AEFBackbone.from_pretrained(tmp_path / "eye").autoencoder.encoder.stem.weight
    assert not torch.equal(again.policy.features_extractor.autoencoder.encoder.stem.weight, loaded)
    with pytest.raises(ValueError, match="give either an autoencoder or pretrained=NAME"):
        AEFExtractor(env.observation_space)


@pytest.mark.parametrize("trainable", [False, True])
def test_an_autoencoder_inside_a_policy(model, tmp_path, trainable):
    env = SB3VecEnv("cartpole-swingup", 2, frame_stack=2, **SMALL)
    options = {"autoencoder": model.autoencoder, "trainable": trainable}
    kwargs = {
        "features_extractor_class": AEFExtractor,
        "features_extractor_kwargs": options,
        "net_arch": [8],
    }
    agent = sb3.PPO(
        "CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu", policy_kwargs=kwargs
    )
    extractor = agent.policy.features_extractor
    frame = env.reset()
    found = agent.policy.extract_features(agent.policy.obs_to_tensor(frame)[0])
    pictures = torch.from_numpy(frame).view(4, 3, 32, 32)
    expected = model.autoencoder.encode(pictures).latent.view(2, 16)
    torch.testing.assert_close(found, expected)
    undivided = torch.from_numpy(frame).float()  # as of normalize_images=False
    for images in (undivided, undivided / 255, undivided.byte()):
        torch.testing.assert_close(extractor(images), expected)
    dark = undivided.clamp(max=1)  # a night after a day: what came before says that 1 is dark
    extractor(undivided)
    torch.testing.assert_close(extractor(dark), extractor(dark.byte()))
    before = [p.detach().clone() for p in extractor.autoencoder.encoder.parameters()]
    agent.learn(16)
    after = list(extractor.autoencoder.encoder.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after)) == trainable
    agent.save(tmp_path / "agent.zip")
    again = sb3.PPO.load(tmp_path / "agent.zip", device="cpu")
    one, other = (a.predict(frame, deterministic=True)[0] for a in (agent, again))
    assert (one == other).all()
    with pytest.raises(ValueError, match="the autoencoder is for images of shape"):
        AEFExtractor(gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), model.autoencoder)


def test_environments_of_latents_encode_each_frame_once(model, monkeypatch):
    counted, encode = [], model.autoencoder.encode
    plain, images = (SB3VecEnv("cartpole-swingup", 2, frame_stack=2, **SMALL) for _ in range(2))
    monkeypatch.setattr(model.autoencoder, "encode", lambda x: counted.append(len(x)) or encode(x))
    encoded = EncodedVecEnv(images, model.autoencoder)
    for env in (plain, encoded):
        env.seed(3)
    expected = encode(torch.from_numpy(plain.reset()).view(4, 3, 32, 32)).latent.view(2, 16)
    np.testing.assert_allclose(encoded.reset(), expected.detach(), atol=1e-5)
    for _ in range(5):  # the episode ends
        _, _, dones, infos = encoded.step(np.zeros((2, 1), np.float32))
    assert dones.all() and infos[0]["terminal_observation"].shape == (16,)
    before = sum(counted)
    sb3.SAC("MlpPolicy", encoded, learning_starts=4, batch_size=64, **net()).learn(20)
    frames = 4 * (1 + 10) + 2 * 2 * 2  # of reset and steps, and the last ones of two episodes each
    assert sum(counted) - before == frames
    with pytest.raises(ValueError, match="the autoencoder is for images of shape"):
        EncodedVecEnv(SB3VecEnv("cartpole-swingup", image_size=16), model.autoencoder)


def test_transitions_pair_rows_of_one_episode():
    first = torch.tensor([[True, False, False, True, False]])
    terminal = torch.tensor([[False, False, True, False, False]])
    count = torch.arange(5.0)
    batch = Batch(
        frame=torch.zeros(1, 5, 1, 1, 1),
        action=10 + count.view(1, 5, 1),
        reward=20 + count[None],
        first=first,
        terminal=terminal,
        recurrent=torch.zeros(1, 5, 1),
    )
    states = State(count.view(1, 5, 1), torch.zeros(1, 5, 1))
    now, action, reward, after, done = transitions(batch, states)
    assert now[:, 0].tolist() == [0, 1, 3] and after[:, 0].tolist() == [1, 2, 4]
    assert action[:, 0].tolist() == [10, 11, 13] and reward[:, 0].tolist() == [21, 22, 24]
    assert done[:, 0].tolist() == [0, 1, 0]
    ring = TransitionBuffer(4, spec())
    ring.put(now, action, reward, after, done)
    assert ring.sample(50).rewards.unique().tolist() == [21, 22, 24]
    ring.put(now, action, reward + 10, after, done)  # the oldest two are overwritten
    assert ring.sample(100).rewards.unique().tolist() == [24, 31, 32, 34]


def test_sacs_entropy_weight_starts_where_it_is_set():
    agent = SacAgent(SacConfig(entropy=0.25, hidden_dim=8), spec(2))
    assert agent.algorithm.log_ent_coef.exp().item() == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"^entropy=0 must be above 0"):
        SacConfig(entropy=0)


def test_ppo_bootstraps_a_time_limit_from_the_last_state():
    """The critic's value of the episode's last state counts, not that of the state before it."""
    agent = PpoAgent(PpoConfig(rollout=3, discount=0.5, hidden_dim=8), spec(num_envs=2))
    policy = agent.policy(True, Point())
    state, last = starts(2), State(torch.full((2, 1), 5.0), torch.full((2, 1), 7.0))
    never, cut = torch.zeros(2, dtype=torch.bool), torch.tensor([True, False])
    policy.act(state, never)
    policy.outcome(torch.tensor([1.0, 2.0]), never, cut, lambda: last)
    with torch.no_grad():
        value = agent.algorithm.policy.predict_values(last.features)[0, 0].item()
    assert agent.rollout.rewards[0].tolist() == pytest.approx([1 + 0.5 * value, 2])
