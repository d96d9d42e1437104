"""Rendered decisions a second, where their time goes, and dm_control beside them, in one run.

    python -m benchmarks.envs [task] [--seconds 4] [--out results/envs_cpu.csv]
    python -m benchmarks.envs [task] --device cuda --out results/envs_gpu.csv
    python -m benchmarks.envs [task] --engine warp --seconds 1    # a GPU's code, slowly, on the CPU

A decision is two control steps and one 64x64 picture. `physics`, `pictures` and `reset` are
measured apart, in milliseconds of wall time for all worlds together: a reset begins an episode in
every world. Memory is that of the process, or of the GPU. `rays` are what a pixel is the mean of:
4 have edges as smooth as dm_control's default, 2 nearly so, 1 has the jagged ones of its "fast".

dm_control runs in processes of its own: as it comes ("default"), without shadows, reflections, sky
and multisampling ("fast"), and as it comes in Gymnasium's AsyncVectorEnv ("async"). Without OSMesa
it is left out, and a line says so. Ratios are to dm_control's default in one process: of decisions
a second, and of CPU time a decision, which holds on a machine that is busy.
"""

import argparse
import gc
import itertools
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import torch

CPU_WORLDS = ("1x1", "8x1", "8x2", "32x1", "32x2", "128x1", "128x2")  # worlds x threads
WARP_WORLDS = ("2", "8")  # on the CPU, only to show that it runs
GPU_WORLDS = ("256", "512", "1024", "2048", "4096", "8192", "16384")
REFERENCES = (("default", 1), ("default", 2), ("fast", 1), ("async", 1))  # kind, processes
ASYNC_WORKERS = 2
PIXELS = 64
REPEAT = 2
RAYS = (1, 2, 4)  # a pixel
WARM_UP = 3  # calls
GIGABYTE = 1e9


def clocks(device: str) -> tuple[float, float]:
    """Seconds of wall time, and of CPU time of this process and its children."""
    if device == "cuda":
        torch.cuda.synchronize()
    used = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    of_children = sum(times.user + times.system for times in used)
    return time.perf_counter(), time.process_time() + of_children


def measure(call, seconds: float, device: str = "cpu") -> tuple[float, float]:
    """Calls for about `seconds`: seconds of wall and of CPU time a call."""
    for _ in range(WARM_UP):
        call()
    calls, (start, cpu) = 0, clocks(device)
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    end, cpu_end = clocks(device)
    return (end - start) / calls, (cpu_end - cpu) / calls


def memory(device: str) -> float:
    """Gigabytes in use: of the GPU by anybody, or by this process."""
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return (total - free) / GIGABYTE
    return psutil.Process().memory_info().rss / GIGABYTE


def ours(task: str, worlds: int, threads: int, rays: int, seconds: float, device: str,
         engine: str) -> dict:
    """A row: our worlds, on one of the engines."""
    import envs

    gc.collect()
    before = memory(device)
    options = {"device": device, "engine": engine, "image_size": PIXELS, "action_repeat": REPEAT}
    env = envs.make(task, worlds, threads=threads, rays=rays, **options)
    env.reset(seed=0)
    actions = (torch.rand(16, *env.action_space.shape) * 2 - 1).to(device)
    turn = iter(range(10**9))
    wall, cpu = measure(lambda: env.step(actions[next(turn) % 16]), seconds, device)
    controls = env._checked(actions[0])
    nobody, everybody = (torch.full((worlds,), value) for value in (False, True))
    parts = {
        "physics_ms": lambda: env._advance(controls),
        "pictures_ms": lambda: env._observer.after_step(began=nobody),
        "reset_ms": lambda: env._start(everybody),
    }
    split = {name: 1e3 * measure(part, seconds / 4, device)[0] for name, part in parts.items()}
    used = memory(device) - before
    env.close()
    found = row(engine, worlds, threads, worlds / wall, cpu / worlds, rays)
    return found | split | {"memory_gb": used}


def row(engine: str, worlds: int, threads: int, rate: float, cpu_seconds: float,
        rays: int | str = "") -> dict:
    """A measurement; what was not measured is left empty."""
    return {
        "engine": engine,
        "worlds": worlds,
        "threads": threads,
        "rays": rays,
        "decisions_per_s": rate,
        "cpu_ms_per_decision": 1e3 * cpu_seconds,
        "physics_ms": "",
        "pictures_ms": "",
        "reset_ms": "",
        "memory_gb": "",
    }


def dm_control(task: str, fast: bool, seconds: float) -> tuple[float, float]:
    """dm_control stepping and drawing one world, by its own physics.render."""
    from envs import reference
    from envs.suite import make_task

    env, camera = reference.load(task, seed=0, pictures=True), make_task(task).camera
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

    wall, cpu = measure(step, seconds)
    return 1 / wall, cpu


