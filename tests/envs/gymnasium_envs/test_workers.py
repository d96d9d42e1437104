"""Environments that fail, in this process and in processes of their own."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from third_party import Dot, Still, Thoughtful

import envs
from envs.gymnasium_envs import EnvironmentFailure, GymnasiumVectorEnv
from envs.gymnasium_envs.workers import kill

HELPERS = Path(__file__).parents[2] / "helpers"


def play(fault, threads, **options):
    task = f"gym:third_party:Faulty-v0?fault={fault}"
    env = envs.make(task, 2, action_repeat=1, image_size=8, threads=threads, **options)
    try:
        env.reset()
        for _ in range(5):
            env.step(torch.zeros(2, 1))
    finally:
        env.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("constructor", r"its constructor raised KeyError: 'no such road'\."),
        ("reset", r"reset raised StopIteration in tests/helpers/third_party\.py:\d+\."),
        ("value", r"step raised ValueError: probabilities do not sum to 1\."),
        ("stop", r"step raised StopIteration in tests/helpers/third_party\.py:\d+\."),
        ("exit", r"step raised SystemExit: 3\."),
    ],
)
def test_any_exception_names_the_environment(fault, text, threads, capfd):
    sentence = rf"^gym:third_party:Faulty-v0 \(environment 0\): {text}$"
    with pytest.raises(EnvironmentFailure, match=sentence):
        play(fault, threads)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_process_that_dies_is_named(capfd):
    sentence = r"Faulty-v0 \(environments \[0\]\): their process died with exit code -9"
    with pytest.raises(EnvironmentFailure, match=sentence):
        play("kill", threads=2)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_process_that_hangs_is_named_and_ended():
    begin = time.monotonic()
    with pytest.raises(EnvironmentFailure, match=r"\[0\]\) did not answer within 2 seconds"):
        play("hang", threads=2, timeout=2.0)
    assert time.monotonic() - begin < 30
    assert not psutil.Process().children()


def test_torch_in_processes_does_not_hang():
    """After a fork, torch's pool of threads exists in the parent only."""
    code = (
        "import torch; from third_party import Thoughtful; from envs import GymnasiumVectorEnv\n"
        "torch.set_num_threads(2); torch.randn(3000, 3000).sin().sum()\n"
        "env = GymnasiumVectorEnv(Thoughtful, 2, threads=2, time_limit=9); env.reset(); env.close()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    environment.pop("OMP_NUM_THREADS", None)
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=True)
    assert Thoughtful  # it is imported by its name


def test_processes_end_with_their_parent():
    code = (
        "import os, signal; from third_party import Stubborn; from envs import GymnasiumVectorEnv\n"
        "env = GymnasiumVectorEnv(Stubborn, 3, threads=3, time_limit=9); env.reset()\n"
        "print(*[group.process.pid for group in env._groups], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, timeout=120, capture_output=True, text=True
    )
    processes = [int(word) for word in done.stdout.split()]
    assert len(processes) == 3 and done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in processes if _is_alive(pid)]


def _is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_python_ends_though_processes_ignore_sigterm():
    code = (
        "from third_party import Stubborn; from envs import GymnasiumVectorEnv\n"
        "env = GymnasiumVectorEnv(Stubborn, 2, threads=2, time_limit=9); env.reset()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=True)


def test_a_process_does_not_answer_signals_as_its_parent_does():
    """A run that saves when a terminal closes or a scheduler ends its group needs its processes."""
    handlers = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        env = GymnasiumVectorEnv(Dot, 2, threads=2, time_limit=9)
        env.reset()
        process = env._groups[0].process
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.pid, number)
            env.step(torch.zeros(2, 1))
        env.close()
        assert process.exitcode == 0
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_processes_are_ended_by_the_process_that_started_them_alone():
    """A fork inherits the finaliser of environments that it did not make."""
    env = GymnasiumVectorEnv(Still, 2, threads=2, time_limit=9)
    processes = [group.process for group in env._groups]
    kill(processes, os.getpid() + 1)
    assert env.reset()[0].shape == (2, 3, 64, 64)
    kill(processes, os.getpid())
    processes[0].join(20)
    assert processes[0].exitcode == -signal.SIGKILL
    env.close()


def test_copies_share_processes():
    env = GymnasiumVectorEnv(functools.partial(Still), 5, threads=2, time_limit=9)
    assert len(env._groups) == 2 and env.reset()[0].shape == (5, 3, 64, 64)
    env.close()
    assert all(group.process.exitcode is not None for group in env._groups)
