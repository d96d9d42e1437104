"""Learning in imagination: returns against a plain loop, the policy against quadrature."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point import Point, spec, starts

from aef_worldmodel.data.batch import Batch, FutureRows
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, clip_to_median_norm
from agents.algorithms.imagination.actor_critic import ActorCritic
from agents.algorithms.imagination.actors import CategoricalActor, GaussianActor
from agents.algorithms.imagination.agent import ImaginationAgent
from agents.algorithms.imagination.config import ImaginationConfig
from agents.algorithms.imagination.returns import discounts, lambda_returns, observed_returns


def networks(action_dim=1, discrete=False, feature_dim=2, hidden=8, **changes):
    """Return an actor-critic of the point."""
    config = ImaginationConfig(**changes)
    return ActorCritic(config, feature_dim, action_dim, hidden, discrete)


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
    horizon=st.integers(1, 7),
    discount=st.floats(0, 1),
    trace=st.floats(0, 1),
    seed=st.integers(0, 999),
)
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
    length=st.integers(1, 4),
    count=st.integers(1, 9),
    discount=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_observed_returns_are_discounted_sums(length, count, discount, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = length - 1 + count
    drawn = torch.rand(4, 5, rows, generator=generator)
    reward, first, terminal, valid = drawn[0], drawn[1] < 0.2, drawn[2] < 0.1, drawn[3] < 0.95
    future = FutureRows(reward, terminal, first, valid)
    observed, beyond, alive = observed_returns(future, length, discount)
    for b in range(5):
        for t in range(length):
            total, weight, ended, steps = 0.0, 1.0, False, 0
            for k in range(t, t + count):
                if first[b, k] or not valid[b, k]:
                    break
                total += weight * reward[b, k].item()
                weight, steps = weight * discount, steps + 1
                ended |= bool(terminal[b, k])
            assert observed[b, t].item() == pytest.approx(total, abs=1e-5)
            assert beyond[b, t].item() == pytest.approx(0 if ended else weight, abs=1e-6)
            assert alive[b, t] == (steps > 0)


@pytest.mark.parametrize(("terminal", "worth"), [(False, 10.0), (True, 4.0951)])
def test_the_critic_learns_from_observed_rewards(terminal, worth):
    """A reward of 1 at every decision: for ever where episodes are cut short, five times where
    they terminate."""
    torch.manual_seed(0)
    agent = networks(feature_dim=3, hidden=16, discount=0.9)
    states = State(torch.ones(8, 1, 1), torch.ones(8, 1, 2))
    none = torch.zeros(8, 9, dtype=torch.bool)
    future = FutureRows(torch.ones(8, 9), none.clone(), none.clone(), ~none)
    future.first[:, 5:], future.terminal[:, 4] = True, terminal
    row = torch.zeros(8, 1)
    batch = Batch(row, row, row, row, row, row, future)
    optimiser = torch.optim.Adam(agent.critic.parameters(), 0.02)
    for _ in range(400):
        optimiser.zero_grad()
        agent.critic_replay_loss(states, batch).backward()
        optimiser.step()
        agent.update_targets(0.0, 0.1)
    value = agent.critic.mean(states.features[0, 0]).item()
    assert value == pytest.approx(worth, rel=0.05)


def test_the_critic_needs_future_rows():
    row = torch.zeros(1, 1)
    states = State(torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match="future is None"):
        networks().critic_replay_loss(states, Batch(row, row, row, row, row, row))


def test_discounts_are_what_is_left_of_a_reward():
    cont = torch.tensor([[1.0], [0.5], [0.0], [1.0]])
    torch.testing.assert_close(discounts(cont, 0.9)[:, 0], torch.tensor([1, 0.9, 0.405, 0.0]))


# -- policy ------------------------------------------------------------------------------


def actor(mean, raw_std):
    """A policy of one action whose network returns what it is given."""
    policy = GaussianActor(1, 1, 4)
    policy.network = torch.nn.Identity()
    return policy, torch.tensor([mean, raw_std])


@pytest.mark.parametrize(("mean", "raw"), [(0.0, 0.0), (1.5, -2.0), (-6.0, 3.0)])
@torch.no_grad()
def test_entropy_is_that_of_the_tanh_gaussian(mean, raw):
    policy, features = actor(mean, raw)
    centre, std = (x.item() for x in policy(features))
    assert abs(centre) <= 3 and 0.3 <= std <= 1.3
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
    policy = CategoricalActor(1, 3, 4)
    policy.network = torch.nn.Identity()
    logits = torch.tensor([0.0, 2.0, -9.0])
    expected = 0.99 * logits.softmax(-1) + 0.01 / 3  # one hundredth uniform
    torch.testing.assert_close(policy(logits).exp(), expected)
    drawn = policy.sample(logits.expand(100_000, 3))
    assert ((drawn.action == 0) | (drawn.action == 1)).all() and (drawn.action.sum(-1) == 1).all()
    torch.testing.assert_close(drawn.action.mean(0), expected, rtol=0, atol=0.005)
    exact = -(expected * expected.log()).sum()
    torch.testing.assert_close(drawn.entropy()[0], exact)
    assert policy.mode(logits).tolist() == [0, 1, 0]


def test_a_choice_has_the_gradient_of_its_probabilities():
    policy = CategoricalActor(1, 3, 4)
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


def learn(agent, model, updates):
    """Train actor and critic in the imagination of a model."""
    optimisers = [torch.optim.Adam(part.parameters(), 5e-3) for part in (agent.actor, agent.critic)]
    for _ in range(updates):
        rollout = agent.imagine(model, starts(64))
        for optimiser, loss in zip(optimisers, (rollout.actor_loss, agent.critic_loss(rollout))):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        agent.update_targets(0.02, 0.04)


def test_the_actor_learns_to_move_where_it_pays():
    torch.manual_seed(0)
    model = Point()
    agent = networks(hidden=32, horizon=5, entropy=1e-3)
    before = mean_reward(model, agent.actor.mode)
    best = mean_reward(model, lambda features: (2 * (1 - features[:, :1])).clamp(-1, 1))
    learn(agent, model, 60)
    after = mean_reward(model, agent.actor.mode)
    assert before < 8 * best and 1.5 * best < after < 0  # from far off to near the best there is
    left, right = torch.tensor([[-1.0, -1.0], [2.0, 2.0]])
    assert agent.actor.mode(left).item() > 0.5 and agent.actor.mode(right).item() < -0.5


class Switch(Point):
    """A point that is moved left, not at all or right."""

    def __init__(self):
        super().__init__(3)

    def transition(self, state, action):
        return state.latent + 0.5 * (action[..., 2:] - action[..., :1])


def test_the_actor_learns_to_choose():
    torch.manual_seed(0)
    agent = networks(3, discrete=True, hidden=32, horizon=5, entropy=1e-3)
    learn(agent, Switch(), 80)
    left, right = agent.actor.mode(torch.tensor([[-1.0], [3.0]]).expand(2, 2))
    assert left.argmax() == 2 and right.argmax() == 0


def test_a_small_range_of_returns_is_not_blown_up():
    losses = []
    for scale in (0.01, 0.9, 100.0):
        torch.manual_seed(0)
        agent = networks(horizon=1, entropy=0.0)
        agent.return_scale.fill_(scale)
        losses.append(agent.imagine(Point(), starts(64)).actor_loss.item())
    assert losses[0] == losses[1] and abs(losses[2]) < 0.1 * abs(losses[0])


def test_the_gradient_agrees_with_the_score_function_estimate():
    """Over one decision, gradients through the dynamics equal REINFORCE's in the mean."""
    torch.manual_seed(0)
    model = Point()
    agent = networks(horizon=1, entropy=0.0, temperature=0.0, gradient_limit=None)
    agent.actor.network[-1].weight.data.normal_()
    weights = list(agent.actor.network[-1].parameters())
    agent.return_scale.fill_(2.0)
    loss = agent.imagine(model, starts(200_000)).actor_loss
    through = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
    agent.return_scale.fill_(2.0)
    start = starts(200_000)
    sample = agent.actor.sample(start.features)
    with torch.no_grad():
        after = model.predict(start, sample.action)
        reward = model.reward(after) + 0.99 * agent.target_critic.mean(after.features)
        gain = (reward - reward.mean()) / 2
    log_prob = torch.distributions.Normal(sample.mean, sample.std).log_prob(sample.raw.detach())
    surrogate = -(gain * log_prob.sum(-1)).mean()
    score = torch.cat([g.flatten() for g in torch.autograd.grad(surrogate, weights)])
    assert through.norm() > 0.1
    torch.testing.assert_close(through, score, rtol=0, atol=0.02)


