"""Physics that failed: counted, and warned about once for each kind."""

import warnings

import torch
from torch import Tensor

REMEDY = {
    "contact_overflow": "raise the task's needs_contacts",
    "constraint_overflow": "raise the task's needs_rows",
    "non_finite": "the physics diverged: check the model, its timestep and the actions",
}
MOST_LISTED = 8  # environments in a warning


class FaultCounter:
    """Counts failures of N environments by kind.

    Args:
        num_envs: N.

    Attributes:
        counts: number of failures since the start, by kind.
    """

    def __init__(self, num_envs: int):
        self._num_envs = num_envs
        self.counts = dict.fromkeys(REMEDY, 0)

    def update(self, faults: dict[str, Tensor], stacklevel: int = 2) -> Tensor:
        """Count faults, kind to (N,) bool, and return the environments with any, (N,) bool."""
        failed = torch.zeros(self._num_envs, dtype=torch.bool)
        for kind, mask in faults.items():
            mask = mask.cpu()
            count = int(mask.sum())
            if count and not self.counts[kind]:
                which = mask.nonzero()[:MOST_LISTED, 0].tolist()
                text = f"{kind} in environments {which}: {REMEDY[kind]}."
                warnings.warn(text, stacklevel=stacklevel + 1)
            self.counts[kind] += count
            failed |= mask
        return failed
