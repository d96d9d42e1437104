"""Rendered decisions a second, and how long each part takes: `python -m benchmarks.envs`.

    python -m benchmarks.envs task=cheetah-run out=results/envs_cpu.csv
    python -m benchmarks.envs device=cuda out=results/envs_gpu.csv
    python -m benchmarks.envs engine=warp seconds=1    # the code of a GPU, slowly, on the CPU

A decision is two control steps and one 64x64 image. Columns of the table:

    worlds, threads         environments that are stepped together, and threads that render
    rays                    of a pixel: 4 have edges as smooth as dm_control's default, 2 nearly so,
                            1 has the jagged ones of its "fast"
    physics_ms, pictures_ms, reset_ms   wall time of all environments together; a reset begins an
                            episode in each
    memory_gb               of the process, or of the GPU
    ratio, cpu_ratio        to dm_control's default in one process, measured in the same run: of
                            decisions a second, and of CPU time a decision, which holds on a machine
                            that is busy

dm_control runs in processes of its own: as it is ("default"), without shadows, reflections, sky and
multisampling ("fast"), and as it is in two processes that step together ("async"). Without OSMesa
it is left out, and a line says so.
"""

import gc
import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import psutil
import torch

import envs
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_positive
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.training.provenance import command, commit
from benchmarks.dm_control import ASYNC_WORKERS, PIXELS, REPEAT
from benchmarks.timing import mean_seconds
from envs.verification.measured import hardware

CPU_SIZES = ("1x1", "8x1", "8x2", "32x1", "32x2", "128x1", "128x2")  # environments x threads
WARP_SIZES = ("2", "8")  # on the CPU, only to show that it runs
GPU_SIZES = ("256", "512", "1024", "2048", "4096", "8192", "16384")
REFERENCES = (("default", 1), ("default", 2), ("fast", 1), ("async", 1))  # variant, processes
GIGABYTE = 1e9
KEY = ("task", "engine", "worlds", "threads", "rays", "hardware")
Row = dict[str, Any]


