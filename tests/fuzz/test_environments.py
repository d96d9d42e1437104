"""Bad environments, in one process and in two of their own: one sentence or a clean run.

Counts are printed (`pytest -s`): tracebacks 0, hangs 0.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SECONDS = 120  # of one environment: longer is a hang
SEED = 0
PLAY = """
import sys, warnings
import torch, envs
warnings.simplefilter("ignore")
torch.set_num_threads(1)
for fault in sys.argv[2:]:
    env = None
    try:
        task = f"gym:bad_environments:Bad-v0?fault={fault}"
        threads = int(sys.argv[1])
        env = envs.make(task, 2, threads=threads, action_repeat=2, image_size=16, timeout=5.0)
        env.reset(seed=0)
        torch.manual_seed(0)
        for _ in range(12):
            if env.num_choices:
                action = torch.randint(0, env.num_choices, (2,))
            else:
                action = 2 * torch.rand(env.action_space.shape) - 1
            obs, reward, *_ = env.step(action)
            assert obs.shape == (2, 3, 16, 16) and torch.isfinite(reward).all()
        print(f"{fault}\\tplayed", flush=True)
    except (envs.EnvironmentFailure, ValueError) as error:
        assert type(error).__name__ in ("EnvironmentFailure", "ValueError")
        print(f"{fault}\\t{error}", flush=True)
    finally:
        if env is not None:
            env.close()
"""
ENDS_PROCESS = ("killed", "segfault", "os_exit")  # nothing can outlive them in one process
HANGS = ("hang", "reset_hang")  # in one process there is no one to notice


def outcomes(threads, faults):
    """Play all in one process; return its lines by fault, its errors, and whether it hung."""
    paths = [str(ROOT), str(ROOT / "tests" / "helpers")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, "-c", PLAY, str(threads), *faults]
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=SECONDS * 3
        )
    except subprocess.TimeoutExpired:
        return {}, "", True
    lines = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    return lines, done.stderr, False


@pytest.mark.parametrize("threads", [1, 2])
def test_bad_environments_are_one_sentence_each(threads):
    from bad_environments import FAULTS, PLAYED

    faults = list(FAULTS)
    assert len(faults) >= 40
    random.Random(SEED).shuffle(faults)
    skipped = {*ENDS_PROCESS, *HANGS} if threads == 1 else set()
    lines, errors, hung = outcomes(threads, [f for f in faults if f not in skipped])
    tracebacks = errors.count("Traceback")
    print(f"\n{threads} process(es): {len(lines)} environments, tracebacks {tracebacks}, ", end="")
    print(f"hangs {int(hung)}, played {sum(line == 'played' for line in lines.values())}")
    for fault, line in sorted(lines.items()):
        print(f"  {fault}: {line}")
    assert not tracebacks and not hung, errors[-2000:]
    assert lines.keys() == set(faults) - skipped
    played = {fault for fault, line in lines.items() if line == "played"}
    assert played == PLAYED & lines.keys()
    for fault in lines.keys() - played:
        assert lines[fault].startswith("gym:bad_environments:Bad-v0"), lines[fault]
        assert lines[fault].count("\n") == 0 and len(lines[fault]) < 700
