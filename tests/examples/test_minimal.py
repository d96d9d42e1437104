"""The one-file example: its equations hold, its losses learn, a run of seconds leaves a picture."""

import copy
import itertools
import re
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from examples import minimal
from examples.minimal import AEF, BINS, Agent, Config, Rows

TINY = Config(
    task="cartpole-balance",
    frames=1_600,
    num_envs=4,
    prefill=800,
    pretrain=3,
    frames_per_update=100,
    eval_every=800,
    eval_episodes=2,
    batch=4,
    length=8,
    latent=4,
    hidden=16,
)


def moving_square(count: int, length: int, actions: int, c: Config) -> Rows:
    """Rows (B, T, ...) of a bright square that an action moves; its place is the reward."""
    action = torch.rand(count, length, actions) * 2 - 1
    place = 8 + (4 * action[..., 0].cumsum(1)).clamp(-8, 8).roll(1, 1).long()  # (B, T)
    frame = torch.full((count, length, 3, 32, 32), 40, dtype=torch.uint8)
    for b in range(count):
        for t in range(length):
            frame[b, t, :, 12:20, place[b, t] : place[b, t] + 8] = 200
    never = torch.zeros(count, length, dtype=torch.bool)
    first = never.clone()
    first[:, 0] = True
    return Rows(frame, place / 16, first, never, action, torch.zeros(count, length, c.hidden))


@pytest.fixture
def agent() -> Agent:
    torch.manual_seed(0)
    return Agent((3, 32, 32), 2, TINY)


def test_the_file_is_short_enough_to_read():
    assert len(Path(minimal.__file__).read_text(encoding="utf-8").splitlines()) <= 300


def test_rows_of_the_basis_are_orthonormal_and_begin_with_the_grey_mean():
    basis = minimal.dct_basis((3, 16, 32), 40)  # (d, D)
    torch.testing.assert_close(basis @ basis.T, torch.eye(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[0], torch.full((3 * 16 * 32,), (3 * 16 * 32) ** -0.5))


def test_decoding_with_deviations_returns_the_image(agent):
    x = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    e = torch.rand(x.shape)
    z, shell, _ = agent.aef.encode(x, e)
    r, _ = agent.aef.deviations(z, shell)
    torch.testing.assert_close(agent.aef.decode(z, r), (x + e) / 256, atol=2e-4, rtol=0)
    assert (agent.aef.decode(z) - (x + e) / 256).abs().mean() > 0.05  # r matters


def test_the_density_has_the_determinant_of_autograds_jacobian():
    torch.manual_seed(0)
    shape, d = (1, 16, 16), 3
    aef = AEF(shape, Config(latent=d, hidden=8), w=4).double()
    basis, *_ = torch.linalg.qr(minimal.dct_basis(shape, 256).double().T)  # (D, D): c, then s
    x = torch.randint(0, 256, (1, *shape)).double()
    noise = torch.rand(1, *shape, dtype=torch.float64)

    def flow(u: torch.Tensor) -> torch.Tensor:  # (D,) -> (z, coordinates of r) (D,)
        z, shell, _ = aef.encode(256 * u.view(1, *shape), 0.0)
        r, _ = aef.deviations(z, shell)
        return torch.cat([z.flatten(), r.flatten() @ basis[:, d:]])

    u = ((x + noise) / 256).flatten()
    z, shell, volume = aef.encode(x, noise)
    _, pixels = aef.deviations(z, shell)
    noise_log_prob = torch.distributions.Normal(0, 1).log_prob(flow(u)[d:]).sum()
    _, log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(flow, u))
    torch.testing.assert_close(volume + pixels, (noise_log_prob + log_det)[None], rtol=1e-6, atol=0)


def test_a_two_hot_target_is_the_mean_of_its_two_bins():
    target = torch.tensor([-3.0, 0.0, 0.4, 2.0, 120.0, 1e5])
    logits = torch.linspace(-1, 1, 101).expand(6, 101).clone().requires_grad_()
    minimal.two_hot_loss(logits, target).sum().backward()
    weight = logits.softmax(-1) - logits.grad  # (6, bins)
    assert ((weight > 1e-6).sum(-1) <= 2).all()
    torch.testing.assert_close(weight @ BINS, target.clamp(max=BINS[-1]), rtol=1e-3, atol=1e-2)


def test_the_model_loss_falls_on_a_fixed_batch(agent):
    rows = moving_square(4, 8, 2, TINY)
    average = copy.deepcopy(agent).requires_grad_(False)
    adam = torch.optim.Adam(agent.parameters(), 8e-4)
    before = mean_loss(agent, rows)
    bits = [agent.update(average, adam, rows, behave=False) for _ in range(30)]
    assert mean_loss(agent, rows) < before - 0.5
    assert bits[-1] < bits[0]
    torch.testing.assert_close(average.actor[0].weight, agent.actor[0].weight)


