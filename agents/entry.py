"""How every command of this package starts and ends."""

from aef_worldmodel.entry import run

__all__ = ["run"]
