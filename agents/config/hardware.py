"""The machine, and the part of it that a run uses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch

from aef_worldmodel.utils.config.schema import ConfigError, check_bounds, shown
from envs.checks import cores


@dataclass(frozen=True)
class HardwareConfig:
    """The machine; `hardware=auto`, the default, is gpu where torch sees CUDA, else cpu."""

    device: str = "cpu"
    """Device of networks, imagination and environments: cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads of torch and of the environments; null for one for each core that the process
    may use."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number type of convolutions; auto takes bfloat16 where the device computes it natively."""
    compile: bool | None = None
    """Compile updates with torch.compile: a minute or two of work at the first run, kept for later
    ones. null does so on a CPU with a C++ compiler where the run is long enough to gain."""
    num_envs: int = 8
    """Environments that are stepped together."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, threads=(1, 1_024), num_envs=(1, 65_536))


def choose_profile() -> tuple[str, str]:
    """Return the preset that `hardware=auto` stands for here, and the reason as a clause."""
    if torch.cuda.is_available():
        return "gpu", f"torch sees {torch.cuda.get_device_name()}"
    return "cpu", f"torch {torch.__version__} sees no CUDA device"


def describe(config: HardwareConfig) -> str:
    """Return one line for the terminal: what is used and why."""
    return (
        f"{config.device} ({choose_profile()[1]}), {config.threads} threads, "
        f"{config.precision} convolutions, {config.num_envs} environments"
    )


def resolve(config: HardwareConfig) -> HardwareConfig:
    """Return the settings with threads and precision filled in for this machine.

    Raises:
        ConfigError: the device does not exist here.
    """
    device = _device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    return dataclasses.replace(config, threads=config.threads or cores(), precision=precision)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"hardware.device={shown(name)} is unknown: use cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"hardware.device={shown(name)} is not here (torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices): use hardware=cpu, or install a CUDA "
            "build of torch and NVIDIA's driver"
        )
    return device


def cpu_features() -> dict[str, bool]:
    """Return which instruction sets that decide the fastest type the CPU has, as torch reports."""
    names = {
        "AVX2": "_is_avx2_supported",
        "AVX-512": "_is_avx512_supported",
        "AVX-512 bfloat16": "_is_avx512_bf16_supported",
        "AMX": "_is_amx_tile_supported",
    }
    return {name: bool(getattr(torch.cpu, probe, bool)()) for name, probe in names.items()}


def native_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    features = cpu_features()
    return features["AVX-512 bfloat16"] or features["AMX"]
