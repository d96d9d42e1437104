"""Whether rollouts rank actions as reality does."""

import pytest
import torch

import envs
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import choices as benchmark
from benchmarks.choices import CHOICES, LENGTH, choices, measure, play, real_rewards


def sums(starts: int = 400) -> torch.Tensor:
    return torch.randn(starts, CHOICES, generator=torch.Generator().manual_seed(0))


def test_rollouts_that_know_gain_everything_and_those_that_guess_nothing():
    real = sums() + torch.arange(400)[:, None]
    known = measure(real, real)
    for name in ("r2", "correlation", "slope", "gain"):
        assert known[name] == pytest.approx(1, abs=1e-5)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    guessed = measure(real, (real - real.mean(1, keepdim=True))[order] + real.mean(1, keepdim=True))
    assert abs(guessed["correlation"]) < 0.05 and abs(guessed["gain"]) < 0.1
    assert guessed["r2"] > 0.99  # differences between starts hide that nothing is known of choices


def test_rollouts_that_exaggerate_have_a_slope_below_one():
    real = sums()
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    found = measure(real, 2 * real)
    assert found["slope"] == pytest.approx(0.5, abs=1e-5)
    assert found["correlation"] == pytest.approx(1, abs=1e-5)
    found = measure(real, real + noise)
    assert found["slope"] == pytest.approx(0.5, abs=0.05)
    assert found["correlation"] == pytest.approx(0.5**0.5, abs=0.03)


def test_standard_errors_are_those_of_repeated_measurements():
    generator = torch.Generator().manual_seed(3)
    many = []
    for _ in range(60):
        real = torch.randn(100, CHOICES, generator=generator)
        many.append(measure(real, real + 2 * torch.randn(real.shape, generator=generator)))
    for name in ("correlation", "gain"):
        seen = torch.tensor([found[name] for found in many]).std()
        estimated = torch.tensor([found[f"{name}_se"] for found in many]).mean()
        assert estimated == pytest.approx(seen.item(), rel=0.4)


def test_environments_are_put_back_before_every_choice():
    env = envs.make("walker-walk", 2, seed=0, obs="proprio")
    env.reset()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        env.step(torch.rand(2, 6, generator=generator) * 2 - 1)
    snapshot = env.state()
    taken = torch.rand(LENGTH, 2, 6, generator=generator) * 2 - 1
    rewards = torch.stack([env.step(action)[1] for action in taken])
    others = choices(taken, generator)
    assert others.shape == (CHOICES, LENGTH, 2, 6) and others.abs().max() <= 1
    assert not torch.equal(real_rewards(env, snapshot, others[0]), rewards)
    assert torch.equal(real_rewards(env, snapshot, taken), rewards)
    env.close()


def test_environments_that_cannot_be_put_back_are_refused():
    env = envs.make("gym:Pendulum-v1", 1)
    with pytest.raises(UserError, match="cannot be put back"):
        play(None, env)
    env.close()


def test_a_run_has_a_row_for_each_temperature(finished, tmp_path):
    out = tmp_path / "rows.csv"
    asked = [f"run={finished}", "episodes=1", f"out={out}"]
    assert benchmark.main(asked) == 0
    (row,) = Table(out).rows
    assert row["what"] == "temperature 0" and float(row["spread_8"]) > 0
    assert all(-1 <= float(row[f"correlation_{n}"]) <= 1 for n in benchmark.SUMS)
    assert benchmark.main([*asked, "temperatures=[0,1]"]) == 0
    first, second = Table(out).rows
    assert first == row and second["spread_8"] == row["spread_8"]  # the same real choices
