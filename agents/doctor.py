"""`python -m agents.doctor`: what this machine has, what a run would use, what would go wrong.

Words as for training (`hardware=cpu replay.capacity=100000`) examine that run. The exit code is 0
if the run would start, 1 otherwise. Other packages are imported only once they are known to be
installed.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aef_worldmodel.utils.command import as_typed, run_command

GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    """The subject."""
    text: str
    """The state of the subject."""
    remedy: str = ""
    """What to do; a finding with a remedy is a problem that keeps a run from starting."""

    def __str__(self) -> str:
        """Return the line, and the remedy below it."""
        mark = "BAD" if self.remedy else "ok "
        line = f"{mark}  {self.topic:<12} {self.text}"
        return f"{line}\n{'':18}-> {self.remedy}" if self.remedy else line


def requirements() -> list[str]:
    """Return what training needs, the extra [train] included, from pyproject.toml."""
    path = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["train"]]


def check_python() -> Iterable[Finding]:
    """Check the interpreter; name the operating system."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    remedy = "" if sys.version_info >= (3, 11) else "use Python 3.11 or newer"
    yield Finding("python", text, remedy)


def check_packages() -> Iterable[Finding]:
    """Check every required package against its bounds."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding(
            "packages", "not installed", "pip install -e '.[train]'  (in the checkout's folder)"
        )
        return
    for requirement in map(Requirement, requirements()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_package(requirement)


def _check_package(requirement: Any) -> Finding:
    remedy = f"pip install '{requirement}'"
    bounds = f"(needs {requirement.specifier})" if requirement.specifier else ""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, f"not installed {bounds}", remedy)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(requirement.name, f"{version} {bounds}", "" if fits else remedy)


def check_torch() -> Iterable[Finding]:
    """Report devices and the CPU's fast types."""
    import torch

    from agents.config.hardware import cores, cpu_features, native_bfloat16

    found = [name for name, present in cpu_features().items() if present]
    quick = native_bfloat16(torch.device("cpu"))
    slow = "" if quick else "; no bfloat16: updates take about four times as long"
    text = f"{cores()} cores for this process; {', '.join(found) or 'no AVX2'}{slow}"
    yield Finding("cpu", text)
    if not torch.cuda.is_available():
        yield Finding("gpu", f"none that torch {torch.__version__} can use; not needed")
        return
    free, total = torch.cuda.mem_get_info()
    memory = f"{free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free"
    yield Finding("gpu", f"{torch.cuda.get_device_name()}, {memory}")


def check_compiler() -> Iterable[Finding]:
    """Say whether updates can be compiled; a run works without, more slowly."""
    from aef_worldmodel.utils.compiling import compile_problem

    problem = compile_problem()
    if problem is None:
        yield Finding("compiler", "torch.compile works: updates of longer runs are compiled")
    else:
        text = f"torch.compile does not work here, updates run as written ({problem})"
        yield Finding("compiler", f"{text}; a C++ compiler, for instance g++, makes them faster")


def check_warp() -> Iterable[Finding]:
    """Check the renderer's compiler and its cache, and that it sees the GPU that torch sees."""
    import torch
    import warp

    import envs.engines.quiet_warp  # noqa: F401

    cache = Path(str(warp.config.kernel_cache_dir))
    remedy = "" if os.access(cache, os.W_OK) else f"make {cache} writable, or set WARP_CACHE_PATH"
    yield Finding("warp", f"compiled kernels are kept in {cache}", remedy)
    if torch.cuda.is_available() and not warp.is_cuda_available():
        yield Finding(
            "warp",
            "does not see the GPU that torch sees",
            "update NVIDIA's driver (warp 1.19 wants R580 or newer), or train with hardware=cpu",
        )


def check_ffmpeg() -> Iterable[Finding]:
    """Check the program that writes films."""
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        output = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
        yield Finding("ffmpeg", " ".join(output.stdout.split()[:3]))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        remedy = "pip install --force-reinstall imageio-ffmpeg"
        yield Finding("ffmpeg", f"does not run ({error})", remedy)


def check_gl() -> Iterable[Finding]:
    """Report OpenGL, which only dm_control: and some gym: tasks need, and a bad MUJOCO_GL."""
    import envs

    found = [name for name in ("EGL", "OSMesa", "GL") if ctypes.util.find_library(name)]
    refused = envs.opengl.refused
    ignored = f"; {refused}, so it is ignored: unset it, or set it to egl" if refused else ""
    yield Finding("OpenGL", f"{', '.join(found) or 'none'}; not needed{ignored}")


