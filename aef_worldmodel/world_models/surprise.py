"""Surprise: how likely a frame is given all before, as a stream, and how unusual that is.

    monitor = Surprise(model, count=8)
    seen = monitor.step(action, frames)      # nats a frame, in three parts
    p = calibration.p_values(seen)           # two-sided: too likely alarms as well

A frame's log-density has three parts: `prior`, log p(z_t | h_t, z_(t-1)), which only a change of
the dynamics can lower; `volume`, the log-determinant of the encoder; and `pixels`, what the decoder
says of the rest of the image. Each is compared with the values of episodes the model was not
trained on. A density can be unusually high: a black frame is easy to explain, and yet no frame of
the task. So a p-value is two-sided, as in tests of typicality (Nalisnick et al., "Detecting
out-of-distribution inputs to deep generative models using typicality", 2019).

Shapes: N environments, T decisions, A action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.world_models.base import State, WorldModel


class Surprisal(NamedTuple):
    """Log-densities of one frame in each of N environments, nats (N,) each."""

    prior: Tensor  # of the latent, given what was before
    volume: Tensor  # log-determinant of encoder and preprocessing
    pixels: Tensor  # the decoder's log-density of the rest of the image
    first: Tensor  # bool: an episode begins with the frame

    @property
    def total(self) -> Tensor:
        """log p(x_t | x_<t, a_<t), (N,)."""
        return self.prior + self.volume + self.pixels


PARTS = ("prior", "volume", "pixels")


def observe_scored(
    model: WorldModel, state: State, action: Tensor, frames: Tensor, first: Tensor
) -> tuple[State, Surprisal]:
    """Filter one step to the states of `model.observe`, and score the frames.

    A bound is computed from a draw, but the states are the usual ones, and torch's random numbers
    stay as they were. The arguments are those of `WorldModel.observe`.
    """
    if model.likelihood != "bound":
        seen, parts = model.observe_log_prob(state, action, frames, first)
        return seen, Surprisal(*parts, first)
    own = [frames.device] if frames.device.type == "cuda" else []
    with torch.random.fork_rng(own):
        parts = model.observe_log_prob(state, action, frames, first)[1]
    return model.observe(state, action, frames, first), Surprisal(*parts, first)


class Surprise:
    """Scores frames as they come, in N environments at once; one filter step for each frame.

    Args:
        model: a world model whose `observe_log_prob` is implemented; `model.likelihood` names what
            its numbers are.
        count: N.
    """

    def __init__(self, model: WorldModel, count: int = 1) -> None:
        self.model, self.count = model, count
        self.reset()

    def reset(self) -> None:
        """Forget everything: episodes begin with the next frames."""
        self.state = self.model.initial(self.count)
        self._begun = False

    @torch.no_grad()
    def step(self, action: Tensor, frames: Tensor, first: Tensor | None = None) -> Surprisal:
        """Return the log-densities of new frames.

        Args:
            action: taken on the frames before, (N, A); not used where an episode begins.
            frames: (N, C, H, W) uint8.
            first: where an episode begins, (N,) bool; None for nowhere but in the first step.

        Raises:
            ValueError: another number of environments.
        """
        if len(frames) != self.count or len(action) != self.count:
            raise ValueError(
                f"{len(frames)} frames and {len(action)} actions for a monitor of {self.count} "
                "environments: give one of each for every environment"
            )
        if first is None:
            first = torch.full((self.count,), not self._begun, device=frames.device)
        self._begun = True
        self.state, parts = self.model.observe_log_prob(self.state, action, frames, first)
        return Surprisal(*parts, first)

    def episodes(self, frames: Tensor, actions: Tensor) -> list[Surprisal]:
        """Return the log-densities of whole episodes, a decision at a time.

        frames (N, T, C, H, W) uint8 from an episode's start; actions (N, T, A) taken on them.
        """
        self.reset()
        before = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
        return [self.step(before[:, t], frames[:, t]) for t in range(frames.shape[1])]


class Calibration:
    """The usual values of each part, from episodes that the model was not trained on.

    First frames of episodes have values of their own: nothing came before them.

    Args:
        values: "prior", "volume", "pixels" -> (K,) nats of later frames; "first_prior", ... -> (F,)
            of first frames.

    Raises:
        ValueError: a part is missing or empty.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        names = [*PARTS, *(f"first_{part}" for part in PARTS)]
        lacking = [name for name in names if name not in values or not values[name].numel()]
        if lacking:
            raise ValueError(f"a calibration needs values of {', '.join(lacking)}: give episodes")
        self.values = {name: values[name].detach().double().cpu().sort().values for name in names}

    @classmethod
    def of(cls, seen: Iterable[Surprisal], alive: Iterable[Tensor] | None = None) -> Calibration:
        """Return the calibration on scored frames; `alive` (N,) bool says which of them count."""
        found: dict[str, list[Tensor]] = {}
        seen = list(seen)
        masks = [torch.ones_like(s.first) for s in seen] if alive is None else list(alive)
        for step, mask in zip(seen, masks, strict=True):
            for part in PARTS:
                values, first, counts = (x.cpu() for x in (getattr(step, part), step.first, mask))
                found.setdefault(part, []).append(values[counts & ~first])
                found.setdefault(f"first_{part}", []).append(values[counts & first])
        return cls({name: torch.cat(values) for name, values in found.items()})

    def p_values(self, seen: Surprisal) -> dict[str, Tensor]:
        """Return two-sided p-values (N,) of each part, and of all parts as "any".

        A part's is twice the share of usual values at least as extreme on its side, counting the
        new one among them; "any" is the smallest times three (Bonferroni). Under usual frames the
        chance of a value of at most a is at most a.
        """
        found = {}
        for part in PARTS:
            new = getattr(seen, part).detach().double().cpu()
            later = self._two_sided(self.values[part], new)
            begin = self._two_sided(self.values[f"first_{part}"], new)
            found[part] = torch.where(seen.first.cpu(), begin, later)
        smallest = torch.stack(list(found.values())).min(0).values
        return found | {"any": (smallest * len(PARTS)).clamp(max=1)}

    @staticmethod
    def _two_sided(usual: Tensor, new: Tensor) -> Tensor:
        below = torch.searchsorted(usual, new, right=True)  # usual values <= new
        above = len(usual) - torch.searchsorted(usual, new)  # usual values >= new
        share = (torch.minimum(below, above) + 1).double() / (len(usual) + 1)
        return (2 * share).clamp(max=1)

    def save(self, path: str | Path) -> None:
        """Write the values to an .npz file."""
        with atomic_write(Path(path), "wb") as file:
            arrays: dict[str, Any] = {name: v.numpy() for name, v in self.values.items()}
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote. Raises UserError for a file that is no calibration."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls({name: torch.from_numpy(file[name]) for name in file.files})
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise UserError(
                f"{path} is not a calibration ({type(error).__name__}): give a file that "
                "Calibration.save wrote"
            ) from error
