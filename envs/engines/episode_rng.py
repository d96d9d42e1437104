"""Random numbers of episodes: the same for an episode whatever it is batched with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class EpisodeRng:
    """Random numbers for the K environments being reset.

    Row k depends only on the seed and the episode number of its environment. An episode is
    therefore the same whatever the number of environments, and whichever are reset together.

    Args:
        seeds: of the environments, integers (K,).
        episodes: their episode numbers, integers (K,).
        device: where the numbers go.
        dtype: their floating type.
        stream: each stream gives other numbers for the same episodes.
    """

    def __init__(
        self,
        seeds: Tensor,
        episodes: Tensor,
        device: torch.device,
        dtype: torch.dtype,
        stream: int = 0,
    ):
        pairs = zip(seeds.tolist(), episodes.tolist(), strict=True)
        self._generators = [np.random.default_rng((*pair, stream)) for pair in pairs]
        self.device, self.dtype = device, dtype

    def __len__(self) -> int:
        return len(self._generators)

    def __getitem__(self, rows: Tensor) -> EpisodeRng:
        """Select rows (a mask or indices); their streams continue."""
        part = object.__new__(EpisodeRng)
        indices = torch.arange(len(self))[rows.cpu()].tolist()
        part._generators = [self._generators[i] for i in indices]
        part.device, part.dtype = self.device, self.dtype
        return part

    def _stack(self, values: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(self.device, self.dtype)

    def uniform(self, low, high, *shape: int) -> Tensor:
        """Return numbers uniform on [low, high): (K, *shape)."""
        return self._stack([np.asarray(g.uniform(low, high, shape)) for g in self._generators])

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers: (K, *shape)."""
        return self._stack([np.asarray(g.standard_normal(shape)) for g in self._generators])
