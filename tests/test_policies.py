"""Who plays: the planner finds what pays, the floors are what they say, every agent resumes."""

import csv
import math
import shutil

import pytest
import torch
from point import Point, starts
from small_run import SMALL, book

from aef_worldmodel.dynamics import State
from aef_worldmodel.errors import UserError
from agents import config as settings
from agents import evaluate
from agents.evaluation import CONTEXT, Episodes, report_dream
from agents.imagination import ImaginationAgent, ImaginationConfig
from agents.planner import Planner, PlannerConfig
from agents.policy import ActorPolicy, choose, quiet
from agents.roster import make_policy
from agents.sb3 import PpoConfig, SacConfig
from agents.scripted import RandomPolicy, ScriptedConfig, ScriptedPolicy
from agents.trainer import Trainer

STEP = 0.5  # how far an action moves the point


def plan(worlds=6, **changes):
    """Actions of a planner without a critic for a point that is paid for being at 1."""
    torch.manual_seed(0)
    options = {"proposals": 0, "bootstrap": False, "rounds": 5} | changes
    planner = Planner(PlannerConfig(**options), Point(), None, explore=False)
    state = starts(worlds)
    return planner, state, planner.act(state, torch.ones(worlds, dtype=torch.bool))


@pytest.mark.parametrize("method", ["mppi", "cem"])
def test_a_plan_goes_where_it_pays(method):
    _, state, action = plan(method=method, horizon=1)
    best = ((1 - state.latent) / STEP).clamp(-1, 1)
    assert (action - best).abs().max() < 0.2


def test_a_score_is_the_discounted_sum_of_rewards_and_the_last_value():
    model, config = Point(), ImaginationConfig(discount=0.9, hidden_dim=8)
    agent = ImaginationAgent(config, 2, 1)
    torch.nn.init.normal_(agent.slow_critic.network[-1].weight)
    planner = Planner(PlannerConfig(horizon=3), model, agent, explore=False)
    start, actions = starts(5), torch.rand(3, 5, 1)
    sequence = iter(actions)
    states, _ = model.imagine(start, lambda _: (next(sequence),), 3, 0.0)
    rewards = [model.reward(State(states.recurrent[t], states.latent[t])) for t in (1, 2, 3)]
    expected = sum(0.9**t * r for t, r in enumerate(rewards))
    expected = expected + 0.9**3 * agent.slow_critic.mean(states.features[-1])
    torch.testing.assert_close(planner.score(start, actions), expected)


def test_worlds_are_planned_apart():
    """Each world's plan uses its own candidates' scores: rewards of one do not move another."""
    _, state, together = plan(worlds=4, candidates=300, horizon=2)
    for i in range(4):
        alone = Planner(
            PlannerConfig(proposals=0, bootstrap=False, rounds=5, candidates=300, horizon=2),
            Point(), None, explore=False,
        )  # fmt: skip
        own = State(*(part[i : i + 1] for part in state))
        action = alone.act(own, torch.ones(1, dtype=torch.bool))
        assert (action - together[i]).abs().max() < 0.2


def test_plans_start_from_the_last_one_and_forget_at_a_reset():
    planner, state, _ = plan(horizon=3)
    before = planner.plan.clone()
    seen = []
    planner._refit = lambda played, score: seen.append(played) or (before, before)
    planner.config = PlannerConfig(proposals=0, bootstrap=False, rounds=1, candidates=4000,
                                   horizon=3, elites=1)  # fmt: skip
    first = torch.tensor([True, *[False] * 5])
    planner.act(state, first)
    mean = seen[0].mean(2)  # (H, N, A) of the clamped draws
    assert mean[:, 0].abs().max() < 0.1  # forgotten
    assert mean[2].abs().max() < 0.1  # nothing is known of the new last decision
    assert (mean[0, 1:] * before[1, 1:] > 0).all() or before[1, 1:].abs().min() < 0.1
    assert torch.equal(planner.plan, before)


