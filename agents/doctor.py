"""`python -m agents.doctor`: what this machine has, what a run would use, what would go wrong.

Words as for training (`hardware=cpu replay_rows=100000`) examine that run. The exit code is 0 when
it would start, 1 otherwise. Only the standard library is imported before it is known to be there.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "aef-worldmodel"
GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    """What was looked at."""
    text: str
    """What is there."""
    remedy: str = ""
    """What to do about it; a finding with a remedy is a problem that keeps a run from starting."""

    def __str__(self) -> str:
        """The line, and the remedy below it."""
        mark = "BAD" if self.remedy else "ok "
        line = f"{mark}  {self.topic:<12} {self.text}"
        return f"{line}\n{'':18}-> {self.remedy}" if self.remedy else line


def requirements() -> list[str]:
    """What this package needs, from its metadata or, in a checkout, from pyproject.toml."""
    try:
        return importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        path = Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(path.read_text())["project"]["dependencies"]


def check_python() -> Iterable[Finding]:
    """Interpreter and operating system."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    remedy = "" if sys.version_info >= (3, 11) else "use Python 3.11 or newer"
    yield Finding("python", text, remedy)


def check_packages() -> Iterable[Finding]:
    """Every required package against its bounds."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("packages", "not installed", "pip install -e .  (in the checkout's folder)")
        return
    for requirement in map(Requirement, requirements()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_package(requirement)


def _check_package(requirement) -> Finding:
    remedy = f"pip install '{requirement}'"
    bounds = f"(needs {requirement.specifier})" if requirement.specifier else ""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, f"not installed {bounds}", remedy)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(requirement.name, f"{version} {bounds}", "" if fits else remedy)


def check_torch() -> Iterable[Finding]:
    """Devices and the CPU's fast types."""
    import torch

    from agents.hardware import cores, cpu_features

    found = [name for name, present in cpu_features().items() if present]
    yield Finding("cpu", f"{cores()} cores for this process; {', '.join(found) or 'no AVX2'}")
    if not torch.cuda.is_available():
        yield Finding("gpu", f"none that torch {torch.__version__} can use; not needed")
        return
    free, total = torch.cuda.mem_get_info()
    memory = f"{free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free"
    yield Finding("gpu", f"{torch.cuda.get_device_name()}, {memory}")


def check_warp() -> Iterable[Finding]:
    """The renderer's compiler, its cache, and whether it sees the GPU that torch sees."""
    import torch
    import warp

    import envs.quiet_warp  # noqa: F401

    cache = Path(warp.config.kernel_cache_dir)
    remedy = "" if os.access(cache, os.W_OK) else f"make {cache} writable, or set WARP_CACHE_PATH"
    yield Finding("warp", f"compiled kernels are kept in {cache}", remedy)
    if torch.cuda.is_available() and not warp.is_cuda_available():
        yield Finding(
            "warp",
            "does not see the GPU that torch sees",
            "update NVIDIA's driver (warp 1.19 wants R580 or newer), or train with hardware=cpu",
        )


def check_ffmpeg() -> Iterable[Finding]:
    """The program that writes films."""
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
        yield Finding("ffmpeg", " ".join(told.stdout.split()[:3]))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        remedy = "pip install --force-reinstall imageio-ffmpeg"
        yield Finding("ffmpeg", f"does not run ({error})", remedy)


def check_gl() -> Iterable[Finding]:
    """OpenGL, which only the dm_control reference renderer wants."""
    found = [name for name in ("EGL", "OSMesa", "GL") if ctypes.util.find_library(name)]
    yield Finding("OpenGL", f"{', '.join(found) or 'none'}; not needed")


