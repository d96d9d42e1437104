"""The table of tasks, read from the files' text."""

import importlib
import pkgutil

import pytest

import envs
from envs import suite


def test_names_are_those_of_the_modules():
    defined = {}
    for module in pkgutil.iter_modules(suite.__path__):
        name = f"envs.suite.{module.name}"
        tasks = getattr(importlib.import_module(name), "TASKS", {})
        defined |= dict.fromkeys(tasks, name)
    assert suite.task_modules() == dict(sorted(defined.items()))
    assert envs.tasks() == sorted(defined) and len(defined) == 48


def test_a_new_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "__path__", [*suite.__path__, str(tmp_path)])
    find = suite.task_modules.__wrapped__
    (tmp_path / "plain.py").write_text('def helper():\n    return {"TASKS": 1}\n')
    (tmp_path / "annotated.py").write_text('TASKS: dict = {"my-task": 1, "other-task": 2}\n')
    assert set(find()) - set(envs.tasks()) == {"my-task", "other-task"}
    assert find()["my-task"] == "envs.suite.annotated"


@pytest.mark.parametrize("text", ["TASKS = dict(a=1)", 'TASKS = {f"a-{n}": 1 for n in (1,)}'])
def test_computed_names_are_refused(tmp_path, monkeypatch, text):
    monkeypatch.setattr(suite, "__path__", [str(tmp_path)])
    (tmp_path / "computed.py").write_text(text)
    with pytest.raises(ValueError, match=r"computed\.py: TASKS is read without running the file"):
        suite.task_modules.__wrapped__()


def test_an_unknown_task_suggests_similar_ones():
    with pytest.raises(ValueError, match=r"'cheetah-runs' is unknown: did you mean cheetah-run"):
        envs.make("cheetah-runs")
    with pytest.raises(ValueError, match=r"'zzz' is unknown: `python -m envs` lists them"):
        envs.make("zzz")
