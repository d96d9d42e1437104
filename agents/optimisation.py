"""Optimisers, mixed precision and the refusal of numbers that are not finite."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aef_worldmodel.utils.compiling import compiling
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import WorldModel


class NonFinite(UserError):
    """A loss or gradient that is not a finite number; names the term."""


def refuse_non_finite(terms: dict[str, Tensor]) -> None:
    """Raise NonFinite naming the terms that are not finite. Costs one device synchronisation."""
    values = torch.stack([value.detach().float() for value in terms.values()])
    if not torch.isfinite(values).all():
        bad = [name for name, value in zip(terms, values.tolist()) if not abs(value) < float("inf")]
        raise NonFinite(f"{', '.join(bad)} became {terms[bad[0]].item()} in an update")


def adam(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
    """Return the optimiser of a run's networks."""
    return torch.optim.Adam(list(parameters), rate, betas=(0.9, 0.99), fused=True)


def restore(optimiser: torch.optim.Optimizer, state: dict) -> None:
    """Restore the saved moments; the learning rate stays what the settings say."""
    rate = optimiser.param_groups[0]["lr"]
    optimiser.load_state_dict(state)
    optimiser.param_groups[0]["lr"] = rate


@torch.no_grad()
def lerp_parameters(average: nn.Module, online: nn.Module, rate: float) -> None:
    """Move the parameters of an average by a share of the way to those of the online network."""
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(average.parameters()), list(online.parameters()), rate
    )


def frozen_copy(model: WorldModel, precision: str) -> WorldModel:
    """Return a copy to read from: no gradients, weights in the type that products are made in."""
    copied = copy.deepcopy(model).requires_grad_(False)
    if precision == "bfloat16":
        for module in copied.autocast_modules():
            for part in module.modules():
                if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    part.to(torch.bfloat16)
    return copied


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the parameters of a module to a copy of it, whatever their types."""
    torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
        list(target.parameters()), list(source.parameters())
    )


@contextmanager
def update_kernels(
    device: torch.device, precision: str, compiled: bool, usual: bool = True
) -> Iterator[None]:
    """Compute an update in mixed precision, with compiled functions if `compiled`.

    Batches of another size than `usual` are computed as written: each new size would be compiled.
    """
    with mixed_precision(device, precision), compiling(compiled and usual):
        yield


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context of a run; likelihoods stay in float32.

    Autocast's cache of low-precision weights is off. The cache is shared by all threads: whichever
    side of an update finishes first would clear it under the other, and rounding would depend on
    timing. Without the cache, gradients from repeated uses of a weight also add up in float32.
    """
    low = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=low, cache_enabled=False)
