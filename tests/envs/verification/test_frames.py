"""A reference frame that is drawn differently is said in one sentence."""

import envs
from agents import doctor
from envs.verification import frames

TASK = "cartpole-swingup"


def test_a_frame_is_compared_with_the_kept_one(monkeypatch):
    row = frames.frame_row(TASK) | {"hardware": "this processor"}
    monkeypatch.setattr(frames, "kept_rows", lambda: {TASK: row})
    same, clause = frames.compared(TASK)
    assert same and f"of {TASK} is the kept one" in clause
    other = row | {"frame": "0", "drawn_by": "mujoco-warp 9"}
    monkeypatch.setattr(frames, "kept_rows", lambda: {TASK: other})
    same, clause = frames.compared(TASK)
    assert not same and clause.startswith(row["drawn_by"])
    assert "differently here than mujoco-warp 9 did on this processor" in clause
    assert [finding.text for finding in doctor._check_images(TASK)] == [clause]
    assert list(doctor._check_images("gym:CartPole-v1")) == []


def test_the_table_has_tasks_of_the_suite_alone():
    assert set(frames.kept_rows()) <= set(envs.tasks())
    assert all(len(row["frame"]) == 64 for row in frames.kept_rows().values())
