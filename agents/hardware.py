"""What the machine offers, and which of it a run uses."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Literal

import torch

from agents.schema import ConfigError


@dataclass(frozen=True)
class HardwareConfig:
    """How a run uses its machine."""

    profile: Literal["cpu", "gpu"] = "cpu"
    """The profile's name; `hardware=auto` picks one."""
    device: str = "cpu"
    """Where networks, imagination and environments run: cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads of torch and of the environments; null for one a core this process may use."""
    autocast: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type of convolutions: auto takes bfloat16 where the device computes it natively."""
    num_envs: int = 8
    """Worlds that are stepped together."""
    replay: Literal["disk", "memory", "cuda"] = "disk"
    """Where the replay's rows are read from (see aef_worldmodel.replay)."""


def choose_profile() -> tuple[str, str]:
    """The profile `hardware=auto` stands for, and why, in words."""
    if torch.cuda.is_available():
        return "gpu", f"torch sees {torch.cuda.get_device_name()}"
    return "cpu", f"torch {torch.__version__} sees no CUDA device"


def describe(config: HardwareConfig) -> str:
    """One line for the terminal: what is used and why."""
    name, reason = choose_profile()
    why = reason if config.profile == name else f"asked for; {reason}"
    return (
        f"hardware={config.profile} ({why}): {config.device}, {config.threads} threads, "
        f"{config.autocast} convolutions, {config.num_envs} worlds, replay in {config.replay}"
    )


def resolve(config: HardwareConfig) -> HardwareConfig:
    """Fill in what depends on the machine: threads and autocast.

    Raises:
        ConfigError: the device does not exist here, or the settings contradict each other.
    """
    device = _device(config.device)
    if config.replay == "cuda" and device.type != "cuda":
        raise ConfigError("hardware.replay=cuda needs hardware.device=cuda; use disk or memory")
    for name in ("threads", "num_envs"):
        if getattr(config, name) is not None and getattr(config, name) < 1:
            raise ConfigError(f"hardware.{name}={getattr(config, name)} must be at least 1")
    autocast = config.autocast
    if autocast == "auto":
        autocast = "bfloat16" if native_bfloat16(device) else "float32"
    return dataclasses.replace(config, threads=config.threads or cores(), autocast=autocast)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"hardware.device={name} is unknown: use cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"hardware.device={name} is not here (torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices): use hardware=cpu, or install a CUDA "
            "build of torch and NVIDIA's driver"
        )
    return device


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_features() -> dict[str, bool]:
    """Instruction sets that decide which type is fast on the CPU, as torch reports them."""
    names = {
        "AVX2": "_is_avx2_supported",
        "AVX-512": "_is_avx512_supported",
        "AVX-512 bfloat16": "_is_avx512_bf16_supported",
        "AMX": "_is_amx_tile_supported",
    }
    return {name: bool(getattr(torch.cpu, probe, bool)()) for name, probe in names.items()}


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    features = cpu_features()
    return features["AVX-512 bfloat16"] or features["AMX"]
