"""Random command lines in one process: each starts its command or ends in one short sentence."""

import collections
import json
import math
import os
import random
import time

import pytest

from aef_worldmodel import fit
from aef_worldmodel.image_models.config import FitConfig
from aef_worldmodel.utils.config.schema import leaves
from aef_worldmodel.utils.errors import UserError
from agents import collect, evaluate, evolve, probe, train
from agents.config.train import TrainConfig

COLUMNS, ROWS = 120, 3  # a sentence fits into so many rows of a terminal
NUMBERS = "0 1 -1 -0 1e-4 1e9 1e30 1e308 1e309 -1e30 nan inf -inf .inf 0x10 017 1_000 1e -7.5"
WORDS = "null true false yes cpu cuda cuda:99 mpc sac vae aef walker-walk cheetah-run digits gym:x"
PATHS = "/ . .. /dev/null /etc/passwd runs ~ nowhere \\\\host\\share C:\\ /proc/self/mem"
ATTACKS = (
    "${oc.env:HOME}",
    "${hydra:runtime}",
    "$(touch executed)",
    "`touch executed`",
    "; touch executed",
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/name:os.system",
    "__import__('os').system('touch executed')",
    "gym:../evil:X-v0",
    "&a [*a]",
    "{a: {b: {c: 1}}}",
    "[[[1]]]",
    "[1,[2],{3: 4}]",
    "[" * 5_000,
    "{" * 2_000,
    "'",
    '"',
    "a" * 100_000,
    "9" * 5_000,
    "9" * 400,
    "\0",
    "\n\n\n\n",
    "\x1b[2J",
    "é" * 50,
    "日本",
    "\ud800",
    "=",
    "a=b=c",
    "",
    " ",
    "!!binary x",
    "!!timestamp x",
    "? x",
    "- 1",
    "%YAML 9",
    "@",
    "|",
    "1,2,3",
)
VALUES = [*NUMBERS.split(), *WORDS.split(), *PATHS.split(), *ATTACKS]
GROUPS = ("env", "agent", "world_model", "hardware", "lr", "replay", "eval", "plan")
ODD_KEYS = ("", "=", "-h1", "--version", "++env", "~env", "env.", ".env", "env..task", "lr.model.x")
ODD_KEYS += ("steps", "learning_rate", "batch_size", "model_rate", "env.backend", "a" * 9_999, "é")
COMMANDS = {
    "train": (train.main, TrainConfig),
    "evaluate": (evaluate.main, evaluate.EvaluateConfig),
    "collect": (collect.main, collect.CollectConfig),
    "probe": (probe.main, probe.ProbeConfig),
    "evolve": (evolve.main, evolve.EvolveConfig),
    "fit": (fit.main, FitConfig),
}


class Started(Exception):
    """The settings are right and the command begins to work."""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands that end where their work would begin."""

    def start(*args, **kwargs):
        raise Started

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "hold", start)
    monkeypatch.setattr(fit, "hold", start)
    monkeypatch.setattr(collect, "make_envs", start)
    for module in (train, evaluate, collect, probe, evolve):
        monkeypatch.setattr(module.torch, "set_num_threads", lambda count: None)
    return COMMANDS


def misspelt(key, rng):
    at = rng.randrange(len(key))
    return key[:at] + rng.choice(["", "x", key[at] * 2, key[at].upper(), "-"]) + key[at + 1 :]


def word(keys, rng):
    key = rng.choice(keys)
    chance = rng.random()
    if chance < 0.1:
        key = misspelt(key, rng)
    elif chance < 0.15:
        key = rng.choice(ODD_KEYS)
    elif chance < 0.25:
        key = rng.choice(GROUPS)
    text = rng.choice(VALUES)
    if rng.random() < 0.1:
        return rng.choice([key, text, f"{key} = {text}", f"--{key}={text}", f"{key}:{text}"])
    return f"{key}={text}"


def outcome(main, line):
    try:
        main(line)
    except UserError as error:
        rows = sum(math.ceil(len(part) / COLUMNS) for part in f"error: {error}".split("\n"))
        return "sentence" if rows <= ROWS else f"wall: {error}"
    except Started:
        return "started"
    except SystemExit as error:
        return "help" if not error.code else f"traceback: exit {error.code}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"
    return "started"


@pytest.mark.parametrize("lines", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_command_lines(commands, tmp_path, capsys, lines):
    counts, faults = collections.Counter(), collections.Counter()
    begin = time.monotonic()
    for case in range(lines):
        rng = random.Random(case)
        name = rng.choice(list(commands))
        main, kind = commands[name]
        keys = list(leaves(kind))
        line = [word(keys, rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        if rng.random() < 0.3 and name in ("evaluate", "probe", "evolve"):
            line.append("run=nowhere")
        result = outcome(main, line)
        capsys.readouterr()
        counts[result.partition(":")[0]] += 1
        if result.startswith(("traceback", "wall")):
            shown = " ".join(part[:80] for part in line).encode("unicode_escape").decode()
            faults[f"{name} {shown}: {result[:300]}"] += 1
    counts["executed"] = int(any("executed" in names for _, _, names in os.walk(tmp_path)))
    with capsys.disabled():
        print(f"\n{lines} command lines in {time.monotonic() - begin:.0f} s:")
        print(json.dumps({name: counts[name] for name in sorted(counts)}, indent=1))
        for fault in list(faults)[:40]:
            print(fault.encode("unicode_escape").decode())
    bad = ("traceback", "wall", "executed")
    assert {name: counts[name] for name in bad} == dict.fromkeys(bad, 0)
    assert counts["sentence"] > lines / 2 and counts["started"]
