"""Runs that are killed or asked to stop at any instant: nothing is lost, nothing is left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import torch
from small_run import words
from struck import Strike, run

from aef_worldmodel.utils.checkpoint import list_checkpoints, load_latest

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("AEF_FUZZ_KILLS", "100"))
SECONDS = float(os.environ.get("AEF_FUZZ_SECONDS", "900"))  # no new kill after so many
RUN = words(  # 50 decisions, 11 updates, 2 evaluations of 50 decisions
    "imagination",
    "env.action_repeat=20",
    "frames=2000",
    "prefill=400",
    "frames_per_update=200",
    "eval.every=800",
    "checkpoint_every=400",
    "eval.episodes=1",
    "hardware.threads=1",
)
ASKED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
INSTANTS = {  # function -> calls of it in a run
    "os:replace": 20,
    "os:fsync": 20,
    "agents.training.trainer:Trainer.act": 50,
    "agents.training.trainer:Trainer.learn": 11,
    "agents.training.trainer:Trainer.end_episodes": 1,
    "aef_worldmodel.data.replay:Replay.add": 50,
    "aef_worldmodel.utils.checkpoint:save_file": 5,
    "agents.training.snapshot:restore": 1,
    "agents.training.logging.run_logger:RunLogger.scalars": 3,
    "agents.training.logging.run_logger:RunLogger.video": 2,
}
PHASES = {  # phase -> where a signal strikes
    "environments": ("agents.training.trainer:make_training_envs", 1),
    "networks": ("agents.training.trainer:make_learner", 1),
    "replay buffer": ("agents.training.trainer:Trainer.open_replay", 1),
    "settings": ("agents.train:save", 1),
    "provenance": ("agents.train:write_provenance", 1),
    "loggers": ("agents.train:RunLogger", 1),
    "prefill": ("agents.training.trainer:Trainer.act", 5),
    "centre": ("agents.training.trainer:Trainer.fit_preprocessing", 1),
    "pretraining": ("agents.training.trainer:Trainer.learn", 2),
    "update": ("agents.training.trainer:Trainer.learn", 5),
    "evaluation": ("agents.training.evaluations:run_episodes", 1),
    "film": ("agents.training.logging.run_logger:RunLogger.video", 1),
    "checkpoint": ("aef_worldmodel.utils.checkpoint:save_file", 2),
    "exit": ("agents.training.logging.run_logger:RunLogger.__exit__", 1),
}


def state(folder):
    """Return all tensors of a run's last checkpoint, flat."""
    found = load_latest(folder / "checkpoints")
    assert not found.skipped
    flat, todo = [], [found.state]
    while todo:
        one = todo.pop()
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
        flat += [one] if isinstance(one, torch.Tensor) else []
    return found.step, flat


def continued(folder):
    """Return the command line that begins a run, or goes on with it."""
    if list_checkpoints(folder / "checkpoints"):
        return [f"resume={folder}"]
    for path in folder.glob("config.yaml"):
        path.unlink()  # as the command says: no checkpoint yet
    return [*RUN, f"run={folder}"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The last state of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ended = run("agents.train", [*RUN, f"run={folder}"], folder.parent / "log", None)
    assert ended.code == 0, ended.output
    return state(folder)


def compare(folder, whole):
    """Raise AssertionError unless a run ended in the state of the undisturbed one."""
    (step, parts), (expected_step, expected) = state(folder), whole
    assert step == expected_step and len(parts) == len(expected)
    differing = sum(not torch.equal(a, b) for a, b in zip(parts, expected, strict=True))
    assert not differing, f"{differing} of {len(parts)} tensors differ"


def test_killed_at_any_instant_a_run_ends_as_if_undisturbed(tmp_path, whole):
    draw, counts, began = random.Random(0), Counter(), time.monotonic()
    while counts["kills"] < KILLS and time.monotonic() - began < SECONDS:
        folder, reached = tmp_path / f"run{counts['runs']}", -1
        for attempt in range(9):  # the last one is not struck
            where = draw.choice([*INSTANTS])
            nth = draw.randint(1, INSTANTS[where])
            strike = Strike(where, nth, signal.SIGKILL, draw.random() < 0.5)
            strike = strike if attempt < 8 else None
            ended = run("agents.train", continued(folder), tmp_path / "log", strike)
            counts["kills"] += ended.code == -signal.SIGKILL
            counts["hangs"] += ended.code is None
            counts["tracebacks"] += "Traceback" in ended.output
            assert ended.code in (0, -signal.SIGKILL), (strike, ended)
            saved = list_checkpoints(folder / "checkpoints")
            now = load_latest(folder / "checkpoints").step if saved else -1
            counts["lost"] += now < reached
            reached = now
            if ended.code == 0:
                break
        compare(folder, whole)
        counts["runs"] += 1
    print(dict(counts))
    assert counts["hangs"] == counts["tracebacks"] == counts["lost"] == 0


@pytest.mark.parametrize("number", ASKED, ids=lambda number: number.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_asked_to_stop_in_any_phase_keeps_its_state(tmp_path, whole, phase, number):
    folder, (where, nth) = tmp_path / "run", PHASES[phase]
    ended = run(
        "agents.train", [*RUN, f"run={folder}"], tmp_path / "log", Strike(where, nth, number)
    )
    assert ended.code == (0 if phase == "exit" else 130), ended.output
    assert "Traceback" not in ended.output and "Exception" not in ended.output
    if folder.exists():
        assert list_checkpoints(folder / "checkpoints"), list(folder.iterdir())
        ended = run("agents.train", [f"resume={folder}"], tmp_path / "log", None)
        assert ended.code == 0, ended.output
        compare(folder, whole)


COMMANDS = [
    "agents.train",
    "agents.evaluate",
    "agents.collect",
    "agents.probe",
    "agents.evolve",
    "agents.doctor",
    "aef_worldmodel.fit",
    "envs",
    "envs.verify",
]


@pytest.mark.parametrize("number", ASKED, ids=lambda number: number.name)
@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_asked_to_stop_while_it_imports_says_nothing(tmp_path, module, number):
    wait = "import time, sys; sys.modules['torch'] = None; print(1, flush=True); time.sleep(60)"
    (tmp_path / "mujoco.py").write_text(wait)
    (tmp_path / "torch.py").write_text(wait)
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    while process.stdout.readline() != b"1\n":  # the doctor speaks before it imports
        assert process.poll() is None
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode in (-number, 130) and (output, errors) == (b"", b"")
