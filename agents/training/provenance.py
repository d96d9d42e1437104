"""Provenance of a measured number: the command, the commit and the machine."""

from collections.abc import Sequence
from pathlib import Path

import torch

from aef_worldmodel.utils.command import as_typed
from agents.config.hardware import HardwareConfig
from envs.verification.measured import commit, processor

__all__ = ["command", "commit", "machine", "provenance"]


def provenance(module: str, argv: Sequence[str], hardware: HardwareConfig) -> dict[str, str]:
    """Return command, commit and hardware of a row of results.

    Args:
        module: the command's module, for instance "agents.probe".
        argv: its arguments.
        hardware: resolved settings of the machine.
    """
    return {"command": command(module, argv), "commit": commit(), "hardware": machine(hardware)}


def machine(hardware: HardwareConfig) -> str:
    """Return the processor or GPU that a command runs on, in words."""
    name = processor(hardware.device)
    if torch.device(hardware.device).type == "cuda":
        return name
    threads = "thread" if hardware.threads == 1 else "threads"
    return f"{name}, {hardware.threads} {threads}, {hardware.precision}"


def command(module: str, argv: Sequence[str]) -> str:
    """Return the command line, with folders of runs by their last name only."""
    pairs = [word.partition("=") for word in argv]
    short = [f"{k}{e}{Path(v).name if k in ('run', 'resume') else v}" for k, e, v in pairs]
    return as_typed(module, *short)
