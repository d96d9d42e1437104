"""Imagined rewards and values beside real ones."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from aef_worldmodel.utils.tables import Table
from aef_worldmodel.world_models.base import State
from benchmarks import promises
from benchmarks.promises import LENGTH, STRIDE, measure, windows, worst


def test_windows_begin_every_so_many_decisions_and_end_with_the_rows():
    rows = torch.arange(500)[:, None] + torch.tensor([0, 1000])  # (T, N), two environments
    found = windows(rows, LENGTH + 1)
    assert found.shape == (LENGTH + 1, 2 * 16) and found.max() < 1500
    assert found[0, :4].tolist() == [0, 1000, STRIDE, 1000 + STRIDE]
    assert torch.equal(found[-1], found[0] + LENGTH)


def test_the_worst_starts_are_those_that_the_least_reward_follows():
    reward = torch.tensor([3.0, 0.0, 2.0, 1.0]).repeat(LENGTH, 1)
    assert worst(reward, 0.5).tolist() == [1, 3]
    assert worst(reward, 0.01).tolist() == [1]
    assert sorted(worst(reward, 1).tolist()) == [0, 1, 2, 3]


def test_returns_are_discounted_and_end_with_the_critics_value():
    critic = SimpleNamespace(mean=lambda features: features[..., 0])
    networks = SimpleNamespace(config=SimpleNamespace(discount=0.9), target_critic=critic)
    learner = SimpleNamespace(agent=SimpleNamespace(networks=networks), autocast=nullcontext)
    states = torch.full((LENGTH + 1, 3, 1), 2.0)
    states[-1] = 5.0
    reward = torch.ones(LENGTH, 3)
    reward[5:15] = 0.5
    found = measure(learner, State(states, states), reward)
    assert (found["reward_1_5"], found["reward_6_15"], found["reward_16_30"]) == (1, 0.5, 1)
    assert (found["value"], found["critic_end"]) == (2, 5)
    whole = (1 - 0.9**LENGTH) / 0.1 - 0.5 * (0.9**5 - 0.9**15) / 0.1 + 5 * 0.9**LENGTH
    assert found["return"] == pytest.approx(whole, rel=1e-5)


def test_a_run_has_a_row_for_what_is_real_and_one_for_each_temperature(finished, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    asked = [f"run={finished}", "episodes=2", "temperatures=[0,1]", f"out={out}"]
    assert promises.main(asked) == 0
    before, rows = out.read_text(), Table(out).rows
    names = ["real", "imagined, temperature 0", "imagined, temperature 1"]
    assert [row["what"] for row in rows] == names
    assert len({row["value"] for row in rows}) == 1  # all begin at the same states
    assert all(0 <= float(rows[0][span]) <= 8 for span in promises.SPANS)  # 8 frames a decision
    assert promises.main(asked) == 0 and out.read_text() == before
    assert promises.main([*asked, "worst=0.5"]) == 0
    worst_row = Table(out).rows[3]
    assert worst_row["what"] == "real, worst 0.5"
    decisions = (5, 10, 15, 30, 40)  # of the spans
    mean, lowest = (
        sum(n * float(row[span]) for n, span in zip(decisions, promises.SPANS))
        for row in (rows[0], worst_row)
    )
    assert lowest < mean
    assert "reward_1_5" in capsys.readouterr().out
