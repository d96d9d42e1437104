"""A batch of replayed sequences: what world models and agents learn from.

Row t of a sequence holds frame x_t, the reward that arrived with the frame, and the action a_t
taken on seeing it. Shapes: B sequences, T rows, K later rows, A action, H recurrent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

FUTURE_FIELDS = ("reward", "terminal", "first")  # of the rows after a sequence's first


class FutureRows(NamedTuple):
    """The K rows after the first row of each sequence, as far as they are recorded; (B, K) each."""

    reward: Tensor
    terminal: Tensor  # bool
    first: Tensor  # bool
    valid: Tensor  # bool: the row is recorded


@dataclass(frozen=True)
class Batch:
    """Sequences of replayed rows."""

    frame: Tensor  # (B, T, C, H, W) uint8
    action: Tensor  # (B, T, A) float32 in [-1, 1]
    reward: Tensor  # (B, T)
    first: Tensor  # (B, T) bool: an episode begins in this row
    terminal: Tensor  # (B, T) bool: the episode ended in this state
    recurrent: Tensor  # (B, T, H) recurrent states stored when the rows were last filtered
    future: FutureRows | None = None  # for critics that learn from long returns

    @classmethod
    def from_rows(cls, rows: Mapping[str, Tensor], future: FutureRows | None = None) -> Batch:
        """Return the batch of rows as `Replay.sample` names them; other names are left out."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "future"]
        return cls(**{name: rows[name] for name in names}, future=future)

    def apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor changed."""
        future = None if self.future is None else FutureRows(*map(change, self.future))
        rows = {name: value for name, value in vars(self).items() if name != "future"}
        return Batch(**{name: change(value) for name, value in rows.items()}, future=future)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self.apply(lambda value: value.to(device))

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors by name, future rows as `future_<name>`."""
        rows = {name: value for name, value in vars(self).items() if name != "future"}
        future = {} if self.future is None else self.future._asdict()
        return rows | {f"future_{name}": value for name, value in future.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Batch:
        """Return the batch that `state_dict` saved."""
        names = [f"future_{name}" for name in FutureRows._fields]
        future = FutureRows(*(state[name] for name in names)) if names[0] in state else None
        return cls.from_rows(state, future)
