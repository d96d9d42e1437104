"""A task of one's own by `module:Class`, on the command line and in Python."""

import gymnasium as gym
import pytest
from small_run import words

import envs
from aef_worldmodel.utils.errors import UserError
from agents import train


def test_it_trains_by_its_name(tmp_path):
    line = [word for word in words("imagination", "env.image_size=16") if "env=" not in word]
    run = tmp_path / "run"
    assert train.main(["env=examples.own_task:Centre", *line, f"run={run}"]) == 0
    assert "task: examples.own_task:Centre" in (run / "config.yaml").read_text()


def test_it_is_made_like_any_other():
    env = envs.make("examples.own_task:Centre", 2, image_size=16)
    frames, _ = env.reset(seed=0)
    assert frames.shape == (2, 3, 16, 16) and env.proprio().shape == (2, 2)
    single = gym.make("aef/cheetah-run-v0", task="examples.own_task:Centre", image_size=16)
    assert single.reset(seed=0)[0].shape == (16, 16, 3)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("no_such_module:Task", r"cannot be imported \(ModuleNotFoundError: .* give gym:no_such"),
        ("examples.own_task:Center", r"has no such class: give a subclass of envs\.suite"),
        ("examples.own_environment:Catch", r"is <class .*Catch'>, which is no Task"),
        ("examples.own_task:XML", "which is no Task"),
    ],
)
def test_what_is_no_task_is_one_sentence(tmp_path, name, sentence):
    with pytest.raises(UserError, match=sentence):
        train.main([f"env={name}", "hardware=cpu", f"run={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()
