"""Learning in imagination: returns against a plain loop, the policy against quadrature."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point import Point, starts

from aef_worldmodel.dynamics import State, shorten
from agents.actor import Actor, Chooser
from agents.imagination import (
    ImaginationAgent,
    ImaginationConfig,
    discounts,
    lambda_returns,
    real_returns,
)
from agents.schema import ConfigError
from benchmarks.gradients import agreement

# -- returns -----------------------------------------------------------------------------


def n_step(reward, cont, value, discount, start, end):
    """Rewards from `start` to `end` discounted, then the value where they stop: a float."""
    total, weight = 0.0, 1.0
    for t in range(start, end):
        total += weight * reward[t]
        weight *= discount * cont[t]
    return total + weight * value[end]


@settings(deadline=None, max_examples=40)
@given(
    horizon=st.integers(1, 7), discount=st.floats(0, 1), trace=st.floats(0, 1),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_lambda_returns_are_the_weighted_sum_of_n_step_returns(horizon, discount, trace, seed):
    generator = torch.Generator().manual_seed(seed)
    reward, cont, value = (
        torch.rand(length, generator=generator, dtype=torch.float64)
        for length in (horizon, horizon, horizon + 1)
    )
    found = lambda_returns(reward[:, None], cont[:, None], value[:, None], discount, trace)
    for t in range(horizon):
        steps = [n_step(reward, cont, value, discount, t, end) for end in range(t + 1, horizon + 1)]
        weights = [(1 - trace) * trace**n for n in range(len(steps) - 1)]
        weights.append(trace ** (len(steps) - 1))
        expected = sum(w * s for w, s in zip(weights, steps))
        assert found[t, 0].item() == pytest.approx(expected.item(), abs=1e-9)


def test_lambda_returns_in_cases_known_by_heart():
    reward, cont = torch.ones(5, 1), torch.ones(5, 1)
    value = torch.arange(6.0)[:, None]
    ones = lambda_returns(reward, cont, value, 1.0, 1.0)  # sum of rewards, then the last value
    assert ones[:, 0].tolist() == [10, 9, 8, 7, 6]
    one_step = lambda_returns(reward, cont, value, 0.5, 0.0)
    torch.testing.assert_close(one_step, 1 + 0.5 * value[1:])
    ended = lambda_returns(reward, torch.tensor([[1.0], [0], [1], [1], [1]]), value, 1.0, 1.0)
    assert ended[:2, 0].tolist() == [2, 1]  # nothing counts after the end
    assert torch.equal(ended[2:], ones[2:])


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 4), count=st.integers(1, 9), discount=st.floats(0, 1),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_real_returns_are_sums_of_what_came(length, count, discount, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = length - 1 + count
    drawn = torch.rand(4, 5, rows, generator=generator)
    reward, first, terminal, there = drawn[0], drawn[1] < 0.2, drawn[2] < 0.1, drawn[3] < 0.95
    after = {"reward": reward, "first": first, "terminal": terminal, "there": there}
    came, beyond, alive = real_returns(after, length, discount)
    for b in range(5):
        for t in range(length):
            total, weight, ended, steps = 0.0, 1.0, False, 0
            for k in range(t, t + count):
                if first[b, k] or not there[b, k]:
                    break
                total += weight * reward[b, k].item()
                weight, steps = weight * discount, steps + 1
                ended |= bool(terminal[b, k])
            assert came[b, t].item() == pytest.approx(total, abs=1e-5)
            assert beyond[b, t].item() == pytest.approx(0 if ended else weight, abs=1e-6)
            assert alive[b, t] == (steps > 0)


def settle(agent, states, rows, updates):
    """Lets the critic learn from replayed rows alone."""
    optimiser = torch.optim.Adam(agent.critic.parameters(), 0.02)
    for _ in range(updates):
        optimiser.zero_grad()
        agent.replay_loss(states, rows).backward()
        optimiser.step()
        agent.follow()


@pytest.mark.parametrize("terminal,worth", [(False, 10.0), (True, 4.0951)])
def test_the_critic_learns_what_came(terminal, worth):
    """A reward of 1 at every decision: for ever where episodes are cut short, five times where
    they end."""
    torch.manual_seed(0)
    agent = ImaginationAgent(ImaginationConfig(discount=0.9, slow_rate=0.1, hidden_dim=16), 3, 1)
    states = State(torch.ones(8, 1, 1), torch.ones(8, 1, 2))
    after = {name: torch.zeros(8, 9, dtype=torch.bool) for name in ("first", "terminal")}
    after |= {"reward": torch.ones(8, 9), "there": torch.ones(8, 9, dtype=torch.bool)}
    after["first"][:, 5:], after["terminal"][:, 4] = True, terminal
    rows = {f"{name}_after": value for name, value in after.items()}
    settle(agent, states, rows, updates=400)
    value = agent.critic.mean(states.features[0, 0]).item()
    assert value == pytest.approx(worth, rel=0.05)


def test_without_a_horizon_the_critic_learns_from_the_rows_of_a_sequence():
    config = ImaginationConfig(discount=0.9, slow_rate=0.1, hidden_dim=16, replay_horizon=None)
    torch.manual_seed(0)
    agent = ImaginationAgent(config, 3, 1)
    states = State(torch.zeros(1, 4, 1), torch.eye(4)[None, :, :2])  # (B, T, .): rows 2, 3 alike
    rows = {
        "reward": torch.tensor([[5.0, 1.0, 2.0, 4.0]]),
        "first": torch.tensor([[False, False, False, True]]),
        "terminal": torch.tensor([[False, False, True, False]]),
    }
    settle(agent, states, rows, updates=300)
    value = agent.critic.mean(states.features[0])
    assert value[:2].tolist() == pytest.approx([1 + 0.9 * 2, 2], rel=0.05)


def test_discounts_are_what_is_left_of_a_reward():
    cont = torch.tensor([[1.0], [0.5], [0.0], [1.0]])
    torch.testing.assert_close(discounts(cont, 0.9)[:, 0], torch.tensor([1, 0.9, 0.405, 0.0]))


# -- policy ------------------------------------------------------------------------------


def actor(mean, raw_std):
    """A policy of one action whose network returns what it is given."""
    policy = Actor(1, 1, 4, std_floor=0.15)
    policy.network = torch.nn.Identity()
    return policy, torch.tensor([mean, raw_std])


@pytest.mark.parametrize(("mean", "raw"), [(0.0, 0.0), (1.5, -2.0), (-6.0, 3.0)])
@torch.no_grad()
def test_entropy_is_that_of_the_tanh_gaussian(mean, raw):
    policy, features = actor(mean, raw)
    centre, std = (x.item() for x in policy(features))
    assert abs(centre) <= 3 and 0.15 <= std <= 1.15
    u = torch.linspace(centre - 9 * std, centre + 9 * std, 20001, dtype=torch.float64)
    density = (-0.5 * ((u - centre) / std) ** 2).exp() / (std * math.sqrt(2 * math.pi))
    log_action = density.log() - (1 - torch.tanh(u) ** 2).clamp(min=1e-300).log()
    exact = -(density * log_action).sum().item() * (u[1] - u[0]).item()
    drawn = policy.sample(features.expand(100_000, 2)).entropy()
    assert abs(drawn.mean().item() - exact) < 5 * drawn.std().item() / 100_000**0.5
    assert drawn.isfinite().all()


@torch.no_grad()
def test_actions_are_tanh_of_a_gaussian():
    policy, features = actor(0.7, -1.0)
    mean, std = policy(features)
    drawn = policy.sample(features.expand(100_000, 2))
    raw = torch.atanh(drawn.action.double().clamp(-1 + 1e-7, 1 - 1e-7))
    assert abs(raw.mean() - mean) < 5 * std / 100_000**0.5
    assert abs(raw.std() - std) < 5 * std / 200_000**0.5
    torch.testing.assert_close(policy.mode(features), torch.tanh(mean))
    assert drawn.action.abs().max() <= 1


@torch.no_grad()
def test_choices_are_drawn_as_often_as_they_are_likely():
    torch.manual_seed(0)
    policy = Chooser(1, 3, 4)
    policy.network = torch.nn.Identity()
    logits = torch.tensor([0.0, 2.0, -9.0])
    expected = 0.99 * logits.softmax(-1) + 0.01 / 3  # one hundredth uniform
    torch.testing.assert_close(policy(logits).exp(), expected)
    drawn = policy.sample(logits.expand(100_000, 3))
    assert ((drawn.action == 0) | (drawn.action == 1)).all() and (drawn.action.sum(-1) == 1).all()
    torch.testing.assert_close(drawn.action.mean(0), expected, rtol=0, atol=0.005)
    exact = -(expected * expected.log()).sum()
    torch.testing.assert_close(drawn.entropy()[0], exact)
    assert -drawn.log_prob().mean().item() == pytest.approx(exact.item(), abs=0.01)
    assert policy.mode(logits).tolist() == [0, 1, 0]


def test_a_choice_has_the_gradient_of_its_probabilities():
    policy = Chooser(1, 3, 4)
    policy.network = torch.nn.Identity()
    logits = torch.tensor([0.3, -0.2, 1.0], requires_grad=True)
    worth = torch.tensor([1.0, 5.0, -2.0])
    found = torch.autograd.grad((policy.sample(logits).action * worth).sum(), logits)[0]
    expected = torch.autograd.grad((policy(logits).exp() * worth).sum(), logits)[0]
    torch.testing.assert_close(found, expected)
    assert found.norm() > 0.1


# -- learning ----------------------------------------------------------------------------


@torch.no_grad()
def mean_reward(model, policy):
    """Mean reward of ten decisions of a policy."""
    torch.manual_seed(5)
    dreamt, _ = model.imagine(starts(200), lambda features: (policy(features),), 10)
    return model.reward(State(dreamt.recurrent[1:], dreamt.latent[1:])).mean().item()


@pytest.mark.parametrize(("gradient", "updates"), [("dynamics", 60), ("reinforce", 200)])
def test_the_actor_learns_to_move_where_it_pays(gradient, updates):
    torch.manual_seed(0)
    model = Point()
    config = ImaginationConfig(horizon=5, hidden_dim=32, entropy=1e-3, gradient=gradient)
    agent = ImaginationAgent(config, 2, 1)
    optimisers = [
        torch.optim.Adam(part.parameters(), 5e-3) for part in (agent.actor, agent.critic)
    ]
    before = mean_reward(model, agent.actor.mode)
    best = mean_reward(model, lambda features: (2 * (1 - features[:, :1])).clamp(-1, 1))
    for _ in range(updates):
        loss, _, needed = agent.actor_loss(model, starts(64))
        optimisers[0].zero_grad()
        loss.backward()
        optimisers[0].step()
        optimisers[1].zero_grad()
        agent.critic_loss(*needed).backward()
        optimisers[1].step()
        agent.follow()
    after = mean_reward(model, agent.actor.mode)
    assert before < 8 * best and 1.5 * best < after < 0  # from far off to near the best there is
    left, right = torch.tensor([[-1.0, -1.0], [2.0, 2.0]])
    assert agent.actor.mode(left).item() > 0.5 and agent.actor.mode(right).item() < -0.5


class Switch(Point):
    """A point that is moved left, not at all or right."""

    def __init__(self):
        super().__init__()
        self.action_dim = 3

    def step(self, state, action):
        return state.latent + 0.5 * (action[..., 2:] - action[..., :1])


@pytest.mark.parametrize(("gradient", "updates"), [("dynamics", 80), ("reinforce", 200)])
def test_the_actor_learns_to_choose(gradient, updates):
    torch.manual_seed(0)
    model = Switch()
    config = ImaginationConfig(horizon=5, hidden_dim=32, entropy=1e-3, gradient=gradient)
    agent = ImaginationAgent(config, 2, 3, discrete=True)
    optimisers = [
        torch.optim.Adam(part.parameters(), 5e-3) for part in (agent.actor, agent.critic)
    ]
    for _ in range(updates):
        loss, _, needed = agent.actor_loss(model, starts(64))
        for optimiser, part in zip(optimisers, (loss, agent.critic_loss(*needed))):
            optimiser.zero_grad()
            part.backward()
            optimiser.step()
        agent.follow()
    left, there, right = agent.actor.mode(torch.tensor([[-1.0], [1.0], [3.0]]).expand(3, 2))
    assert left.argmax() == 2 and right.argmax() == 0
    if gradient == "reinforce":  # straight through, both ways away from a best place weigh alike
        assert there.argmax() == 1


def test_a_small_range_of_returns_is_not_blown_up():
    losses = []
    for spread in (0.01, 0.9, 100.0):
        torch.manual_seed(0)
        agent = ImaginationAgent(ImaginationConfig(horizon=1, entropy=0.0, hidden_dim=8), 2, 1)
        agent.spread.fill_(spread)
        losses.append(agent.actor_loss(Point(), starts(64))[0].item())
    assert losses[0] == losses[1] and abs(losses[2]) < 0.1 * abs(losses[0])


def test_both_gradients_are_the_same_in_the_mean():
    torch.manual_seed(0)
    model, found = Point(), {}
    agent = ImaginationAgent(ImaginationConfig(hidden_dim=8), 2, 1)
    agent.actor.network[-1].weight.data.normal_()
    for gradient in ("dynamics", "reinforce"):  # over one decision, which both count once
        agent.config = ImaginationConfig(horizon=1, entropy=0.0, gradient=gradient, temperature=0,
                                         gradient_limit=None)  # fmt: skip
        agent.spread.fill_(2.0)
        loss = agent.actor_loss(model, starts(200_000))[0]
        weights = list(agent.actor.network[-1].parameters())
        found[gradient] = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
    assert found["dynamics"].norm() > 0.1
    torch.testing.assert_close(*found.values(), rtol=0, atol=0.02)


class Unstable(Point):
    """What is above 0 is thrown four times as far with every decision, what is below by a fifth."""

    def step(self, state, action):
        return state.latent * torch.where(state.latent > 0, 4.0, 1.2) + 0.5 * action

    def reward(self, state):
        return state.latent[..., 0]


def actor_gradient(agent, model, start, limit):
    agent.config = ImaginationConfig(horizon=6, entropy=0.0, temperature=0, gradient_limit=limit)
    agent.spread.fill_(1e9)
    generator = torch.Generator().manual_seed(3)
    loss = 1e9 * agent.actor_loss(model, start, generator)[0]
    parts = torch.autograd.grad(loss, list(agent.actor.network[-1].parameters()))
    return torch.cat([part.flatten() for part in parts])


def test_a_limit_changes_nothing_where_worlds_are_alike_and_holds_a_wild_one():
    torch.manual_seed(0)
    agent = ImaginationAgent(ImaginationConfig(hidden_dim=8), 2, 1)
    calm = torch.full((9, 1), -30.0)
    alike = [actor_gradient(agent, Unstable(), State(calm, calm), limit) for limit in (None, 1.0)]
    torch.testing.assert_close(*alike, rtol=1e-4, atol=0)
    wild = torch.cat([calm[1:], -calm[:1]])
    free, held = (actor_gradient(agent, Unstable(), State(wild, wild), x) for x in (None, 1.0))
    assert free.norm() > 5 * alike[0].norm()
    assert (held - alike[0]).norm() < 0.5 * alike[0].norm()


def test_gradients_are_shortened_to_the_median_and_keep_their_direction():
    gradient = torch.tensor([[3.0, 4.0], [0.6, 0.8], [30.0, 40.0], [0.0, 0.0], [6.0, 8.0]])
    expected = torch.tensor([[3.0, 4.0], [0.6, 0.8], [3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(shorten(gradient, 1.0), expected)
    torch.testing.assert_close(shorten(gradient, 2.0)[[2, 4]], gradient[[4, 4]])
    assert torch.equal(shorten(torch.zeros(3, 2), 1.0), torch.zeros(3, 2))
    few = torch.cat([torch.zeros(9, 2), gradient[:1]])  # most dreams have ended
    assert torch.equal(shorten(few, 1.0), few)


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [
        ("horizon", 0, "at least 1"),
        ("starts", 0, "at least 1"),
        ("discount", 1.5, "within 0 and 1"),
        ("entropy", -0.1, "at least 0"),
        ("gradient_limit", -1.0, "above 0"),
        ("replay_horizon", 0, "at least 1; null is none"),
        ("quiet_worlds", 2.0, "within 0 and 1"),
    ],
)
def test_settings_that_nothing_can_be_learnt_with_are_refused(key, value, must):
    with pytest.raises(ConfigError, match=f"{key}={value} of the imagination agent must be {must}"):
        ImaginationConfig(**{key: value})


def test_agreement_of_gradients():
    same, other = torch.tensor([[1.0, 0], [5, 0]]), torch.tensor([[1.0, 0], [0, 2], [-3, 0]])
    assert agreement(same) == pytest.approx(1) and agreement(other) == pytest.approx(-1 / 3)


def test_the_actors_gradient_leaves_the_model_and_the_critic_alone():
    model, agent = Point(), ImaginationAgent(ImaginationConfig(horizon=3, hidden_dim=8), 2, 1)
    loss, _, needed = agent.actor_loss(model, starts(16))
    critic = agent.critic_loss(*needed)
    gradients = torch.autograd.grad(critic, list(agent.critic.parameters()), retain_graph=True)
    assert any(g.abs().max() > 0 for g in gradients)
    actor = torch.autograd.grad(critic, list(agent.actor.parameters()), allow_unused=True)
    assert all(g is None for g in actor)
    loss.backward()
    assert all(p.grad is None for p in agent.critic.parameters())
    assert all(p.grad is None for p in agent.slow_critic.parameters())
