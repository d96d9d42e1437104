"""What a world model sees and predicts in episodes it was not trained on, as numbers.

    r2_<probe>_<features>_<kind>    R^2 of joint positions or velocities, from z, from (h, z), and
                                    from (h, z) with h of untrained dynamics ("blind")
    psnr_K, last_frame_psnr_K       dB of the open-loop prediction K decisions ahead, and of the
                                    last frame it was given; psnr_0 is the reconstruction
    foreground_psnr_K,              the same where the frame differs from the mean image
    foreground_last_frame_psnr_K
    noise_pixel, noise_sublevel     change of z, in its standard deviations, when one value of the
                                    frame moves by one grey level, or all of them within one
    rank, norm                      effective rank of z, and its mean length
    bits_per_dim, likelihood        of whole episodes given their actions, and what that number is
    image_bits_per_dim              of single frames, with a Gaussian fitted to all latents as their
                                    prior: of that kind, if latents depend on the frame alone
    sigma                           mean standard deviation of the decoder, in units of y

Predictions of latents, rewards and moving pixels: agents/playing/predictions.py. A measure that a
world model does not have is missing from the result. Whole episodes are held out: no model has seen
one of them, and probes are fitted on one half of them and judged on the other.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.metrics.image_quality import psnr
from aef_worldmodel.metrics.regression import (
    effective_rank,
    network_regression,
    r_squared,
    ridge,
)
from aef_worldmodel.world_models.base import State, WorldModel
from aef_worldmodel.world_models.importance import video_bound
from agents.learning.learner import Learner
from agents.playing.evaluation import CONTEXT, HORIZONS
from agents.playing.predictions import AHEAD, PREDICTED, prediction_scores

FOREGROUND = 0.1  # a pixel is foreground where it is so far from the mean image, of 1
EVERY = 50  # decisions between the open-loop predictions of an episode
WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # tried for the proposal of an expanded AEF
PROBES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ridge": ridge,
    "mlp": network_regression,
}
PSNRS = ("psnr", "last_frame_psnr", "foreground_psnr", "foreground_last_frame_psnr")
MEASURES = (
    *(
        f"r2_{probe}_{features}_{kind}"
        for kind in ("position", "velocity")
        for probe in PROBES
        for features in ("z", "hz", "blind")
    ),
    "psnr_0",
    "foreground_psnr_0",
    *(f"{name}_{k}" for k in HORIZONS for name in PSNRS),
    "noise_pixel",
    "noise_sublevel",
    "rank",
    "norm",
    *PREDICTED,
    "bits_per_dim",
    "image_bits_per_dim",
    "sigma",
)


class EpisodeBatch(NamedTuple):
    """Whole episodes of E environments with their true states, on the CPU."""

    frames: Tensor  # (E, T, C, H, W) uint8
    actions: Tensor  # (E, T, A)
    proprio: Tensor  # (E, T, P)
    rewards: Tensor  # (E, T) of the actions


@torch.no_grad()
def filter_episodes(learner: Learner, model: WorldModel, episodes: EpisodeBatch) -> State:
    """Return the filtered states of all rows (E, T, .), on the CPU, an episode at a time."""
    states = []
    for frames, actions, *_ in zip(*episodes, strict=True):
        with learner.autocast():
            state = model.filter_frames(
                frames[None].to(learner.device), actions[None].to(learner.device)
            )
        states.append([part.cpu() for part in state])
    return State(*(torch.cat(part) for part in zip(*states, strict=True)))


def with_untrained_dynamics(learner: Learner, seed: int) -> WorldModel | None:
    """Return the model with untrained dynamics, the control; None if it has no such control."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return learner.model.untrained_dynamics()
        except NotImplementedError:
            return None


