"""Rendered decisions a second, beside dm_control with software GL, in one run.

    python -m benchmarks.envs [task] [--seconds 4] [--out results/envs_cpu.csv]

A decision is two control steps and one 64x64 picture. dm_control runs in processes of its own, as
it comes ("default") and without shadows, reflections, sky and multisampling ("fast"); without
OSMesa it is left out, and a line says so. Ratios are to dm_control's default in one process: of
decisions a second, and of CPU time a decision, which holds on a machine that is busy.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

SIZES = ((1, 1), (8, 1), (8, 2), (32, 1), (32, 2), (128, 1), (128, 2))  # worlds, threads
PIXELS = 64
REPEAT = 2
FIELDS = (
    "task",
    "engine",
    "worlds",
    "threads",
    "decisions_per_s",
    "cpu_ms_per_decision",
    "ratio",
    "cpu_ratio",
)
COLUMNS = (*FIELDS, "busy", "hardware", "commit", "command")


def measure(step, decisions: int, seconds: float) -> tuple[float, float]:
    """Calls `step` for about `seconds`: decisions a second, and CPU milliseconds a decision."""
    step()
    calls, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        step()
        calls += 1
    total = calls * decisions
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return total / wall, 1e3 * cpu / total


def ours(task: str, worlds: int, threads: int, seconds: float) -> tuple[float, float]:
    """The C engine and the ray tracer."""
    import envs

    env = envs.make(task, worlds, threads=threads, image_size=PIXELS, action_repeat=REPEAT)
    env.reset(seed=0)
    actions = torch.rand(16, *env.action_space.shape) * 2 - 1
    turn = iter(range(10**9))
    result = measure(lambda: env.step(actions[next(turn) % 16]), worlds, seconds)
    env.close()
    return result


def dm_control(task: str, fast: bool, seconds: float) -> tuple[float, float]:
    """dm_control stepping and drawing one world, by its own physics.render."""
    warnings.simplefilter("ignore")
    from envs import reference
    from envs.suite import make_task

    env, camera = reference.load(task, seed=0), make_task(task).camera
    env.reset()
    bounds = env.action_spec()
    generator = np.random.default_rng(0)
    options = {}
    if fast:
        import mujoco

        env.physics.model.vis.quality.offsamples = 0
        off = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE")
        flags = {getattr(mujoco.mjtRndFlag, f"mjRND_{name}"): False for name in off}
        options = {"render_flag_overrides": flags}

    def step() -> None:
        action = generator.uniform(bounds.minimum, bounds.maximum)
        for _ in range(REPEAT):
            if env.step(action).last():
                env.reset()
        env.physics.render(PIXELS, PIXELS, camera_id=camera, **options)

    return measure(step, 1, seconds)


def reference_rows(task: str, seconds: float) -> list[tuple]:
    """dm_control in one and in two processes at once; empty if software GL is missing."""
    rows = []
    for kind, processes in (("default", 1), ("default", 2), ("fast", 1)):
        command = [sys.executable, "-m", "benchmarks.envs", task, "--reference", kind]
        command += ["--seconds", str(seconds)]
        environment = os.environ | {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running = [subprocess.Popen(command, env=environment, **pipes) for _ in range(processes)]
        outputs = [process.communicate() for process in running]
        if any(process.returncode for process in running):
            why = outputs[0][1].strip().splitlines()[-1]
            print(f"dm_control is left out, it does not draw here ({why}): install libosmesa6.")
            return []
        results = np.array([[float(x) for x in out.split()[-2:]] for out, _ in outputs])
        rows.append((f"dm_control {kind}", processes, processes, results[:, 0].sum(),
                     results[:, 1].mean()))  # fmt: skip
        show(rows[-1])
    return rows


def show(row: tuple) -> None:
    engine, worlds, threads, rate, cpu = row
    print(f"{engine:20s} {worlds:4d} worlds {threads} threads {rate:9.1f} decisions/s "
          f"{cpu:7.3f} CPU ms each", flush=True)  # fmt: skip


def hardware() -> str:
    """The processor's name, and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def commit() -> str:
    """The commit this runs from, marked if files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="cheetah-run")
    parser.add_argument("--seconds", type=float, default=4.0, help="a configuration is timed for")
    parser.add_argument("--out", type=Path, help="CSV to append to")
    parser.add_argument("--reference", choices=("default", "fast"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.reference:
        print(*dm_control(options.task, options.reference == "fast", options.seconds))
        return
    busy = os.getloadavg()[0]
    print(f"{hardware()}; load average {busy:.1f} before the run", flush=True)
    rows = reference_rows(options.task, options.seconds)
    base = rows[0][3:] if rows else None
    for worlds, threads in SIZES:
        rows.append(("c", worlds, threads, *ours(options.task, worlds, threads, options.seconds)))
        show(rows[-1])
    if base:
        best = max(row[3] for row in rows if row[0] == "c") / base[0]
        least = base[1] / min(row[4] for row in rows if row[0] == "c")
        print(
            f"best: {best:.1f} times the decisions a second of dm_control's default in one process,"
        )
        print(f"with {least:.1f} times less CPU time a decision")
    if options.out:
        write(options, rows, base, busy)


def write(options, rows: list[tuple], base: tuple | None, busy: float) -> None:
    new = not options.out.exists()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.envs {options.task} --seconds {options.seconds}"
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        for engine, worlds, threads, rate, cpu in rows:
            ratios = (f"{rate / base[0]:.2f}", f"{base[1] / cpu:.2f}") if base else ("", "")
            numbers = (f"{rate:.1f}", f"{cpu:.3f}", *ratios, f"{busy:.1f}")
            where = (hardware(), commit(), command)
            writer.writerow((options.task, engine, worlds, threads, *numbers, *where))


if __name__ == "__main__":
    main()