def mean_loss(agent: Agent, rows: Rows) -> float:
    with torch.no_grad():
        return sum(agent.model_loss(rows)[0].item() for _ in range(5)) / 5


def test_the_behaviour_loss_reaches_the_actor_and_the_critic_alone(agent):
    nn.init.normal_(agent.reward[-1].weight, std=0.1)
    average = copy.deepcopy(agent).requires_grad_(False)
    agent.behaviour_loss(average, torch.randn(16, TINY.hidden + TINY.latent)).backward()
    learnt = {name.split(".")[0] for name, p in agent.named_parameters() if p.grad is not None}
    assert learnt == {"actor", "critic"}
    for part in (agent.actor, agent.critic):
        gradients = [p.grad for p in part.parameters()]
        assert all(g.isfinite().all() for g in gradients)
        assert any(g.abs().max() > 0 for g in gradients)


def test_the_actor_raises_the_rewards_it_imagines(agent):
    nn.init.normal_(agent.reward[-1].weight, std=0.3)
    nn.init.normal_(agent.prior_net[-1].weight, std=0.3)
    average = copy.deepcopy(agent).requires_grad_(False)
    start = torch.randn(32, TINY.hidden + TINY.latent)
    adam = torch.optim.Adam(agent.actor.parameters(), 1e-2)
    before = imagined_reward(agent, average, start)
    for _ in range(40):
        adam.zero_grad()
        agent.behaviour_loss(average, start).backward()
        adam.step()
    assert imagined_reward(agent, average, start) > before + 0.1 * abs(before)


@torch.no_grad()
def imagined_reward(agent: Agent, average: Agent, start: torch.Tensor) -> float:
    torch.manual_seed(0)
    rollout = average.imagine(start, lambda x: agent.act(x)[1], steps=20)
    return (average.reward(rollout[1:]).softmax(-1) @ BINS).mean().item()


class Clock:
    """Two environments whose frames show the time; episodes last three decisions, and the decision
    after an episode's end starts the next one (Gymnasium's next_step)."""

    action_space = SimpleNamespace(shape=(2, 2))

    def reset(self):
        self.time = 0
        return self.frame(), {}

    def step(self, action):
        self.time = (self.time + 1) % 4
        flags = torch.full((2,), self.time == 3)
        return self.frame(), torch.full((2,), float(self.time)), flags & False, flags, {}

    def frame(self):
        return torch.full((2, 3, 32, 32), self.time, dtype=torch.uint8)


def test_rows_are_marked_where_episodes_begin(agent):
    rows = list(itertools.islice(agent.play(Clock(), explore=1.0), 9))
    assert [row.frame[0, 0, 0, 0].item() for row in rows] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert [row.first[1].item() for row in rows] == [i % 4 == 0 for i in range(9)]
    assert all((row.h == 0).all() for row in rows[::4])
    assert not any((row.h == 0).all() for row in rows[1:4])


def test_without_exploration_the_mode_is_played(agent):
    nn.init.normal_(agent.actor[-1].weight)
    calm, again, drawn = (
        [row.action for row in itertools.islice(agent.play(Clock(), explore), 6)]
        for explore in (0.0, 0.0, 1.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(calm, again))
    assert not torch.allclose(calm[0], drawn[0])


def test_sequences_are_rows_of_one_environment_in_order_and_mostly_new():
    places = torch.arange(100)[:, None] + torch.tensor([0, 1000])  # (rows, N)
    replay = [Rows(*[place] * 6) for place in places]
    torch.manual_seed(0)
    rows = minimal.sample(replay, replace(TINY, batch=400, length=5))
    assert rows.reward.shape == (400, 5)
    assert (rows.reward.diff(dim=1) == 1).all()
    last = rows.reward[:, -1] % 1000
    assert last.min() < 20
    assert last.max() == 99
    assert 0.4 < (last >= 100 - 96 / 8).float().mean() < 0.6


def test_the_command_trains_and_saves_a_picture(tmp_path, monkeypatch, capsys):
    options = [[f"--{key.replace('_', '-')}", str(value)] for key, value in vars(TINY).items()]
    words = [TINY.task, *itertools.chain(*options[1:])]
    monkeypatch.setattr("sys.argv", ["minimal.py", *words])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(minimal.__file__, run_name="__main__")
    assert re.search(
        r"frames 1600 minutes [\d.]+ return [\d.]+ bits/dim \d", capsys.readouterr().out
    )
    assert Image.open("cartpole-balance.png").size == (10 * 64, 2 * 64)
