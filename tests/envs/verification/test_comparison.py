"""Every task against dm_control's own: rewards, observations, trajectories, starts, limits."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

import envs
from envs import dm_control, verify
from envs.engines.mjcf import compile_model
from envs.suite import make_task
from envs.verification.comparison import (
    Errors,
    compare_placed,
    compare_stepped,
    smallest_p_value,
    start_p_value,
)
from envs.verification.table import SIGNIFICANCE, TOLERANCE, make_row

TASKS = envs.tasks()
DMC_VISION = {
    "acrobot-swingup",
    "ball-in-cup-catch",
    "cartpole-balance",
    "cartpole-balance-sparse",
    "cartpole-swingup",
    "cartpole-swingup-sparse",
    "cheetah-run",
    "finger-spin",
    "finger-turn-easy",
    "finger-turn-hard",
    "hopper-hop",
    "hopper-stand",
    "pendulum-swingup",
    "quadruped-run",
    "quadruped-walk",
    "reacher-easy",
    "reacher-hard",
    "walker-run",
    "walker-stand",
    "walker-walk",
}


ALIKE = (  # in starts
    "humanoid-run",
    "humanoid-CMU-walk",
    "humanoid-CMU-run",
    "fish-upright",
    "dog-walk",
    "dog-trot",
)


def share(name: str, count: int) -> int:
    """How many states to compare: fewer for the tasks outside the benchmark."""
    return count if name in DMC_VISION else count // 2


def test_the_benchmark_is_complete():
    assert not DMC_VISION - set(TASKS)


def test_tasks_of_the_suite_that_are_missing():
    from dm_control import suite

    theirs = {"-".join(pair).replace("_", "-") for pair in suite.ALL_TASKS}
    assert theirs - set(TASKS) == {
        "lqr-lqr-2-1",
        "lqr-lqr-6-2",
        "quadruped-escape",
    }


@pytest.mark.parametrize("name", TASKS)
def test_same_actions_give_the_same_trajectory(name):
    errors = compare_stepped(name, num_envs=4, steps=share(name, 100))
    assert errors.trajectory <= TOLERANCE
    assert errors.reward <= TOLERANCE
    assert errors.proprio <= TOLERANCE


@pytest.mark.parametrize("name", TASKS)
def test_same_state_gives_the_same_reward_and_observation(name):
    states = 1000 if name == "ball-in-cup-catch" else 400  # the ball is seldom in the cup
    errors = compare_placed(name, share(name, states))
    low, high = errors.reward_range
    assert high - low > 0.25, "the states met too few rewards for the comparison to mean anything"
    assert errors.reward <= TOLERANCE
    assert errors.proprio <= TOLERANCE


@pytest.mark.parametrize("name", [n for n in TASKS if not n.startswith(ALIKE)])
def test_episodes_start_where_dm_controls_do(name):
    assert start_p_value(name, episodes=80) > SIGNIFICANCE


def test_a_wrong_start_is_noticed():
    generator = np.random.default_rng(0)
    theirs = generator.normal(size=(80, 5))
    assert smallest_p_value(generator.normal(size=(80, 5)), theirs) > SIGNIFICANCE
    shifted = generator.normal([0, 0, 0.8, 0, 0], size=(80, 5))
    assert smallest_p_value(shifted, theirs) < SIGNIFICANCE
    constant = theirs.copy()
    constant[:, 0] = 1.0
    assert smallest_p_value(constant, constant - 0.1) == 0.0


@pytest.mark.parametrize("name", TASKS)
def test_timing_and_action_bounds(name):
    theirs, task = dm_control.load(name, seed=0), make_task(name)
    model = compile_model(task.spec())
    assert theirs._step_limit == task.episode_length
    assert theirs.physics.timestep() == model.opt.timestep
    assert theirs._n_sub_steps == task.substeps(model)
    bounds = theirs.action_spec()
    np.testing.assert_array_equal(model.actuator_ctrlrange.T, [bounds.minimum, bounds.maximum])
    assert task.camera == (2 if name.startswith("quadruped") or name == "dog-fetch" else 0)
    for field in ("cam_pos", "cam_quat", "cam_fovy"):
        np.testing.assert_array_equal(getattr(model, field), getattr(theirs.physics.model, field))


def test_model_fields_of_each_environment_resume():
    env = envs.make("point-mass-hard", 3, obs="proprio")
    env.reset(seed=0)
    gains = env.sim.expand("wrap_prm")  # (3, 4)
    assert len({tuple(row) for row in gains.tolist()}) == 3
    before, state = gains.clone(), env.state()
    action = torch.ones(3, 2)
    expected = env.step(action)[0]
    env.reset(seed=5)
    assert not torch.equal(gains, before)
    env.set_state(state)
    assert torch.equal(gains, before) and torch.equal(env.step(action)[0], expected)


def test_a_task_the_warp_engine_cannot_carry():
    with pytest.raises(ValueError, match="does not run on engine='warp': give device='cpu'"):
        envs.make("point-mass-hard", engine="warp")


def test_the_swimmers_target_is_lit_from_above():
    env = envs.make("swimmer-swimmer6", 2, obs="proprio")
    env.reset(seed=3)
    lamp = env.model.light("target_light").id
    above = env.sim.light_xpos[:, lamp] - env.sim.mocap_pos[:, 0]
    assert not torch.equal(env.sim.mocap_pos[0], env.sim.mocap_pos[1])
    torch.testing.assert_close(above, torch.tensor([[0, 0, 1.45]] * 2, dtype=torch.double))


def test_the_table_is_kept(tmp_path, capsys):
    out = tmp_path / "table.csv"
    for _ in range(2):  # the same command again replaces its rows
        assert verify.main(["pendulum-swingup", "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["compared"] for row in rows] == ["stepped", "placed"]
    assert rows[0]["command"] == "python -m envs.verify pendulum-swingup" and rows[0]["commit"]
    assert float(rows[0]["start_p"]) > SIGNIFICANCE and rows[1]["agrees"] == "True"
    assert "pendulum-swingup          stepped" in capsys.readouterr().out
    out.write_text("task,seconds\nx,1\n")
    with pytest.raises(ValueError, match="holds another table"):
        verify.main(["pendulum-swingup", "--out", str(out)])
    bad = Errors(1, 1e-3, 0.0, 0.0, (0.0, 1.0))
    assert not make_row("x", "placed", bad, TOLERANCE)["agrees"]
    assert bad.within(1e-2) and not dataclasses.replace(bad, proprio=np.nan).within(1e-2)


@pytest.mark.parametrize("task", ["cheetah-run", "manipulator-bring-ball"])
def test_stars_are_smoothed_in_the_sky_and_on_walls_and_nothing_else_is(task):
    plain, drawn = make_task(task).spec().compile(), compile_model(make_task(task).spec())
    smoothed = set()
    for i in range(plain.ntex):
        count = plain.tex_width[i] * plain.tex_height[i] * plain.tex_nchannel[i]
        before, after = (m.tex_data[m.tex_adr[i] :][:count].astype(int) for m in (plain, drawn))
        if (before != after).any():
            smoothed.add(plain.texture(i).name)
            assert before.max() == 255 and after.max() < 210  # white dots are gone
            assert abs(before.mean() - after.mean()) < 0.5
    assert smoothed == ({"skybox"} if task == "cheetah-run" else {"skybox", "background"})
