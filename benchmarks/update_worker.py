"""A learner with one batch, and the seconds that its updates take.

`benchmarks.learner against=REV` runs this source in the folders of two checkouts, so it works with
the code of commit 0f2081c as well as with today's:

    python -c SOURCE DEVICE THREADS PRECISION COMPILE BATCH_SIZE SEQUENCE_LENGTH

It reads the number of updates from each line of standard input and prints their seconds; after the
line `profile` it prints where the time of an update goes, as JSON.
"""

import dataclasses
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SHAPE, ACTIONS = (3, 64, 64), 6


def make(
    device: str, threads: int, precision: str, size: int, length: int, compile: bool | None = False
) -> tuple[Any, Any]:
    """Return a learner with default settings but for these, and a batch for `learner.update`."""
    torch.manual_seed(0)
    torch.set_num_threads(max(1, threads // 2))  # two sides of an update share them
    machine: dict[str, Any] = {"device": device, "threads": threads}
    if importlib.util.find_spec("agents.learning") is None:
        return make_earlier(machine, precision, size, length)
    return make_today(machine | {"compile": compile}, precision, size, length)


def make_today(machine: dict[str, Any], precision: str, size: int, length: int) -> tuple[Any, Any]:
    """Return learner and batch since the folder agents/learning exists."""
    from aef_worldmodel.data.batch import Batch, FutureRows
    from agents.config.hardware import HardwareConfig
    from agents.config.sections import ReplayConfig
    from agents.config.train import TrainConfig
    from agents.learning.build import compiles, make_learner

    hardware = HardwareConfig(**machine, precision=precision)
    replay = ReplayConfig(batch_size=size, sequence_length=length)
    config = TrainConfig(hardware=hardware, replay=replay)
    learner = make_learner(config, SHAPE, ACTIONS, compiled=compiles(config))
    rows = make_rows(size, length, learner.model.state_dims[0])
    future = FutureRows(*make_future(size, learner.agent.future_rows).values())
    return learner, Batch.from_rows(rows, future).to(learner.device)


def make_earlier(
    machine: dict[str, Any], precision: str, size: int, length: int
) -> tuple[Any, Any]:
    """Return learner and batch at commit 0f2081c."""
    from agents.hardware import HardwareConfig
    from agents.learner import Learner

    from agents.config import TrainConfig

    config = TrainConfig(hardware=HardwareConfig(**machine, autocast=precision))
    learner = Learner(dataclasses.replace(config, batch=size, length=length), SHAPE, ACTIONS)
    rows = make_rows(size, length, config.world_model.recurrent_dim)
    future = make_future(size, learner.rows_after)
    rows |= {f"{name}_after": value for name, value in future.items()}
    return learner, {name: value.to(learner.device) for name, value in rows.items()}


def make_rows(size: int, length: int, recurrent_dim: int) -> dict[str, Tensor]:
    """Return random rows (B, T, ...) of one episode that goes on."""
    never = torch.zeros(size, length, dtype=torch.bool)
    return {
        "frame": torch.randint(0, 256, (size, length, *SHAPE), dtype=torch.uint8),
        "action": torch.rand(size, length, ACTIONS),
        "reward": torch.rand(size, length),
        "first": never,
        "terminal": never,
        "recurrent": torch.zeros(size, length, recurrent_dim),
    }


def make_future(size: int, count: int) -> dict[str, Tensor]:
    """Return the rows (B, K) after the first ones."""
    never = torch.zeros(size, count, dtype=torch.bool)
    reward = torch.rand(size, count)
    return {"reward": reward, "terminal": never, "first": never, "there": ~never}


PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
COPIES = ("aten::copy_", "aten::index_select", "aten::cat")


def profile(learner: Any, batch: Any, updates: int = 5) -> dict[str, float]:
    """Return the share of each kind of work in the profiled time of an update, and its FLOPs.

    The shares are of the time of all threads together.
    """
    from torch.profiler import ProfilerActivity
    from torch.utils.flop_counter import FlopCounterMode

    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(updates):
            learner.update(batch, act=True)
    times = dict.fromkeys(("products", "copies", "other operations", "compiled", "between"), 0.0)
    for event in found.key_averages():
        if event.key in PRODUCTS:
            kind = "products"
        elif event.key in COPIES:
            kind = "copies"
        elif event.key.startswith("aten::"):
            kind = "other operations"
        elif "CompiledFxGraph" in event.key:
            kind = "compiled"
        else:
            kind = "between"
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    with FlopCounterMode(display=False) as counter:
        written = getattr(learner, "compiled", False)
        if written:  # operations are counted as they are written
            learner.compiled = False
            learner.agent.spec = dataclasses.replace(learner.agent.spec, kernels=learner.kernels)
        learner.update(batch, act=True)
    shares = {name: value / total for name, value in times.items()}
    return shares | {"gigaflop": counter.get_total_flops() / 1e9}


def main(argv: list[str]) -> None:
    """Time updates until standard input ends."""
    import agents

    assert Path(str(agents.__file__)).is_relative_to(Path.cwd()), "another checkout is imported"
    device, threads, precision, compile, size, length = argv
    learner, batch = make(
        device, int(threads), precision, int(size), int(length), json.loads(compile)
    )
    for line in sys.stdin:
        if line.strip() == "profile":
            print(json.dumps(profile(learner, batch)), flush=True)
            continue
        begin = time.perf_counter()
        for _ in range(int(line)):
            learner.update(batch, act=True)
        if learner.device.type == "cuda":
            torch.cuda.synchronize()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
