"""Settings that commit 0f2081c saved, and its keys on a command line."""

import copy

import pytest
import yaml

from aef_worldmodel.utils.config.schema import ConfigError, to_dict
from aef_worldmodel.utils.errors import UserError
from agents.config.legacy import explain, update
from agents.config.sections import EmaConfig, EnvConfig, EvalConfig, RateConfig, ReplayConfig
from agents.config.train import TrainConfig, load, read, save

RUN = """\
env: {task: cheetah-run, action_repeat: 2, image_size: 64, rays: 1, crop: [0, 0, 0, 0],
  restart_every: 500, backend: null}
world_model: {autoencoder: partition, core: dct, latent_dim: 24, recurrent_dim: 256,
  hidden_dim: 256, width: 64, decoder: patches, sigma_floor: 0.1, pixel_weight: 0.004,
  prior_flow: null, prior_floor: 0.03, anchor: 0.1, overshoot: 0, inverse_weight: 0.0,
  likelihood_scale: 0.01, reward_weight: 1.0, decoded_frames: 64, training: joint}
agent: AGENT
hardware: {profile: cpu, device: cpu, threads: 2, autocast: float32, num_envs: 8, replay: disk}
frames: 6000
seed: 3
run: runs/first
resume: null
data: null
eye: runs/walker
prefill: 4000
pretrain: 150
frames_per_update: 8.0
batch: 10
length: 15
model_rate: 0.0007
actor_rate: 0.0002
critic_rate: 0.0009
average_rate: 0.05
replay_rows: 400000
recency: 2.0
eval_every: 9000
eval_episodes: 9
checkpoint_every: 3000
"""
ACTOR_CRITIC = """{horizon: 21, starts: 100, temperature: 0.9, discount: 0.98, gradient: dynamics,
  gradient_limit: 2.0, trace: 0.9, entropy: 0.02, hidden_dim: 250, slow_rate: 0.03,
  replay_value: 1.0, replay_horizon: 200, actor_rate: 0.01, std_floor: 0.3, quiet_worlds: 0.5}"""
AGENTS = {
    "imagination": ACTOR_CRITIC,
    "mpc": f"""{{kind: mpc, method: mppi, horizon: 5, candidates: 64, proposals: 8, elites: 7,
  rounds: 3, temperature: 0.5, std_floor: 0.05, noise: 0.0, bootstrap: false,
  imagination: {ACTOR_CRITIC}}}""",
    "sac": """{kind: sac, steps: 3, batch: 256, window: 32, rate: 0.0004, entropy: 0.02,
  discount: 0.98, hidden_dim: 250}""",
    "ppo": """{kind: ppo, rollout: 64, epochs: 10, batch: 256, rate: 0.0004, discount: 0.98,
  trace: 0.9, entropy: 0.01, hidden_dim: 250}""",
    "cmaes": """{kind: cmaes, population: 16, step: 0.1, hidden: 0, reads: hz, every: 5,
  horizon: 30, starts: 12, temperature: 0.8}""",
    "random": "{kind: random}",
    "scripted": "{kind: scripted, amplitude: 0.5, period: 20.0, lag: 0.25}",
}
LEARNT = {
    "horizon": 21,
    "imagination_batch": 100,
    "temperature": 0.9,
    "discount": 0.98,
    "gradient_limit": 2.0,
    "return_lambda": 0.9,
    "entropy": 0.02,
    "hidden_dim": 250,
    "critic_replay_steps": 200,
    "greedy_env_fraction": 0.5,
}
PLAN = {
    "horizon": 5,
    "num_samples": 64,
    "num_policy_trajectories": 8,
    "num_elites": 7,
    "iterations": 3,
    "use_value": False,
}
TODAY = {
    "imagination": LEARNT,
    "mpc": LEARNT | {"plan": PLAN},
    "sac": {"gradient_steps": 3, "entropy": 0.02, "discount": 0.98, "hidden_dim": 250},
    "ppo": {
        "rollout": 64,
        "discount": 0.98,
        "return_lambda": 0.9,
        "entropy": 0.01,
        "hidden_dim": 250,
    },
    "cmaes": {
        "population": 16,
        "every": 5,
        "horizon": 30,
        "imagination_batch": 12,
        "temperature": 0.8,
    },
    "random": {},
    "scripted": {"amplitude": 0.5},
}


def old(agent="imagination"):
    return yaml.safe_load(RUN.replace("AGENT", AGENTS[agent]))