class Unstable(Point):
    """What is above 0 is thrown four times as far with every decision, what is below by a fifth."""

    def transition(self, state, action):
        return state.latent * torch.where(state.latent > 0, 4.0, 1.2) + 0.5 * action

    def reward(self, state):
        return state.latent[..., 0]


def actor_gradient(agent, model, start, limit):
    agent.config = ImaginationConfig(horizon=6, entropy=0.0, temperature=0.0, gradient_limit=limit)
    agent.return_scale.fill_(1e9)
    generator = torch.Generator().manual_seed(3)
    loss = 1e9 * agent.imagine(model, start, generator).actor_loss
    parts = torch.autograd.grad(loss, list(agent.actor.network[-1].parameters()))
    return torch.cat([part.flatten() for part in parts])


def test_a_limit_changes_nothing_where_rollouts_are_alike_and_holds_a_wild_one():
    torch.manual_seed(0)
    agent = networks()
    calm = torch.full((9, 1), -30.0)
    alike = [actor_gradient(agent, Unstable(), State(calm, calm), limit) for limit in (None, 1.0)]
    torch.testing.assert_close(*alike, rtol=1e-4, atol=0)
    wild = torch.cat([calm[1:], -calm[:1]])
    free, held = (actor_gradient(agent, Unstable(), State(wild, wild), x) for x in (None, 1.0))
    assert free.norm() > 5 * alike[0].norm()
    assert (held - alike[0]).norm() < 0.5 * alike[0].norm()


