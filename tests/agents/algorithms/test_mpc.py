"""The planner, on a point that is paid for being at 1."""

import pytest
import torch
from point import Point, spec, starts

from aef_worldmodel.world_models.base import State
from agents.algorithms.imagination.agent import ImaginationAgent
from agents.algorithms.imagination.config import ImaginationConfig
from agents.algorithms.mpc import MpcConfig, PlanConfig, Planner
from agents.base import as_action

STEP = 0.5  # how far an action moves the point


def planning(**changes):
    """Return the settings of a planner without actor and critic."""
    options = {"num_policy_trajectories": 0, "use_value": False, "iterations": 5} | changes
    return MpcConfig(plan=PlanConfig(**options))


def networks(**changes):
    """Return the actor-critic of a point."""
    return ImaginationAgent(ImaginationConfig(hidden_dim=8, **changes), spec()).networks


def plan(count=6, **changes):
    """Return the actions of such a planner for a point that is paid for being at 1."""
    torch.manual_seed(0)
    planner = Planner(planning(**changes), Point(), None, explore=False)
    state = starts(count)
    return planner, state, planner.act(state, torch.ones(count, dtype=torch.bool))


def test_a_plan_goes_where_it_pays():
    _, state, action = plan(horizon=1)
    best = ((1 - state.latent) / STEP).clamp(-1, 1)
    assert (action - best).abs().max() < 0.2


def test_a_score_is_the_discounted_sum_of_rewards_and_the_last_value():
    model, agent = Point(), networks(discount=0.9)
    torch.nn.init.normal_(agent.target_critic.network[-1].weight)
    config = MpcConfig(plan=PlanConfig(horizon=3))
    planner = Planner(config, model, agent, explore=False)
    start, actions = starts(5), torch.rand(3, 5, 1)
    sequence = iter(actions)
    states, _ = model.imagine(start, lambda _: (next(sequence),), 3, 0.0)
    rewards = [model.reward(State(states.recurrent[t], states.latent[t])) for t in (1, 2, 3)]
    expected = sum(0.9**t * r for t, r in enumerate(rewards))
    expected = expected + 0.9**3 * agent.target_critic.mean(states.features[-1])
    torch.testing.assert_close(planner.score(start, actions), expected)


def test_environments_are_planned_independently():
    """Each plan uses its own candidates' scores: rewards of one do not move another."""
    _, state, together = plan(4, num_samples=300, horizon=2)
    for i in range(4):
        alone = Planner(planning(num_samples=300, horizon=2), Point(), None, explore=False)
        own = State(*(part[i : i + 1] for part in state))
        action = alone.act(own, torch.ones(1, dtype=torch.bool))
        assert (action - together[i]).abs().max() < 0.2


def test_plans_start_from_the_last_one_and_forget_at_a_reset():
    planner, state, _ = plan(horizon=3)
    before = planner.plan.clone()
    seen = []
    planner._refit = lambda played, score: seen.append(played) or (before, before)
    planner.config = planning(iterations=1, num_samples=4000, horizon=3, num_elites=1)
    first = torch.tensor([True, *[False] * 5])
    planner.act(state, first)
    mean = seen[0].mean(2)  # (L, N, A) of the clamped draws
    assert mean[:, 0].abs().max() < 0.1  # forgotten
    assert mean[2].abs().max() < 0.1  # nothing is known of the new last decision
    assert (mean[0, 1:] * before[1, 1:] > 0).all() or before[1, 1:].abs().min() < 0.1
    assert torch.equal(planner.plan, before)


def test_the_actors_own_way_is_a_candidate():
    agent = networks()
    torch.nn.init.normal_(agent.ema_actor.network[-1].weight, std=3.0)
    config = MpcConfig(plan=PlanConfig(num_policy_trajectories=3, num_samples=20, num_elites=2))
    planner = Planner(config, Point(), agent, False)
    state = starts(4)
    proposed = planner._propose(state)
    assert proposed.shape == (6, 4, 3, 1)
    torch.testing.assert_close(proposed[0, :, 0], agent.ema_actor.mode(state.features))
    assert not torch.equal(proposed[0, :, 1], proposed[0, :, 0])


def test_impossible_plans_are_refused():
    with pytest.raises(ValueError, match=r"num_policy_trajectories=8 must be .* num_samples=8"):
        PlanConfig(num_samples=8, num_policy_trajectories=8)
    with pytest.raises(ValueError, match=r"iterations=0 must be at least 1"):
        PlanConfig(iterations=0)
    with pytest.raises(ValueError, match=r"num_elites=9 must be at most num_samples=8"):
        PlanConfig(num_samples=8, num_policy_trajectories=1, num_elites=9)


def test_a_plan_of_another_length_is_dropped():
    policy, state, _ = plan(horizon=5)
    other, *_ = plan(horizon=3)
    other.load_state_dict(policy.state_dict())
    assert other.act(state, torch.zeros(6, dtype=torch.bool)).shape == (6, 1)
    assert other.plan.shape == (3, 6, 1)


def test_plans_of_greedy_environments_are_followed_without_noise():
    options = planning(num_samples=20, num_elites=4)
    there, first = torch.ones(4, 1), torch.ones(4, dtype=torch.bool)
    state = State(there, there)  # the best action is in the middle: noise is not clipped away
    exploring = Planner(options, Point(), None, explore=True)
    action = exploring.act(state, first)
    followed = (action == as_action(exploring.plan[0], False)).all(1)
    assert followed.tolist() == [False, False, False, True]