def measure(
    learner: Learner, fit: EpisodeBatch, test: EpisodeBatch, names: list[str], seed: int
) -> dict[str, Any]:
    """Return all measures of one model.

    Args:
        learner: holds the model.
        fit: episodes that probes and proposals are fitted on.
        test: episodes they are judged on.
        names: (P,) what each number of `proprio` is.
        seed: of the untrained dynamics.
    """
    known, state = (filter_episodes(learner, learner.model, part) for part in (fit, test))
    features = {
        "z": (known.latent, state.latent),
        "hz": (known.features, state.features),
    }
    blind = with_untrained_dynamics(learner, seed)
    if blind is not None:
        first, second = (filter_episodes(learner, blind, part).features for part in (fit, test))
        features["blind"] = first, second
    scores: dict[str, Any] = probes(features, fit.proprio, test.proprio, names)
    scores |= open_loop_scores(learner, state, test, mean_image(fit))
    scores |= predictions(learner, state, test)
    scores |= noise(learner, test.frames[:, ::10].flatten(0, 1), state.latent)
    latents = state.latent.flatten(0, 1)
    scores |= {"rank": effective_rank(latents), "norm": latents.norm(dim=1).mean().item()}
    return scores | likelihood(learner, fit, test) | image_likelihood(learner, fit, test)


def probes(
    features: dict[str, tuple[Tensor, Tensor]], fit: Tensor, test: Tensor, names: list[str]
) -> dict[str, float]:
    """Return R^2 of every probe, averaged over positions and velocities, from the fifth row on."""
    if not names:  # third-party environments have no proprioception
        return {}
    moving = torch.tensor(["velocity" in name for name in names])
    targets = [truth[:, CONTEXT:].flatten(0, 1) for truth in (fit, test)]
    scores = {}
    for name, pair in features.items():
        rows = [part[:, CONTEXT:].flatten(0, 1) for part in pair]
        for probe, regression in PROBES.items():
            score = r_squared(regression(rows[0], targets[0], rows[1]), targets[1].double())
            scores[f"r2_{probe}_{name}_position"] = score[~moving].nanmean().item()
            scores[f"r2_{probe}_{name}_velocity"] = score[moving].nanmean().item()
    return scores


@torch.no_grad()
def open_loop_scores(
    learner: Learner, states: State, episodes: EpisodeBatch, mean: Tensor
) -> dict[str, float]:
    """Return open-loop PSNR from many moments of every episode, beside the last frame's.

    mean: (C, H, W), the image from which the foreground differs.
    """
    model, device, length = learner.model, learner.device, episodes.frames.shape[1]
    horizons = [k for k in HORIZONS if 2 * CONTEXT + k < length]
    ahead = max(horizons, default=0)
    begins = torch.arange(2 * CONTEXT, length - ahead, EVERY)  # (S,)
    start = states.map(lambda part: part[:, begins].flatten(0, 1).to(device))  # (E S, .)
    taken = [episodes.actions[:, begins + k].flatten(0, 1).to(device) for k in range(ahead)]
    actions = iter(taken)
    with learner.autocast():
        imagined, _ = model.imagine(start, lambda _: (next(actions),), ahead, temperature=0.0)
        decoded = {
            k: model.decode(imagined.map(lambda part, k=k: part[k])).float() for k in (0, *horizons)
        }
    last = reality(episodes, begins, device)
    scores = {}
    for k, image in decoded.items():
        truth = reality(episodes, begins + k, device)
        mask = (truth - mean.to(device)).abs().amax(-3, keepdim=True) > FOREGROUND
        pictures = {"": image} | ({"last_frame_": last} if k else {})
        for name, picture in pictures.items():
            scores[f"{name}psnr_{k}"] = psnr(picture, truth).mean().item()
            foreground = psnr(picture, truth, mask).nanmean().item()
            scores[f"foreground_{name}psnr_{k}"] = foreground
    return scores


def predictions(learner: Learner, states: State, episodes: EpisodeBatch) -> dict[str, float]:
    """Return the measures of predictions, as far ahead as the episodes allow."""
    length = episodes.frames.shape[1]
    ahead = max((k for k in AHEAD if 2 * CONTEXT + k < length), default=0)
    begins = torch.arange(2 * CONTEXT, length - ahead, EVERY)
    frames, actions, _, rewards = episodes
    return prediction_scores(learner, states, frames, actions, rewards, begins) if ahead else {}


def reality(episodes: EpisodeBatch, moments: Tensor, device: torch.device) -> Tensor:
    """Return the frames at `moments` (S,) of every episode, (E S, C, H, W) float in [0, 1]."""
    return (episodes.frames[:, moments].flatten(0, 1).to(device).float() + 0.5) / 256


def mean_image(episodes: EpisodeBatch) -> Tensor:
    """Return the mean frame (C, H, W) float in [0, 1]."""
    return (episodes.frames.flatten(0, 1).double().mean(0).float() + 0.5) / 256