def test_the_actors_own_way_is_a_candidate():
    agent = ImaginationAgent(ImaginationConfig(hidden_dim=8), 2, 1)
    torch.nn.init.normal_(agent.slow_actor.network[-1].weight, std=3.0)
    planner = Planner(PlannerConfig(proposals=3, candidates=20, elites=2), Point(), agent, False)
    state = starts(4)
    proposed = planner._propose(state)
    assert proposed.shape == (6, 4, 3, 1)
    torch.testing.assert_close(proposed[0, :, 0], agent.slow_actor.mode(state.features))
    assert not torch.equal(proposed[0, :, 1], proposed[0, :, 0])


def test_impossible_plans_are_refused():
    with pytest.raises(settings.ConfigError, match=r"agent\.candidates=8 must be more"):
        PlannerConfig(candidates=8, proposals=8)
    with pytest.raises(settings.ConfigError, match=r"agent\.rounds=0 must be at least 1"):
        PlannerConfig(rounds=0)


# -- floors --------------------------------------------------------------------------------


def test_the_wave():
    policy = ScriptedPolicy(ScriptedConfig(amplitude=0.5, period=8, lag=0.25), 2)
    state, never = starts(3), torch.zeros(3, dtype=torch.bool)
    played = [policy.act(state, never) for _ in range(3)]
    last = policy.act(state, torch.tensor([True, False, False]))
    for t, action in enumerate(played):
        wave = [0.5 * math.sin(2 * math.pi * (t / 8 - 0.25 * i)) for i in range(2)]
        torch.testing.assert_close(action, torch.tensor(wave).expand(3, 2))
    torch.testing.assert_close(last[0], played[0][0])  # a new episode, a new wave
    assert (last[1] - played[0][1]).abs().max() > 0.1
    idle = ScriptedPolicy(ScriptedConfig(amplitude=0), 2)
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
    "scripted": ["agent.period=7"],
    "mpc": ["agent.candidates=6", "agent.proposals=2", "agent.elites=2", "agent.rounds=1",
            "agent.horizon=2", "agent.imagination.hidden_dim=16", "agent.imagination.starts=8",
            "agent.imagination.horizon=3"],
    "sac": ["agent.hidden_dim=16", "agent.batch=8", "agent.window=3"],
    "ppo": ["agent.hidden_dim=16", "agent.rollout=6", "agent.batch=8", "agent.epochs=2"],
    "cmaes": ["agent.population=4", "agent.every=2", "agent.horizon=3", "agent.starts=2"],
}  # fmt: skip
NEEDS = {"sac": "stable_baselines3", "ppo": "stable_baselines3", "cmaes": "cma"}


def make(run, name, *more):
    words = [*TINY, *SHORT, f"agent={name}", *AGENTS[name], *more]
    return Trainer(settings.load(words), run)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.learner.model.parameters()])