def test_gradients_are_clipped_to_the_median_and_keep_their_direction():
    gradient = torch.tensor([[3.0, 4.0], [0.6, 0.8], [30.0, 40.0], [0.0, 0.0], [6.0, 8.0]])
    expected = torch.tensor([[3.0, 4.0], [0.6, 0.8], [3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(clip_to_median_norm(gradient, 1.0), expected)
    torch.testing.assert_close(clip_to_median_norm(gradient, 2.0)[[2, 4]], gradient[[4, 4]])
    assert torch.equal(clip_to_median_norm(torch.zeros(3, 2), 1.0), torch.zeros(3, 2))
    few = torch.cat([torch.zeros(9, 2), gradient[:1]])  # most rollouts have ended
    assert torch.equal(clip_to_median_norm(few, 1.0), few)


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [
        ("horizon", 0, "at least 1"),
        ("imagination_batch", 0, "at least 1"),
        ("discount", 1.5, "at most 1"),
        ("entropy", -0.1, "at least 0"),
        ("gradient_limit", -1.0, "above 0"),
        ("critic_replay_steps", 0, "at least 1"),
        ("greedy_env_fraction", 2.0, "at most 1"),
    ],
)
def test_settings_that_nothing_can_be_learnt_with_are_refused(key, value, must):
    with pytest.raises(ValueError, match=f"^{key}={value} must be {must}"):
        ImaginationConfig(**{key: value})


def test_a_sequence_must_be_longer_than_its_burn_in():
    with pytest.raises(UserError, match=r"replay.sequence_length=5 leaves no row to imagine from"):
        ImaginationAgent(ImaginationConfig(hidden_dim=8), spec(sequence_length=5))


def test_the_actors_gradient_leaves_the_model_and_the_critic_alone():
    model, agent = Point(), networks(horizon=3)
    rollout = agent.imagine(model, starts(16))
    critic = agent.critic_loss(rollout)
    gradients = torch.autograd.grad(critic, list(agent.critic.parameters()), retain_graph=True)
    assert any(g.abs().max() > 0 for g in gradients)
    actor = torch.autograd.grad(critic, list(agent.actor.parameters()), allow_unused=True)
    assert all(g is None for g in actor)
    rollout.actor_loss.backward()
    assert all(p.grad is None for p in agent.critic.parameters())
    assert all(p.grad is None for p in agent.target_critic.parameters())
