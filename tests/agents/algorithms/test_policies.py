"""Every agent in a run that resumes exactly, and who can play what."""

import csv
import dataclasses
import math
import shutil

import pytest
import torch
from point import spec, starts
from small_run import SMALL, logger

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State
from agents import evaluate
from agents.algorithms.fixed import PERIOD, RandomPolicy, ScriptedPolicy
from agents.algorithms.imagination.agent import ActorPolicy, ImaginationAgent, greedy_envs
from agents.algorithms.imagination.config import ImaginationConfig
from agents.algorithms.mpc import MpcConfig, PlanConfig
from agents.algorithms.sb3.ppo import PpoConfig
from agents.algorithms.sb3.sac import SacConfig
from agents.base import as_action
from agents.config import train as settings
from agents.learning.build import playing_agent
from agents.training.trainer import Trainer


def test_the_wave():
    policy = ScriptedPolicy(0.5, 2)
    state, never = starts(3), torch.zeros(3, dtype=torch.bool)
    played = [policy.act(state, never) for _ in range(3)]
    last = policy.act(state, torch.tensor([True, False, False]))
    for t, action in enumerate(played):
        wave = [0.5 * math.sin(2 * math.pi * (t / PERIOD - 0.25 * i)) for i in range(2)]
        torch.testing.assert_close(action, torch.tensor(wave).expand(3, 2))
    torch.testing.assert_close(last[0], played[0][0])  # a new episode, a new wave
    assert (last[1] - played[0][1]).abs().max() > 0.1
    idle = ScriptedPolicy(0.0, 2)
    assert not idle.act(state, never).any()


def test_random_actions_fill_the_box():
    torch.manual_seed(0)
    action = RandomPolicy(2).act(starts(4000), torch.zeros(4000, dtype=torch.bool))
    assert action.shape == (4000, 2) and action.abs().max() <= 1
    assert abs(action.mean()) < 0.03 and abs(action.var() - 1 / 3) < 0.02


# -- runs ----------------------------------------------------------------------------------

TINY = [word for word in SMALL if not word.startswith("agent.")]
SHORT = [
    "frames=160",
    "checkpoint_every=1000",
    "prefill=80",
    "frames_per_update=20",
    "env.image_size=32",
]
AGENTS = {
    "random": [],
    "scripted": [],
    "mpc": [
        "agent.plan.num_samples=6",
        "agent.plan.num_policy_trajectories=2",
        "agent.plan.num_elites=2",
        "agent.plan.iterations=1",
        "agent.plan.horizon=2",
        "agent.hidden_dim=16",
        "agent.imagination_batch=8",
        "agent.horizon=3",
    ],
    "sac": ["agent.hidden_dim=16"],
    "ppo": ["agent.hidden_dim=16", "agent.rollout=6"],
    "cmaes": [
        "agent.population=4",
        "agent.every=2",
        "agent.horizon=3",
        "agent.imagination_batch=2",
    ],
}
NEEDS = {"sac": "stable_baselines3", "ppo": "stable_baselines3", "cmaes": "cma"}


def make(run, name, *more):
    words = [*TINY, *SHORT, f"agent={name}", *AGENTS[name], *more]
    return Trainer(settings.load(words), run)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.learner.model.parameters()])


