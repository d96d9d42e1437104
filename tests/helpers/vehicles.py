"""Settings of a made-up command, with everything that settings can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from aef_worldmodel.utils.registry import Registry, Selectable

ENGINES: Registry[Any] = Registry("engine")


@dataclass(frozen=True)
class EngineConfig(Selectable):
    """What drives a cart."""

    registry: ClassVar[Registry[Any]] = ENGINES


@dataclass(frozen=True)
class SteamConfig(EngineConfig):
    """A steam engine."""

    kind: Literal["steam"] = "steam"
    """The engine's name."""
    pressure: float = 2.0
    """Pressure in bar."""

    def __post_init__(self):
        if self.pressure < 0:
            raise ValueError(f"pressure={self.pressure} must be at least 0")


@dataclass(frozen=True)
class TurbineConfig(SteamConfig):
    """A steam turbine."""

    kind: Literal["turbine"] = "turbine"  # type: ignore[assignment]
    """The engine's name."""
    blades: int = 8
    """Number of blades."""


@dataclass(frozen=True)
class HorseConfig(EngineConfig):
    """A horse."""

    kind: Literal["horse"] = "horse"
    """The engine's name."""
    breed: str | None = None
    """Breed; null for any."""


for config in (SteamConfig, TurbineConfig, HorseConfig):
    ENGINES.register(config.kind)(type(config.__name__, (), {"Config": config}))


@dataclass(frozen=True)
class Wheel:
    """A wheel."""

    size: float = 0.5
    """Radius in metres."""
    shape: Literal["round", "square"] = "round"
    """Shape of the wheel."""


@dataclass(frozen=True)
class Cart:
    """Settings of a cart."""

    wheel: Wheel = field(default_factory=Wheel)
    """Its
    wheel."""
    engine: EngineConfig = field(default_factory=lambda: EngineConfig.select("steam"))
    """What drives it."""
    spare: EngineConfig | None = None
    """What drives it otherwise."""
    name: str = "cart"
    """Its name."""
    owner: str | None = None
    """Its owner; null for none."""
    seats: int = 2
    """Number of seats."""
    roof: bool = False
    """Whether it has a roof."""
    weights: tuple[float, ...] = (1.0,)
    """Loads in kilograms."""
    tags: tuple[str, ...] = ()
    """Labels."""
    place: tuple[int, str] | None = None
    """Row and street; null for none."""
    resume: str | None = None
    """Folder of a cart to go on with."""


@dataclass(frozen=True)
class Needy:
    """Settings without a default."""

    size: float
    """Size in metres."""
