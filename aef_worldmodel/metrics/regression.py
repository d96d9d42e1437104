"""Measures of latents: regressions from them and their effective rank."""

from collections.abc import Callable

import torch
from torch import Tensor

from aef_worldmodel.nn.layers import mlp

PENALTIES = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)  # of ridge, for inputs of unit variance
HIDDEN, STEPS, BATCH = 128, 600, 256  # of the probing network


def r_squared(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - squared error / variance of the columns of (M, P); NaN for a constant truth."""
    error = (predicted - truth).square().sum(0)
    total = (truth - truth.mean(0)).square().sum(0)
    return torch.where(total > 1e-8 * len(truth), 1 - error / total, torch.nan)


def ridge(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Return the ridge regression of y (M, P) on x (M, F), evaluated at `at` (K, F): (K, P).

    The penalty is that of `PENALTIES` which predicts the last fifth of the rows best.
    """
    (x, at), (y, back) = standardised(x, at), standardised_targets(y)
    cut = len(x) * 4 // 5
    errors = [(x[cut:] @ _weights(x[:cut], y[:cut], p) - y[cut:]).square().sum() for p in PENALTIES]
    best = PENALTIES[int(torch.stack(errors).argmin())]
    return back(at @ _weights(x, y, best))


def _weights(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve(gram, x.T @ y)  # (F, P)


def network_regression(x: Tensor, y: Tensor, at: Tensor, seed: int = 0) -> Tensor:
    """Return what `ridge` does, by two hidden layers trained for `STEPS` updates of AdamW."""
    (x, at), (y, back) = standardised(x, at), standardised_targets(y)
    x, y, at = x.float(), y.float(), at.float()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = mlp(x.shape[1], y.shape[1], HIDDEN, 2).to(x.device)
        optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.1)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (BATCH,), device=x.device)
            loss = (network(x[rows]) - y[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return back(network(at).double())


def standardised(x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return both (., F) in float64, by the mean and standard deviation of x."""
    x, at = x.double(), at.double()
    mean, std = x.mean(0), x.std(0).clamp(min=1e-8)
    return (x - mean) / std, (at - mean) / std


def standardised_targets(y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return y (M, P) of unit variance in float64, and the function that inverts this."""
    y = y.double()
    mean, std = y.mean(0), y.std(0).clamp(min=1e-8)
    return (y - mean) / std, lambda predicted: predicted * std + mean


def effective_rank(x: Tensor) -> float:
    """Return exp of the entropy of the covariance's spectrum of x (M, d): 1 to d dimensions."""
    x = x.double()
    spectrum = torch.linalg.svdvals(x - x.mean(0)).square()
    share = spectrum / spectrum.sum()
    return torch.special.entr(share).sum().exp().item()