@torch.no_grad()
def noise(learner: Learner, frames: Tensor, latents: Tensor) -> dict[str, float]:
    """Return root mean square changes of z, in its standard deviations over latents (E, T, d)."""
    frames = frames.to(learner.device)  # (N, C, H, W) uint8
    std = latents.flatten(0, 1).std(0).to(learner.device)
    changed = frames.flatten(1).clone()
    place = torch.randint(changed.shape[1], (len(changed), 1), device=changed.device)
    value = changed.gather(1, place)
    changed.scatter_(1, place, torch.where(value == 255, value - 1, value + 1))
    first = torch.ones(len(frames), dtype=torch.bool, device=frames.device)
    autoencoder = getattr(learner.model, "autoencoder", None)
    moved: dict[str, Tensor] = {}
    with learner.autocast():
        code = learner.model.begin(frames, first).latent
        moved["noise_pixel"] = learner.model.begin(changed.view_as(frames), first).latent
        if autoencoder is not None:
            y = autoencoder.preprocess(frames, dequantise=True)
            moved["noise_sublevel"] = autoencoder.encode_y(y, sample=False).latent
    return {
        name: ((latent - code) / std).square().mean().sqrt().item()
        for name, latent in moved.items()
    }


def likelihood(learner: Learner, fit: EpisodeBatch, test: EpisodeBatch) -> dict[str, Any]:
    """Return bits a dimension of whole episodes given their actions: exact, or a bound."""
    kind, width = learner.model.likelihood, None
    if kind == "none":
        return {}
    if kind == "expanded":
        width = max(WIDTHS, key=lambda w: video_nats(learner, fit, w))
        kind = "bound"
    dims = math.prod(learner.model.frame_shape)
    nats = video_nats(learner, test, width)
    found: dict[str, Any] = {"likelihood": kind}
    found["bits_per_dim"] = 8 - nats / (test.frames.shape[1] * dims * math.log(2))
    autoencoder = getattr(learner.model, "autoencoder", None)
    return found if autoencoder is None else found | {"sigma": autoencoder.sigma.mean().item()}


@torch.no_grad()
def image_likelihood(learner: Learner, fit: EpisodeBatch, test: EpisodeBatch) -> dict[str, float]:
    """Return bits a dimension of single frames, under a Gaussian prior fitted to latents of `fit`.

    Latents are drawn where the autoencoder draws them: its bound needs the prior of draws.
    """
    model = learner.model
    kind, autoencoder = model.likelihood, getattr(model, "autoencoder", None)
    if autoencoder is None or model.config.kind != "recurrent" or kind not in ("exact", "bound"):
        return {}

    def coded(episodes: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Return latents (N, d), and the rest of the log-likelihoods (N,)."""
        found = []
        for frames in episodes.frames:
            y = autoencoder.preprocess(frames.to(learner.device), dequantise=True)
            with learner.autocast():
                code = autoencoder.encode_y(y, sample=kind == "bound")
                rest = code.log_det + autoencoder.reconstruction_log_prob(code)
            found.append((code.latent.double().cpu(), rest.double().cpu()))
        latents, rests = zip(*found, strict=True)
        return torch.cat(latents), torch.cat(rests)

    known, (latents, rest) = coded(fit)[0], coded(test)
    spread = known.T.cov() + 1e-6 * torch.eye(known.shape[1], dtype=known.dtype)
    prior = torch.distributions.MultivariateNormal(known.mean(0), spread)
    mean = (prior.log_prob(latents) + rest).mean().item()
    return {"image_bits_per_dim": 8 - mean / (autoencoder.dims * math.log(2))}


@torch.no_grad()
def video_nats(learner: Learner, episodes: EpisodeBatch, width: float | None = None) -> float:
    """Return the mean log p of an episode in nats: exact, or the bound of a proposal of `width`."""
    model, total = learner.model, 0.0
    for frames, actions, *_ in zip(*episodes, strict=True):
        video = frames[None].to(learner.device), actions[None].to(learner.device)
        with learner.autocast():
            if width is None:
                nats = model.log_prob(*video).total
            else:
                nats = video_bound(model, *video, width)  # type: ignore[arg-type]
        total += nats.double().item() / len(episodes.frames)
    return total
