"""Scores of unusual frames from trained runs: exact log-likelihood and its rivals.

Each function returns name -> scores (N, T) of videos: frames (N, T, C, H, W) uint8 from the start
of episodes, and the actions (N, T, A) taken on them. Larger is more unusual. The rivals have the
networks of the runs they come from: the same encoder, decoder and sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.world_models.base import State
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel
from aef_worldmodel.world_models.rssm import RSSM
from aef_worldmodel.world_models.surprise import PARTS, Calibration, Surprisal, Surprise

Scores = dict[str, Tensor]
Scorer = Callable[[Tensor, Tensor], Scores]
WINDOW = 15  # frames whose mean is a score of the dynamics


def running_mean(values: Tensor, window: int) -> Tensor:
    """Return the mean of the last `window` values (N, T), or of as many as there are."""
    total = F.pad(values.double().cumsum(1), (window, 0))
    count = torch.arange(1, values.shape[1] + 1).clamp(max=window)
    return (total[:, window:] - total[:, :-window]) / count


def exact(model: RecurrentWorldModel, calibration: Calibration | None = None) -> Scorer:
    """Return the scores of an exact likelihood: its parts, the sum, and two-sided ones."""

    def score(frames: Tensor, actions: Tensor) -> Scores:
        seen = Surprise(model, len(frames)).episodes(frames, actions)
        found = {f"log p: {part}": -stack(seen, part) for part in (*PARTS, "total")}
        found[f"log p: prior, {WINDOW} frames"] = running_mean(found["log p: prior"], WINDOW)
        if calibration is not None:
            p = [calibration.p_values(step)["any"] for step in seen]
            found["log p: two-sided"] = -torch.stack(p, 1).log()
        return found

    return score


def stack(seen: list[Surprisal], name: str) -> Tensor:
    """Return a part of T scored steps, (N, T)."""
    return torch.stack([getattr(step, name) for step in seen], 1).double()


@torch.no_grad()
def states_of(model: RecurrentWorldModel | RSSM, frames: Tensor, actions: Tensor) -> State:
    """Return the filtered states (N, T, .) of videos, one decision at a time."""
    state, states = model.initial(len(frames)), []
    before = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
    for t in range(frames.shape[1]):
        first = torch.full((len(frames),), t == 0)
        state = model.observe(state, before[:, t], frames[:, t], first)
        states.append(state)
    return State(*(torch.stack(part, 1) for part in zip(*states, strict=True)))


def reconstruction(name: str, model: RecurrentWorldModel | RSSM) -> Scorer:
    """Return the mean squared error of the decoded filtered state."""

    @torch.no_grad()
    def score(frames: Tensor, actions: Tensor) -> Scores:
        states = states_of(model, frames, actions)
        errors = [
            (model.decode(states.map(lambda p, t=t: p[:, t])) - (frames[:, t] + 0.5) / 256)
            .square()
            .flatten(1)
            .mean(1)
            for t in range(frames.shape[1])
        ]
        return {f"reconstruction error, {name}": torch.stack(errors, 1).double()}

    return score


def mahalanobis(model: RecurrentWorldModel, rows: Tensor) -> Scorer:
    """Return the distance of latents from those of rows (K, C, H, W) in their covariance."""
    with torch.no_grad():
        latents = model.autoencoder.encode(rows).latent.double()
    mean = latents.mean(0)
    spread = torch.cov(latents.T) + 1e-6 * torch.eye(len(mean), dtype=torch.float64)
    factor = torch.linalg.cholesky(spread)

    @torch.no_grad()
    def score(frames: Tensor, actions: Tensor) -> Scores:
        z = model.autoencoder.encode(frames.flatten(0, 1)).latent.double() - mean
        white = torch.linalg.solve_triangular(factor, z.T, upper=False)  # (d, N T)
        return {"Mahalanobis distance": white.square().sum(0).view(frames.shape[:2])}

    return score


def vae_bound(model: RecurrentWorldModel, samples: int) -> Scorer:
    """Return minus the importance-weighted bound of each frame given the mean states before.

    The bound with k samples is log mean_k p(z|h) p(x|z) / q(z|x) (Burda et al., "Importance
    weighted autoencoders", 2016).
    """

    @torch.no_grad()
    def score(frames: Tensor, actions: Tensor) -> Scores:
        states, eye, found = states_of(model, frames, actions), model.autoencoder, []
        for t in range(frames.shape[1]):
            y = eye.preprocess(frames[:, t], dequantise=False)
            latents, log_q = eye.proposal(y)(samples)  # (k, N, d), (k, N)
            before = states.latent[:, t - 1] if t else torch.zeros_like(states.latent[:, 0])
            prior = model.prior(states.recurrent[:, t], before).log_prob(latents)  # (k, N)
            target = y.expand(samples, *y.shape).flatten(0, 1)
            pixels = eye.decoder_log_prob(latents.flatten(0, 1), target).view_as(log_q)
            weight = (prior + pixels - log_q).logsumexp(0) - math.log(samples)
            found.append(-(weight + eye.preprocessing_log_det(y)))
        return {f"VAE bound, {samples} samples": torch.stack(found, 1).double()}

    return score


def rssm_kl(model: RSSM) -> Scorer:
    """Return the divergence of the posterior from the prior."""

    @torch.no_grad()
    def score(frames: Tensor, actions: Tensor) -> Scores:
        states, kl = states_of(model, frames, actions), []
        for t in range(frames.shape[1]):
            embedding = model.embed(model.vision.preprocess(frames[:, t], dequantise=False))
            recurrent = states.recurrent[:, t]
            kl.append(model.posterior(recurrent, embedding).kl(model.prior(recurrent)))
        found = torch.stack(kl, 1).double()
        return {"RSSM KL": found, f"RSSM KL, {WINDOW} frames": running_mean(found, WINDOW)}

    return score


def distillation(rows: Tensor, updates: int, seed: int = 0) -> Scorer:
    """Return the error of a network that imitates a random one on rows (K, C, H, W).

    Burda et al., "Exploration by random network distillation", 2019.
    """
    torch.manual_seed(seed)
    target, student = (_features(rows.shape[1:]) for _ in range(2))
    mean, std = rows.float().mean(0), rows.float().std(0).mean().clamp(min=1)
    optimiser = torch.optim.Adam(student.parameters(), 1e-3)

    def prepared(frames: Tensor) -> Tensor:
        return (frames.float() - mean) / std

    for _ in range(updates):
        batch = prepared(rows[torch.randint(len(rows), (64,))])
        loss = (student(batch) - target(batch).detach()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def score(frames: Tensor, actions: Tensor) -> Scores:
        y = prepared(frames.flatten(0, 1))
        error = (student(y) - target(y)).square().mean(1)
        return {"RND": error.double().view(frames.shape[:2])}

    return score


def _features(shape: tuple[int, ...]) -> nn.Module:
    layers, width = [], shape[0]
    for wider in (16, 32, 64):
        layers += [nn.Conv2d(width, wider, 4, 2, 1), nn.ELU()]
        width = wider
    side = [size // 8 for size in shape[1:]]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side[0] * side[1], 64))