def deeds(trainer):
    """Return what the agent does in evaluations, in a state that never changes."""
    state = trainer.loop.state.map(torch.ones_like)
    learner, still = trainer.learner, torch.zeros(2, dtype=torch.bool)
    with torch.random.fork_rng():
        return learner.agent.policy(False, learner.model).act(state, still)


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_learns_and_resumes_exactly(tmp_path, name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    whole = make(tmp_path / "whole", name)
    before, idle = weights(whole).clone(), deeds(whole)
    log = logger(whole)
    while whole.frames < 100:
        whole.iterate(log)
    whole.save(log)
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    whole.train(log)
    assert (weights(whole) != before).float().mean() > 0.5
    if name in NEEDS:
        assert (deeds(whole) - idle).abs().max() > 1e-4
    second = make(tmp_path / "copy", name)
    second.restore()
    assert second.frames == 100
    second.train(logger(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(second.loop.action, whole.loop.action)
    assert name == "random" or torch.equal(deeds(second), deeds(whole))


def test_who_can_play_what(tmp_path):
    learner = make(tmp_path, "random").learner
    with pytest.raises(UserError, match=r"no actor and no critic.*num_policy_trajectories=0"):
        playing_agent(MpcConfig(), learner)
    with pytest.raises(UserError, match="agent=imagination cannot play a run of agent=random"):
        playing_agent(ImaginationConfig(), learner)
    plan = PlanConfig(
        num_samples=4, num_elites=2, horizon=2, num_policy_trajectories=0, use_value=False
    )
    alone = MpcConfig(plan=plan)
    policy = playing_agent(alone, learner).policy(False, learner.model)
    action = policy.act(learner.model.initial(3), torch.ones(3, dtype=torch.bool))
    assert action.shape == (3, 1)


def test_a_trained_run_is_played_by_other_agents(tmp_path, capsys):
    trainer = make(
        tmp_path / "run", "random", "env.action_repeat=20", "frames=800", "frames_per_update=200"
    )
    trainer.train(logger(trainer))
    settings.save(tmp_path / "run" / "config.yaml", trainer.config)
    words = [
        f"run={tmp_path / 'run'}",
        "episodes=2",
        "hardware=cpu",
        "hardware.threads=1",
        "agent=scripted",
        "agent.amplitude=0",
        f"table={tmp_path / 'table.csv'}",
    ]
    assert evaluate.main(words) == 0
    assert evaluate.main([*words[:-2], "agent.amplitude=1", words[-1], "episodes=1"]) == 0
    with open(tmp_path / "table.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["agent"] for row in rows] == ["scripted", "scripted"]
    assert rows[0]["settings"] != rows[1]["settings"] and float(rows[0]["return"]) >= 0
    assert (rows[1]["episodes"], float(rows[1]["std"])) == ("1", 0)  # not NaN
    assert (tmp_path / "run" / "evaluation-scripted" / "dream.mp4").stat().st_size


# -- choices -------------------------------------------------------------------------------

BUTTONS = [
    "env=gym:grey:Lights-v0",
    "env.action_repeat=1",
    "env.image_size=32",
    "frames=120",
    "prefill=40",
    "frames_per_update=10",
]
PLAN = [
    "agent.plan.num_samples=8",
    "agent.plan.num_policy_trajectories=4",
    "agent.plan.num_elites=2",
    "agent.plan.iterations=1",
    "agent.plan.horizon=2",
]


@pytest.mark.parametrize("name", ["imagination", "random", "scripted", "mpc", "ppo", "cmaes"])
def test_choices_are_one_among_zeros(tmp_path, name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    own = {"mpc": PLAN, "imagination": ["agent.horizon=3"]}.get(name) or AGENTS[name]
    words = [*TINY[1:], *SHORT, *BUTTONS, f"agent={name}", *own]
    trainer = Trainer(settings.load(words), tmp_path)
    trainer.train(logger(trainer))
    rows = trainer.replay.sample(50, 3)
    action = rows["action"].flatten(0, 1)
    last = action.sum(1) == 0  # an episode's last row has none
    assert action.shape[1] == 3 and 0 < last.sum() < len(last)
    assert ((action == 0) | (action == 1)).all() and (action[~last].sum(1) == 1).all()
    assert (rows["reward"][:, 1:] == action.view(50, 3, 3)[:, :-1, 1])[~rows["first"][:, 1:]].all()
    again = Trainer(settings.load([*words, "frames=140"]), tmp_path)
    again.restore()
    assert again.loop.first.all()  # third-party environments begin new episodes
    again.train(logger(again))
    assert again.frames >= 140


def test_who_cannot_choose_says_so(tmp_path):
    words = [*TINY[1:], *BUTTONS]
    pytest.importorskip("stable_baselines3")
    with pytest.raises(UserError, match="agent=sac cannot choose"):
        Trainer(settings.load([*words, "agent=sac"]), tmp_path / "b")
    with pytest.raises(UserError, match=r"env=gym:Nothing-v9"):
        Trainer(settings.load([*TINY[1:], "env=gym:Nothing-v9"]), tmp_path / "c")


def test_indifference_favours_no_choice():
    torch.manual_seed(0)
    drawn = as_action(torch.randn(18_000, 18), discrete=True)
    assert (drawn.mean(0) - 1 / 18).abs().max() < 5 * (1 / 18 / 18_000) ** 0.5
    assert as_action(torch.tensor([[-3.0, 0.5]]), discrete=False).tolist() == [[-1, 0.5]]


@pytest.mark.parametrize(
    ("name", "word", "sentence"),
    [
        ("sac", "agent.gradient_steps=2", None),
        ("ppo", "agent.rollout=7", "rollout of 6 decisions in 2 environments, not 7 in 2"),
        ("cmaes", "agent.population=5", "made with agent.population=4, not 5"),
    ],
)
def test_a_resumed_agent_takes_other_settings_or_says_which_it_cannot(
    tmp_path, name, word, sentence
):
    pytest.importorskip(NEEDS[name])
    run = make(tmp_path, name)
    run.train(logger(run))
    other = make(tmp_path, name, word, "frames=200")
    if sentence is None:
        other.restore()
        assert other.learner.agent.buffer.count == run.learner.agent.buffer.count
        other.train(logger(other))
    else:
        with pytest.raises(UserError, match=sentence):
            other.restore()


@pytest.mark.parametrize("config", [SacConfig, PpoConfig])
@pytest.mark.parametrize("wrong", [{"hidden_dim": 0}, {"discount": 2.0}, {"entropy": -1.0}])
def test_numbers_that_make_no_sense_are_refused(config, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        config(**wrong)


@pytest.mark.parametrize(
    "count,share,still",
    [
        (8, 0.25, [3, 7]),
        (3, 0.25, []),
        (4, 0, []),
        (3, 1, [0, 1, 2]),
        (5, 0.5, [1, 3]),
    ],
)
def test_a_share_of_the_exploring_environments_plays_without_noise(count, share, still):
    assert greedy_envs(count, share, torch.device("cpu")).nonzero()[:, 0].tolist() == still
    made_for = dataclasses.replace(spec(2), state_dims=(2, 3))
    agent = ImaginationAgent(ImaginationConfig(hidden_dim=8), made_for).networks
    torch.nn.init.constant_(agent.ema_actor.network[-1].bias, 0.2)  # another than the actor's
    state, first = State(torch.randn(count, 2), torch.randn(count, 3)), torch.zeros(count)
    torch.manual_seed(0)
    played = ActorPolicy(agent, True, share).act(state, first)
    torch.manual_seed(0)
    drawn = agent.actor.sample(state.features)[0]
    calm = ActorPolicy(agent, False).act(state, first)
    for world in range(count):
        expected = calm if world in still else drawn
        torch.testing.assert_close(played[world], expected[world])
        assert not torch.equal(calm[world], drawn[world])