def deeds(trainer):
    """What the agent does in evaluations, in a state that never changes."""
    state, still = trainer.state, torch.zeros(2, dtype=torch.bool)
    sight = State(torch.ones_like(state.recurrent), torch.ones_like(state.latent))
    with torch.random.fork_rng():
        return make_policy(trainer.config.agent, trainer.learner, False).act(sight, still)


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_learns_and_resumes_exactly(tmp_path, name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    whole = make(tmp_path / "whole", name)
    before, idle = weights(whole).clone(), deeds(whole)
    log = book(whole)
    while whole.frames < 100:
        whole._iterate(log)
    whole.save(log)
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    whole.train(log)
    assert (weights(whole) != before).float().mean() > 0.5
    if name in NEEDS:
        assert (deeds(whole) - idle).abs().max() > 1e-4
    second = make(tmp_path / "copy", name)
    second.restore()
    assert second.frames == 100
    second.train(book(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(second.action, whole.action)
    assert name == "random" or torch.equal(deeds(second), deeds(whole))


def test_who_can_play_what(tmp_path):
    learner = make(tmp_path, "random").learner
    with pytest.raises(UserError, match=r"no actor and no critic.*agent\.proposals=0"):
        make_policy(PlannerConfig(), learner, explore=False)
    with pytest.raises(UserError, match="agent=imagination cannot play a run of agent=random"):
        make_policy(ImaginationConfig(), learner, explore=False)
    alone = PlannerConfig(candidates=4, elites=2, proposals=0, bootstrap=False, horizon=2)
    policy = make_policy(alone, learner, explore=False)
    action = policy.act(learner.model.initial(3), torch.ones(3, dtype=torch.bool))
    assert action.shape == (3, 1)


def test_a_trained_run_is_played_by_other_agents(tmp_path, capsys):
    trainer = make(tmp_path / "run", "random", "env.action_repeat=20", "frames=800",
                   "frames_per_update=200")
    trainer.train(book(trainer))
    settings.save(tmp_path / "run" / "config.yaml", trainer.config)
    words = [f"run={tmp_path / 'run'}", "episodes=2", "hardware=cpu", "hardware.threads=1",
             "agent=scripted", "agent.amplitude=0", f"table={tmp_path / 'table.csv'}"]  # fmt: skip
    assert evaluate.main(words) == 0
    assert evaluate.main([*words[:-2], "agent.amplitude=1", words[-1], "episodes=1"]) == 0
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["agent"] for row in rows] == ["scripted", "scripted"]
    assert rows[0]["settings"] != rows[1]["settings"] and float(rows[0]["return"]) >= 0
    assert (rows[1]["episodes"], float(rows[1]["std"])) == ("1", 0)  # not NaN
    assert (tmp_path / "run" / "evaluation-scripted" / "dream.mp4").stat().st_size


# -- choices -------------------------------------------------------------------------------

BUTTONS = ["env=gym:grey:Lights-v0", "env.action_repeat=1", "env.image_size=32", "frames=120",
           "prefill=40", "frames_per_update=10"]  # fmt: skip
PLAN = ["agent.candidates=8", "agent.proposals=4", "agent.elites=2", "agent.rounds=1",
        "agent.horizon=2"]  # fmt: skip


@pytest.mark.parametrize("name", ["imagination", "random", "scripted", "mpc", "ppo", "cmaes"])
def test_choices_are_one_among_zeros(tmp_path, name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    own = {"mpc": PLAN, "imagination": ["agent.horizon=3"]}.get(name) or AGENTS[name]
    words = [*TINY[1:], *SHORT, *BUTTONS, f"agent={name}", *own]
    trainer = Trainer(settings.load(words), tmp_path)
    trainer.train(book(trainer))
    rows = trainer.replay.sample(50, 3)
    action = rows["action"].flatten(0, 1)
    last = action.sum(1) == 0  # an episode's last row has none
    assert action.shape[1] == 3 and 0 < last.sum() < len(last)
    assert ((action == 0) | (action == 1)).all() and (action[~last].sum(1) == 1).all()
    assert (rows["reward"][:, 1:] == action.view(50, 3, 3)[:, :-1, 1])[~rows["first"][:, 1:]].all()
    again = Trainer(settings.load([*words, "frames=140"]), tmp_path)
    again.restore()
    assert again.first.all()  # other people's episodes begin anew
    again.train(book(again))
    assert again.frames >= 140


def test_who_cannot_choose_says_so(tmp_path):
    words = [*TINY[1:], *BUTTONS]
    pytest.importorskip("stable_baselines3")
    with pytest.raises(UserError, match="agent=sac cannot choose"):
        Trainer(settings.load([*words, "agent=sac"]), tmp_path / "b")
    with pytest.raises(UserError, match=r"env\.task=gym:Nothing-v9"):
        Trainer(settings.load([*TINY[1:], "env=gym:Nothing-v9"]), tmp_path / "c")


def test_indifference_favours_no_choice():
    torch.manual_seed(0)
    drawn = choose(torch.randn(18_000, 18), discrete=True)
    assert (drawn.mean(0) - 1 / 18).abs().max() < 5 * (1 / 18 / 18_000) ** 0.5
    assert choose(torch.tensor([[-3.0, 0.5]]), discrete=False).tolist() == [[-1, 0.5]]


def test_a_plan_of_another_length_begins_anew():
    policy, state, _ = plan(horizon=5)
    other, *_ = plan(horizon=3)
    other.load_state_dict(policy.state_dict())
    assert other.act(state, torch.zeros(6, dtype=torch.bool)).shape == (6, 1)
    assert other.plan.shape == (3, 6, 1)


@pytest.mark.parametrize(
    ("name", "word", "sentence"),
    [
        ("sac", "agent.window=2", None),
        ("sac", "agent.window=9", None),
        ("ppo", "agent.rollout=7", "made with a rollout of 6 decisions in 2 worlds, not 7 in 2"),
        ("cmaes", "agent.step=0.9", "made with agent.step="),
        ("cmaes", "agent.reads=h", "made with agent.reads="),
    ],
)
def test_a_resumed_agent_takes_other_settings_or_says_which_it_cannot(
    tmp_path, name, word, sentence
):
    pytest.importorskip(NEEDS[name])
    run = make(tmp_path, name)
    run.train(book(run))
    other = make(tmp_path, name, word, "frames=200")
    if sentence is None:
        other.restore()
        assert other.learner.agent.seen.count == run.learner.agent.seen.count
        other.train(book(other))
    else:
        with pytest.raises(UserError, match=sentence):
            other.restore()


@pytest.mark.parametrize("settings_of", [SacConfig, PpoConfig])
@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"hidden_dim": 0}, {"discount": 2.0}, {"rate": 0.0}]
)
def test_numbers_that_make_no_sense_are_refused(settings_of, wrong):
    with pytest.raises(settings.ConfigError, match=f"agent.{next(iter(wrong))}="):
        settings_of(**wrong)