@dataclass(frozen=True)
class EnvsConfig:
    """Settings of `python -m benchmarks.envs`."""

    task: str = "cheetah-run"
    """Task of `python -m envs`."""
    seconds: float = 4.0
    """How long each size is timed."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of physics and images."""
    engine: Literal["c", "warp"] | None = None
    """Physics: null for c on the CPU and warp on a GPU."""
    sizes: tuple[str, ...] = ()
    """Environments and threads, for instance [1x1,8x2]; without any the usual ones."""
    samples: tuple[int, ...] = (1, 2, 4)
    """Rays per pixel, each with every size."""
    out: str | None = None
    """The CSV; null for none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_positive(self, "seconds")
        for size in self.sizes:
            if not all(part.isdecimal() for part in size.split("x", 1)):
                raise ValueError(f"sizes={size} is wrong: give environments x threads, as 8x2")

    @property
    def simulator(self) -> str:
        """The engine that is used."""
        return self.engine or {"cpu": "c", "cuda": "warp"}[self.device]

    @property
    def usual_sizes(self) -> Sequence[str]:
        """The sizes that suit device and engine."""
        on_cpu = CPU_SIZES if self.simulator == "c" else WARP_SIZES
        return on_cpu if self.device == "cpu" else GPU_SIZES


def memory(device: str) -> float:
    """Return gigabytes in use: of the GPU by any process, or of the CPU by this one."""
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return (total - free) / GIGABYTE
    return psutil.Process().memory_info().rss / GIGABYTE


# -- ours ----------------------------------------------------------------------------------


def ours(asked: EnvsConfig, count: int, threads: int, samples: int) -> Row:
    """Return the row of `count` of our environments."""
    gc.collect()
    device, before = asked.device, memory(asked.device)
    env = envs.make(
        asked.task,
        count,
        device=device,
        engine=asked.simulator,
        image_size=PIXELS,
        action_repeat=REPEAT,
        threads=threads,
        samples_per_pixel=samples,
    )
    env.reset(seed=0)
    actions = [action.to(device) for action in torch.rand(16, *env.action_space.shape) * 2 - 1]
    turns = itertools.cycle(actions)
    wall, cpu = mean_seconds(lambda: env.step(next(turns)), asked.seconds)
    controls = env._control(actions[0])
    none, all_envs = (torch.full((count,), value) for value in (False, True))
    parts = {
        "physics_ms": lambda: env._advance(controls),
        "pictures_ms": lambda: env._observer.after_step(started=none),
        "reset_ms": lambda: env._start(all_envs),
    }
    split = {n: 1e3 * mean_seconds(part, asked.seconds / 4)[0] for n, part in parts.items()}
    used = memory(device) - before
    env.close()
    found = row(asked.simulator, count, threads, count / wall, cpu / count, samples)
    return found | split | {"memory_gb": used}


def row(
    engine: str, count: int, threads: int, rate: float, cpu_seconds: float, samples: int | str = ""
) -> Row:
    """Return a measurement; what was not measured is left empty."""
    return {
        "engine": engine,
        "worlds": count,
        "threads": threads,
        "rays": samples,
        "decisions_per_s": rate,
        "cpu_ms_per_decision": 1e3 * cpu_seconds,
        "physics_ms": "",
        "pictures_ms": "",
        "reset_ms": "",
        "memory_gb": "",
    }


# -- dm_control ----------------------------------------------------------------------------


def references(asked: EnvsConfig) -> list[Row]:
    """Return dm_control's rows, its default in one process first; [] if it cannot render here."""
    rows = []
    for variant, processes in REFERENCES:
        words = [f"task={asked.task}", f"variant={variant}", f"seconds={asked.seconds}"]
        words = [sys.executable, "-m", "benchmarks.dm_control", *words]
        environment = os.environ | {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running = [subprocess.Popen(words, env=environment, **pipes) for _ in range(processes)]
        outputs = [process.communicate() for process in running]
        if any(process.returncode for process in running):
            reason = outputs[0][1].strip().splitlines()[-1]
            print(f"dm_control is left out, it cannot draw here ({reason}): install libosmesa6")
            return []
        results = np.array([[float(x) for x in out.split()[-2:]] for out, _ in outputs])
        count = ASYNC_WORKERS if variant == "async" else processes
        rate, cpu = float(results[:, 0].sum()), float(results[:, 1].mean())
        rows.append(row(f"dm_control {variant}", count, count, rate, cpu))
        show(rows[-1])
    return rows


# -- the table -----------------------------------------------------------------------------


def show(found: Row) -> None:
    """Print a row."""
    line = (
        f"{found['engine']:18s} {found['worlds']:5d} environments {found['threads']} threads "
        f"{found['rays']!s:>2s} rays {found['decisions_per_s']:9.1f} decisions/s "
        f"{found['cpu_ms_per_decision']:7.3f} CPU ms"
    )
    if found["physics_ms"] != "":
        parts = (f"{found[f'{k}_ms']:.2f} {k}" for k in ("physics", "pictures", "reset"))
        line += f"; ms: {', '.join(parts)}; {found['memory_gb']:.2f} GB"
    print(line, flush=True)


def compared(found: Row, base: Row | None) -> Row:
    """Return a row with its ratios to dm_control's default in one process, where measured."""
    if base is None:
        return found | {"ratio": "", "cpu_ratio": ""}
    rate = found["decisions_per_s"] / base["decisions_per_s"]
    cpu = base["cpu_ms_per_decision"] / found["cpu_ms_per_decision"]
    return found | {"ratio": rate, "cpu_ratio": cpu}


def run(asked: EnvsConfig, table: Table | None, source: Row) -> list[Row]:
    """Measure everything; a row is in the table at once, as a larger size may not fit memory."""
    rows: list[Row] = []
    base: Row | None = None

    def keep(found: Row) -> None:
        rows.append(compared(found, base))
        if table is not None:
            table.add({"task": asked.task} | rows[-1] | source)

    for found in references(asked):
        base = base or found
        keep(found)
    for samples, size in itertools.product(asked.samples, asked.sizes or asked.usual_sizes):
        count, _, threads = size.partition("x")
        found = ours(asked, int(count), int(threads or 1), samples)
        show(found)
        keep(found)
    return rows


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the rows."""
    asked = settings.load(argv, EnvsConfig, "benchmarks.envs")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = Table(asked.out, KEY) if asked.out else None
    busy = os.getloadavg()[0]
    try:
        origin = {"hardware": hardware(asked.device), "commit": commit()}
        print(f"{origin['hardware']}; load average {busy:.1f} before the run", flush=True)
        origin |= {"command": command("benchmarks.envs", argv)}
        rows = run(asked, table, {"busy": busy} | origin)
    except (ValueError, envs.EnvironmentFailure) as error:
        raise UserError(str(error)) from error
    for samples in asked.samples:
        mine = [found for found in rows if found["rays"] == samples and found["ratio"] != ""]
        if mine:
            print(
                f"best of {samples} rays: {max(found['ratio'] for found in mine):.1f} times the "
                "decisions a second of dm_control's default in one process, with "
                f"{max(found['cpu_ratio'] for found in mine):.1f} times less CPU time"
            )
    return 0


if __name__ == "__main__":
    run_command(main)