def check_run(words: Sequence[str]) -> Iterable[Finding]:
    """Report what the run would use; check that its replay buffer fits."""
    from aef_worldmodel.utils.errors import UserError
    from agents.config.hardware import describe
    from agents.config.train import load
    from agents.training.runs import run_folder

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
    rows = min(config.replay.capacity, config.frames // config.env.action_repeat)
    rows += 2 * min(config.checkpoint_every, config.frames) // config.env.action_repeat
    needed = rows * 3 * config.env.image_size**2
    place = Path(config.resume or config.run or ".").absolute()
    yield _check_room("disk", next(p for p in (place, *place.parents) if p.exists()), needed)
    yield _check_memory()
    yield from check_environment(config)


def _check_room(topic: str, folder: Path, needed: float) -> Finding:
    free = shutil.disk_usage(folder).free
    wanted = f"the replay buffer needs {needed / GIGABYTE:.1f} GB"
    text = f"{free / GIGABYTE:.1f} GB free in {folder}, {wanted}"
    if not os.access(folder, os.W_OK):
        return Finding(
            topic, f"{folder} cannot be written", "run from a folder that you can write to"
        )
    remedy = "free some space, or give a smaller replay.capacity=..." if needed > free else ""
    return Finding(topic, text, remedy)


def _check_memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / GIGABYTE:.1f} of {memory.total / GIGABYTE:.1f} GB available"
    remedy = "close other programs, or give hardware.num_envs=4"
    return Finding("memory", text, remedy if memory.available < 2 * GIGABYTE else "")


def check_environment(config: Any) -> Iterable[Finding]:
    """Make, step and render the task's environments, and make a learner for them."""

    from aef_worldmodel.utils.errors import UserError
    from agents.learning.build import make_learner
    from agents.playing.env_factory import is_discrete, make_envs

    try:
        env = make_envs(config.env, config.hardware.num_envs, config.hardware)
        frames, _ = env.reset()
        actions, size = env.single_action_space.shape[0], tuple(frames.shape[1:])
        make_learner(config, size, actions, is_discrete(env))
        pace = frames_per_second(env, config.env.action_repeat)
        env.close()
    except UserError as error:
        yield Finding("environment", str(error), "correct the command line")
        return
    except Exception as error:  # whatever it is, the report must name it and continue
        remedy = "see docs/how-to/doctor.md, or report this line"
        yield Finding("environment", f"{type(error).__name__}: {_first_line(error)}", remedy)
        return
    text = f"{config.env.task} steps and renders {size}, {pace:,.0f} frames a second"
    yield Finding("environment", f"{text}{_picture(frames[0])}")
    yield from _check_images(config.env.task)


def _check_images(task: str) -> Iterable[Finding]:
    """Say whether a task of the suite is drawn as it was for the published results."""
    from envs.verification.frames import compared, kept_rows

    if task in kept_rows():
        yield Finding("images", compared(task)[1])


def frames_per_second(env: Any, action_repeat: int, least: float = 1.0) -> float:
    """Return how many frames all environments make in a second, measured for `least` seconds."""
    import torch

    shape = (env.num_envs, env.single_action_space.shape[0])
    still = torch.zeros(shape, device=env.device)
    env.step(still)  # compiles
    start, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - start < least:
        env.step(still)
        steps += 1
    return steps * env.num_envs * action_repeat / (time.perf_counter() - start)


def _picture(frame: Any) -> str:
    """Write a frame (3, H, W) to a temporary file and return words that name it."""
    from aef_worldmodel.viz.video import write_png

    try:
        handle, path = tempfile.mkstemp(prefix="aef-doctor-", suffix=".png")
        os.close(handle)
        write_png(Path(path), frame.permute(1, 2, 0).cpu())
    except Exception:  # a picture is no condition of training
        return ""
    return f"; its picture is {path}"


def examine(words: Sequence[str]) -> Iterable[Finding]:
    """Yield all findings in order; those that need packages only once the packages are right."""
    sound = True
    for check in (check_python, check_packages):
        for finding in check():
            sound &= not finding.remedy
            yield finding
    if sound:
        checks = [check_torch, check_compiler, check_warp, check_ffmpeg, check_gl]
        checks.append(lambda: check_run(words))
        for check in checks:
            yield from _guarded(check)


def _guarded(check: Callable[[], Iterable[Finding]]) -> Iterable[Finding]:
    """Yield a check's findings; a package that is installed but does not start is one, too."""
    try:
        yield from check()
    except (ImportError, OSError) as error:
        topic = (getattr(error, "name", None) or "package").split(".")[0]
        remedy = f"pip install --force-reinstall {topic}, in a fresh virtual environment"
        yield Finding(topic, f"is installed but does not start ({_first_line(error)})", remedy)


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or ["no message"])[0]


def main(words: Sequence[str]) -> int:
    """Print the report; return 0 if training would run, 1 otherwise."""
    problems = 0
    for finding in examine(words):
        print(finding, flush=True)
        problems += bool(finding.remedy)
    if problems:
        print(f"\n{problems} problem{'s' * (problems > 1)} would keep training from running.")
        return 1
    print("\nTraining would run:", as_typed("agents.train", *words))
    return 0


if __name__ == "__main__":
    run_command(main)