@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_of_every_agent_is_read(agent, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(RUN.replace("AGENT", AGENTS[agent]))
    found = read(path)
    assert to_dict(found)["agent"] == {"kind": agent} | TODAY[agent]
    assert found.env == EnvConfig("cheetah-run", 2, 64, 1, 500)
    rate = 0.0004 if agent in ("sac", "ppo") else 0.0002
    learnt = agent in ("imagination", "mpc")
    assert found.lr == RateConfig(0.0007, rate, 0.0009)
    assert found.ema == (EmaConfig(0.05, 0.01, 0.03) if learnt else EmaConfig(0.05))
    assert found.replay == ReplayConfig(400_000, 2.0, 10, 15)
    assert found.eval == EvalConfig(9000, 9)
    assert (found.world_model.latent_dim, found.init_autoencoder_from) == (24, "runs/walker")
    assert (found.hardware.precision, found.hardware.threads) == ("float32", 2)
    assert (found.frames, found.seed, found.run) == (6000, 3, "runs/first")
    resumed = load([f"resume={tmp_path}", "frames=7000"])
    assert (resumed.agent, resumed.frames) == (found.agent, 7000)
    save(path, found)
    assert read(path) == found


@pytest.mark.parametrize(
    "part, changes, expected",
    [
        ("world_model", {"core": "center"}, {"autoencoder": "aef-center"}),
        ("world_model", {"core": "corner"}, {"autoencoder": "aef-corner"}),
        ("world_model", {"autoencoder": "expanded"}, {"autoencoder": "expanded"}),
        ("world_model", {"autoencoder": "vae", "core": "dct"}, {"autoencoder": "vae"}),
        ("world_model", {"decoder": "pyramid"}, {"networks": "pyramid"}),
        ("env", {"task": "gym:A-v3", "crop": [0, 12, 0, 0]}, {"task": "gym:A-v3?crop=0,12,0,0"}),
        ("env", {"backend": "dm_control"}, {"task": "dm_control:cheetah-run"}),
    ],
)
def test_values_are_converted(part, changes, expected):
    values = old()
    values[part] |= changes
    found = update(values)[part]
    assert {key: found[key] for key in expected} == expected
    assert "core" not in found and "decoder" not in found and "crop" not in found


def test_objectives_have_a_group_of_their_own():
    values = old()
    values["world_model"] |= {"training": "staged", "overshoot": 5}
    assert update(values)["objective"] == {"staged": True, "overshoot": 5}
    assert update(old())["objective"] == {"staged": False, "overshoot": 0}


def test_keys_that_an_older_commit_did_not_have_keep_their_defaults():
    values = old()
    for key in ("decoder", "core", "overshoot", "prior_floor"):
        del values["world_model"][key]
    found = update(values)
    assert "autoencoder" not in found["world_model"] and found["objective"] == {"staged": False}


@pytest.mark.parametrize(
    "agent, key, value",
    [
        ("imagination", "world_model.prior_flow", "coupling"),
        ("imagination", "world_model.inverse_weight", 0.1),
        ("imagination", "world_model.decoded_frames", 8),
        ("imagination", "world_model.core", "strange"),
        ("imagination", "agent.gradient", "reinforce"),
        ("imagination", "agent.replay_value", 0.3),
        ("imagination", "agent.replay_horizon", None),
        ("mpc", "agent.method", "cem"),
        ("mpc", "agent.noise", 1.0),
        ("sac", "agent.batch", 128),
        ("ppo", "agent.epochs", 4),
        ("cmaes", "agent.reads", "z"),
        ("scripted", "agent.period", 10.0),
    ],
)
def test_a_removed_value_is_refused_with_the_last_commit_that_had_it(agent, key, value, tmp_path):
    values = old(agent)
    part, name = key.split(".")
    values[part][name] = value
    shown = "null" if value is None else value
    sentence = f"{key}={shown} was removed, last supported at commit 0f2081c"
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        update(values)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "config.yaml")


def test_settings_of_today_are_left_alone():
    values = to_dict(TrainConfig())
    assert update(copy.deepcopy(values)) == values
    planner = to_dict(load(["agent=mpc", "agent.temperature=0.3"]))
    assert update(planner) == planner


@pytest.mark.parametrize(
    "word, sentence",
    [
        ("batch=4", "batch=4 is now replay.batch_size=4"),
        ("eye=runs/x", "eye=runs/x is now init_autoencoder_from=runs/x"),
        ("model_rate=1e-4", "model_rate=1e-4 is now lr.model=1e-4"),
        ("actor_rate=1e-4", "actor_rate=1e-4 is now lr.actor=1e-4"),
        ("agent.actor_rate=0.1", "agent.actor_rate=0.1 is now ema.actor=0.1"),
        ("agent.starts=8", "agent.starts=8 is now agent.imagination_batch=8"),
        ("agent.candidates=8", "agent.candidates=8 is now agent.plan.num_samples=8"),
        ("agent.imagination.horizon=8", "agent.imagination.horizon=8 is now agent.horizon=8"),
        ("agent.imagination.trace=1", "agent.imagination.trace=1 is now agent.return_lambda=1"),
        (
            "world_model.decoder=pyramid",
            "world_model.decoder=pyramid is now world_model.networks=p",
        ),
        ("world_model.core=center", "world_model.core=center is now world_model.autoencoder=aef-c"),
        ("world_model.core=x", "world_model.core=x is no longer a key (last supported at commit"),
        ("world_model.training=staged", "world_model.training=staged is now objective.staged=true"),
        (
            "agent.method=cem",
            "agent.method=cem is no longer a key (last supported at commit 0f2081",
        ),
        ("hardware.replay=disk", "hardware.replay=disk is no longer a key"),
        (
            "hardware.autocast=float32",
            "hardware.autocast=float32 is now hardware.precision=float32",
        ),
        ("env.crop=[0,1,0,0]", "env.crop is now part of env=: "),
    ],
)
def test_an_old_key_on_the_command_line_gets_its_new_name(word, sentence):
    with pytest.raises(ConfigError) as caught:
        load([word])
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_other_keys_are_not_explained():
    assert explain("frames", "3") is None and explain("nonsense", "3") is None