def check_run(words: Sequence[str]) -> Iterable[Finding]:
    """What the run would use, and whether the replay fits."""
    from aef_worldmodel.errors import UserError
    from agents.config import load
    from agents.hardware import describe
    from agents.train import run_folder

    try:
        config = load(words)
        config.check_learns()
    except UserError as error:
        yield Finding("settings", str(error), "correct the command line")
        return
    yield Finding("settings", f"env={config.env.task}, {describe(config.hardware)}")
    if not config.resume:
        try:
            run_folder(config)
        except UserError as error:
            yield Finding("run", str(error), "correct the command line")
    rows = min(config.replay_rows, config.frames // config.env.action_repeat)
    rows += 2 * min(config.checkpoint_every, config.frames) // config.env.action_repeat
    needed = rows * 3 * config.env.image_size**2
    place = Path(config.resume or config.run or ".").absolute()
    yield _check_room("disk", next(p for p in (place, *place.parents) if p.exists()), needed)
    yield _check_memory(needed if config.hardware.replay == "memory" else 0)
    yield from check_environment(config)


def _check_room(topic: str, folder: Path, needed: float) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / GIGABYTE:.1f} GB free in {folder}, the replay needs {needed / GIGABYTE:.1f} GB"
    if not os.access(folder, os.W_OK):
        return Finding(topic, f"{folder} cannot be written", "run from a folder you may write to")
    remedy = "free some space, or give a smaller replay_rows=..." if needed > free else ""
    return Finding(topic, text, remedy)


def _check_memory(replay: float) -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    needed = 2 * GIGABYTE + replay
    text = f"{memory.available / GIGABYTE:.1f} of {memory.total / GIGABYTE:.1f} GB available"
    remedy = "close other programs, or give hardware.replay=disk and hardware.num_envs=4"
    return Finding("memory", text, remedy if memory.available < needed else "")


def check_environment(config) -> Iterable[Finding]:
    """Two worlds of the task are made, stepped and drawn, and what learns from them is made, as
    training would."""
    import torch

    from aef_worldmodel.errors import UserError
    from agents.roster import make_learner
    from agents.worlds import has_choices, make_worlds

    start = time.perf_counter()
    try:
        env = make_worlds(config.env, 2, config.hardware)
        env.reset()
        actions = env.single_action_space.shape[0]
        frames = env.step(torch.zeros(2, actions, device=config.hardware.device))[0]
        make_learner(config, tuple(frames.shape[1:]), actions, has_choices(env))
        env.close()
    except UserError as error:
        yield Finding("environment", str(error), "correct the command line")
        return
    except Exception as error:  # whatever it is, the report must name it and go on
        told = str(error).strip().splitlines() or ["no message"]
        remedy = "see docs/ for what the environments need, or report this line"
        yield Finding("environment", f"{type(error).__name__}: {told[0]}", remedy)
        return
    seconds, size = time.perf_counter() - start, tuple(frames.shape[1:])
    yield Finding("environment", f"{config.env.task} steps and draws {size} in {seconds:.1f} s")


def examine(words: Sequence[str]) -> Iterable[Finding]:
    """All findings, in order; those that need packages only once the packages are right."""
    sound = True
    for check in (check_python, check_packages):
        for finding in check():
            sound &= not finding.remedy
            yield finding
    if sound:
        checks = [check_torch, check_warp, check_ffmpeg, check_gl, lambda: check_run(words)]
        for check in checks:
            yield from _guarded(check)


def _guarded(check: Callable[[], Iterable[Finding]]) -> Iterable[Finding]:
    """A package that is installed but does not start is a finding, too."""
    try:
        yield from check()
    except (ImportError, OSError) as error:
        told = str(error).strip().splitlines() or ["no message"]
        topic = (getattr(error, "name", None) or "package").split(".")[0]
        remedy = f"pip install --force-reinstall {topic}, in a fresh virtual environment"
        yield Finding(topic, f"is installed but does not start ({told[0]})", remedy)


def main(words: Sequence[str]) -> int:
    """Print the report; 0 when training would run, 1 otherwise."""
    problems = 0
    for finding in examine(words):
        print(finding, flush=True)
        problems += bool(finding.remedy)
    if problems:
        print(f"\n{problems} problem{'s' * (problems > 1)} would keep training from running.")
        return 1
    print("\nTraining would run: python -m agents.train", *words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
