"""Where a measured number comes from: the command, the commit and the machine."""

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch

from agents.hardware import HardwareConfig


def commit() -> str:
    """The checkout's commit, with "+" if files under version control differ from it; "unknown"
    outside a checkout."""
    here = Path(__file__).parent
    name = _git(here, "rev-parse", "--short", "HEAD")
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{name}{'+' if changed else ''}" if name else "unknown"


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine(hardware: HardwareConfig) -> str:
    """The processor or GPU a command ran on, in words."""
    if torch.device(hardware.device).type == "cuda":
        return torch.cuda.get_device_name(hardware.device)
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    threads = "thread" if hardware.threads == 1 else "threads"
    return f"{name}, {hardware.threads} {threads}, {hardware.autocast}"


def command(module: str, words: Sequence[str]) -> str:
    """The command line with folders by their last name, so that it names no machine's paths."""
    pairs = [word.partition("=") for word in words]
    short = [f"{k}{e}{Path(v).name if k in ('run', 'resume') else v}" for k, e, v in pairs]
    return " ".join([f"python -m {module}", *short])