def test_dreams_are_judged_within_an_episode(tmp_path):
    learner = make(tmp_path, "random").learner
    frames = torch.randint(0, 256, (3, 60, 3, 32, 32), dtype=torch.uint8)
    alive = torch.zeros(3, 60, dtype=torch.bool)
    played = Episodes(torch.zeros(3), frames, torch.zeros(3, 60, 1), torch.zeros(3, 60, 0), alive)
    alive[:, :CONTEXT] = True
    assert report_dream(learner, played) is None  # nothing was left to dream of
    alive[1, :12] = True
    alive[2, :30] = True
    report = report_dream(learner, played)
    assert len(report.film) == 30  # the longest
    assert report.scores.keys() == {"dream/psnr_now"} | {
        f"dream/{what}_{ahead}" for what in ("psnr", "copy") for ahead in (5, 15)
    }
    other = frames.clone()
    other[~alive] = 0  # what is played after the first episode counts for nothing
    again = report_dream(learner, played._replace(frames=other))
    assert again.scores == report.scores and torch.equal(again.film, report.film)


@pytest.mark.parametrize("count,share,still", [
    (8, 0.25, [3, 7]), (3, 0.25, []), (4, 0, []), (3, 1, [0, 1, 2]), (5, 0.5, [1, 3]),
])  # fmt: skip
def test_a_share_of_the_exploring_worlds_plays_without_noise(count, share, still):
    assert quiet(count, share, torch.device("cpu")).nonzero()[:, 0].tolist() == still
    agent = ImaginationAgent(ImaginationConfig(hidden_dim=8), 5, 2)
    torch.nn.init.constant_(agent.slow_actor.network[-1].bias, 0.2)  # another than the actor's
    state, first = State(torch.randn(count, 2), torch.randn(count, 3)), torch.zeros(count)
    torch.manual_seed(0)
    played = ActorPolicy(agent.actor, agent.slow_actor, True, share).act(state, first)
    torch.manual_seed(0)
    drawn = agent.actor.sample(state.features)[0]
    calm = ActorPolicy(agent.actor, agent.slow_actor, False).act(state, first)
    for world in range(count):
        expected = calm if world in still else drawn
        torch.testing.assert_close(played[world], expected[world])
        assert not torch.equal(calm[world], drawn[world])


def test_plans_of_quiet_worlds_are_followed_without_noise():
    options = PlannerConfig(proposals=0, bootstrap=False, candidates=20, elites=4)
    state, first = starts(4), torch.ones(4, dtype=torch.bool)
    exploring = Planner(options, Point(), None, explore=True)
    action = exploring.act(state, first)
    followed = (action == choose(exploring.plan[0], False)).all(1)
    assert followed.tolist() == [False, False, False, True]
