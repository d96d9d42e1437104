"""What the monitor says of evaluation episodes, and the film of it."""

import csv

import pytest
import torch
from small_run import make, words

from aef_worldmodel.utils.errors import UserError
from agents import evaluate, train
from agents.playing.evaluation import Episodes
from agents.playing.watching import ALARM_LEVEL, check_watchable, watch

COUNT, LENGTH, STRANGE = 3, 120, 50


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    return make(tmp_path_factory.mktemp("run")).learner


def episodes(learner):
    """Return grey episodes with a little noise, of which one frame of the first is noise."""
    generator = torch.Generator().manual_seed(0)
    shape = learner.model.frame_shape
    size = (COUNT, LENGTH, *shape)
    frames = torch.randint(120, 136, size, dtype=torch.uint8, generator=generator)
    frames[0, STRANGE] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    actions = torch.rand(COUNT, LENGTH, learner.model.action_dim, generator=generator)
    nothing, alive = torch.zeros(COUNT, LENGTH), torch.ones(COUNT, LENGTH, dtype=torch.bool)
    alive[0, 100:] = False
    return Episodes(nothing[:, 0], frames, actions, nothing[..., None], alive, nothing)


def test_a_strange_frame_alarms_and_usual_ones_seldom_do(learner):
    rows, p = watch(learner, episodes(learner))
    assert len(rows) == len(p["any"]) == 100  # the first episode's own frames
    assert p["pixels"][STRANGE] == p["pixels"].min() <= ALARM_LEVEL
    assert float(rows[STRANGE]["pixels"]) < min(float(rows[t]["pixels"]) for t in (0, 49, 51, 99))
    usual = [float(row["p_pixels"]) for t, row in enumerate(rows) if t != STRANGE]
    assert sum(value <= 0.05 for value in usual) < 15
    for row in rows:
        parts = sum(float(row[name]) for name in ("prior", "volume", "pixels"))
        assert float(row["total"]) == pytest.approx(parts, abs=0.05)


def test_what_cannot_be_watched_is_refused(tmp_path, learner):
    with pytest.raises(UserError, match="give episodes=2 or more"):
        check_watchable(learner, 1)
    plain = make(tmp_path, "world_model=ae").learner
    with pytest.raises(UserError, match="needs a world model with a likelihood of images"):
        check_watchable(plain, 2)


@pytest.mark.parametrize("model", ["aef", "rssm"])
def test_evaluate_films_the_monitor(tmp_path, model, capsys):
    run = tmp_path / "run"
    assert train.main([*words("imagination", f"world_model={model}"), f"run={run}"]) == 0
    assert evaluate.main([f"run={run}", "episodes=2", "monitor=true"]) == 0
    assert "the monitor alarms at" in capsys.readouterr().out
    out = run / "evaluation"
    assert (out / "monitor.mp4").stat().st_size > 0
    with open(out / "surprise.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 500 and rows[0]["decision"] == "0"