def asynchronous(task: str, seconds: float) -> tuple[float, float]:
    """dm_control in Gymnasium's AsyncVectorEnv, a process a world."""
    import envs

    options = {"backend": "dm_control", "image_size": PIXELS, "action_repeat": REPEAT}
    env = envs.make(task, ASYNC_WORKERS, threads=ASYNC_WORKERS, **options)
    env.reset()
    actions = torch.rand(16, *env.action_space.shape) * 2 - 1
    turn = iter(range(10**9))
    wall, cpu = measure(lambda: env.step(actions[next(turn) % 16]), seconds)
    env.close()
    return ASYNC_WORKERS / wall, cpu / ASYNC_WORKERS


def references(task: str, seconds: float) -> list[dict]:
    """dm_control's rows, its default in one process first; empty if software GL is missing."""
    rows = []
    for kind, processes in REFERENCES:
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
        count = ASYNC_WORKERS if kind == "async" else processes
        rate, cpu = float(results[:, 0].sum()), float(results[:, 1].mean())
        rows.append(row(f"dm_control {kind}", count, count, rate, cpu))
        show(rows[-1])
    return rows


def show(found: dict) -> None:
    """Prints a row."""
    line = (
        f"{found['engine']:18s} {found['worlds']:5d} worlds {found['threads']} threads "
        f"{found['rays']!s:>2s} rays {found['decisions_per_s']:9.1f} decisions/s "
        f"{found['cpu_ms_per_decision']:7.3f} CPU ms"
    )
    if found["physics_ms"] != "":
        parts = (f"{found[f'{k}_ms']:.2f} {k}" for k in ("physics", "pictures", "reset"))
        line += f"; ms: {', '.join(parts)}; {found['memory_gb']:.2f} GB"
    print(line, flush=True)


def compared(rows: list[dict], task: str, base: dict | None, busy: float) -> list[dict]:
    """The rows with their ratios to dm_control's default in one process."""
    found = []
    for one in rows:
        rate = one["decisions_per_s"] / base["decisions_per_s"] if base else ""
        cpu = base["cpu_ms_per_decision"] / one["cpu_ms_per_decision"] if base else ""
        ratios = {"ratio": rate, "cpu_ratio": cpu, "busy": busy}
        found.append({"task": task} | one | ratios)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", nargs="?", default="cheetah-run")
    parser.add_argument("--seconds", type=float, default=4.0, help="a configuration is timed for")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--engine", choices=("c", "warp"), help="c on the CPU unless told")
    parser.add_argument("--worlds", nargs="+", metavar="N[xTHREADS]", help="instead of the usual")
    parser.add_argument("--rays", nargs="+", type=int, default=RAYS, help="of each size")
    parser.add_argument("--out", type=Path, help="CSV to keep the rows in")
    kinds = [kind for kind, _ in REFERENCES]
    parser.add_argument("--reference", choices=kinds, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    task, seconds, device = options.task, options.seconds, options.device
    if options.reference == "async":
        print(*asynchronous(task, seconds))
        return
    if options.reference:
        print(*dm_control(task, options.reference == "fast", seconds))
        return
    from envs import measured
    from envs.checks import checked_device

    checked_device(device)
    measured.check(options.out, compared([row("", 0, 0, 0.0, 0.0)], task, None, 0.0)[0])
    busy = os.getloadavg()[0]
    print(f"{measured.hardware(device)}; load average {busy:.1f} before the run", flush=True)
    rows = references(task, seconds)
    base = rows[0] if rows else None
    engine = options.engine or {"cpu": "c", "cuda": "warp"}[device]
    on_cpu = CPU_WORLDS if engine == "c" else WARP_WORLDS
    usual = on_cpu if device == "cpu" else GPU_WORLDS
    words = [task, "--seconds", str(seconds), "--device", device, "--engine", engine]
    words += ["--worlds", *options.worlds] if options.worlds else []
    words += ["--rays", *map(str, options.rays)]
    command = " ".join(["python -m benchmarks.envs", *words])
    sizes = itertools.product(options.rays, options.worlds or usual)
    for rays, (worlds, _, threads) in ((n, size.partition("x")) for n, size in sizes):
        size = (int(worlds), int(threads or 1), rays)
        rows.append(ours(task, *size, seconds, device, engine))
        show(rows[-1])
        if options.out:  # at once: a larger size may not fit into memory
            measured.write(options.out, compared(rows, task, base, busy), command, device)
    for rays in options.rays if base else ():
        mine = [one for one in compared(rows, task, base, busy) if one["rays"] == rays]
        best = max(one["ratio"] for one in mine)
        print(
            f"best of {rays} rays: {best:.1f} times the decisions a second of dm_control's "
            f"default in one process, with {max(one['cpu_ratio'] for one in mine):.1f} times less "
            "CPU time"
        )


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
