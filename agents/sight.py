"""What a world model sees and foresees in episodes it was not trained on, as numbers.

    r2_<probe>_<features>_<kind>   R^2 of joint positions or velocities, from z, from (h, z), and
                                   from (h, z) with h of untrained dynamics ("blind")
    psnr_K, copy_K                 dB of the open-loop dream K decisions ahead, and of the last
                                   frame it saw; psnr_0 is the reconstruction
    body_K, body_copy_K            the same where the frame differs from the mean image
    noise_pixel, noise_sublevel    change of z, in its standard deviations, when one value of the
                                   frame moves by one grey level, or all of them within one
    rank, norm                     effective rank of z, and its mean length
    bits_per_dim, likelihood       of whole episodes given their actions, and what that number is
    sigma                          mean standard deviation of the decoder, in units of y
"""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.dream import psnr
from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.importance import video_bound
from aef_worldmodel.metrics import (
    effective_rank,
    masked_psnr,
    network_regression,
    r_squared,
    ridge,
)
from agents.evaluation import CONTEXT, HORIZONS
from agents.learner import Learner

BODY = 0.1  # a pixel belongs to the moving body where it is so far from the mean image, of 1
EVERY = 50  # decisions between the dreams of an episode
WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # tried for the proposal of an expanded AEF
PROBES = {"ridge": ridge, "mlp": network_regression}
MEASURES = (
    *(f"r2_{probe}_{features}_{kind}" for kind in ("position", "velocity") for probe in PROBES
      for features in ("z", "hz", "blind")),
    "psnr_0", "body_0",
    *(f"{name}_{k}" for k in HORIZONS for name in ("psnr", "copy", "body", "body_copy")),
    "noise_pixel", "noise_sublevel", "rank", "norm", "bits_per_dim", "sigma",
)  # fmt: skip


class Seen(NamedTuple):
    """Episodes of E worlds with what was true in them, on the CPU."""

    frames: Tensor  # (E, T, C, H, W) uint8
    actions: Tensor  # (E, T, A)
    proprio: Tensor  # (E, T, P)


@torch.no_grad()
def random_episodes(env, seed: int) -> Seen:
    """One episode of correlated random actions in every world of `env`, reset with `seed`."""
    frame, _ = env.reset(seed=seed)
    action = torch.zeros(env.num_envs, env.single_action_space.shape[0], device=frame.device)
    rows = []
    for _ in range(env.episode_decisions):
        action = (0.7 * action + 0.7 * torch.randn_like(action)).clamp(-1, 1)
        rows.append([x.cpu() for x in (frame, action, env.proprio())])
        frame = env.step(action)[0]
    return Seen(*(torch.stack(part, 1) for part in zip(*rows)))


@torch.no_grad()
def followed(learner: Learner, model, seen: Seen) -> State:
    """Filtered states of all rows (E, T, .), on the CPU, an episode at a time."""
    states = []
    for frames, actions, _ in zip(*seen):
        with learner.autocast():
            state = model.follow(frames[None].to(learner.device), actions[None].to(learner.device))
        states.append([part.cpu() for part in state])
    return State(*(torch.cat(part) for part in zip(*states)))


def blinded(learner: Learner, seed: int):
    """The model with an untrained recurrent cell: the random-dynamics control."""
    model = copy.deepcopy(learner.model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.cell = Dynamics(model.config, model.action_dim).cell.to(learner.device)
    return model


def measure(learner: Learner, fit: Seen, test: Seen, names: list[str], seed: int) -> dict:
    """All numbers of the list above, for one model.

    `fit` are the episodes probes and proposals are fitted on, `test` those they are judged on;
    `names` (P,) say what each of `proprio`'s numbers is.
    """
    known, state = (followed(learner, learner.model, seen) for seen in (fit, test))
    blind = blinded(learner, seed)
    blinds = [followed(learner, blind, seen) for seen in (fit, test)]
    features = {
        "z": (known.latent, state.latent),
        "hz": (known.features, state.features),
        "blind": tuple(s.features for s in blinds),
    }
    scores = probes(features, fit.proprio, test.proprio, names)
    scores |= dreams(learner, state, test)
    scores |= noise(learner, test.frames[:, ::10].flatten(0, 1), state.latent)
    latents = state.latent.flatten(0, 1)
    scores |= {"rank": effective_rank(latents), "norm": latents.norm(dim=1).mean().item()}
    scores |= likelihood(learner, fit, test)
    return scores | {"sigma": learner.model.eye.sigma.mean().item()}


def probes(features: dict, fit: Tensor, test: Tensor, names: list[str]) -> dict[str, float]:
    """R^2 of every probe, averaged over positions and over velocities; rows from the fifth on."""
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
def dreams(learner: Learner, states: State, seen: Seen) -> dict[str, float]:
    """Open-loop PSNR from many moments of every episode, beside the last frame's."""
    model, device, length = learner.model, learner.device, seen.frames.shape[1]
    ahead = max(HORIZONS)
    begins = torch.arange(2 * CONTEXT, length - ahead, EVERY)  # (S,)
    start = State(*(part[:, begins].flatten(0, 1).to(device) for part in states))  # (E S, .)
    taken = [seen.actions[:, begins + k].flatten(0, 1).to(device) for k in range(ahead)]
    actions = iter(taken)
    with learner.autocast():
        dreamt, _ = model.imagine(start, lambda _: (next(actions),), ahead, temperature=0.0)
        decoded = {k: model.decode(dreamt.latent[k]).float() for k in (0, *HORIZONS)}
    mean = model.eye.mean
    last = reality(seen, begins, device)
    scores = {}
    for k, image in decoded.items():
        truth = reality(seen, begins + k, device)
        body = (truth - mean).abs().amax(-3, keepdim=True) > BODY  # (E S, 1, H, W)
        pictures = {"": image} | ({"copy": last} if k else {})
        for name, picture in pictures.items():
            whole, part = psnr(picture, truth), masked_psnr(picture, truth, body)
            scores[f"{name or 'psnr'}_{k}"] = whole.mean().item()
            scores[f"body{name and '_' + name}_{k}"] = part.nanmean().item()
    return scores


def reality(seen: Seen, moments: Tensor, device: torch.device) -> Tensor:
    """Frames at `moments` (S,) of every episode, (E S, C, H, W) float in [0, 1]."""
    return (seen.frames[:, moments].flatten(0, 1).to(device).float() + 0.5) / 256


@torch.no_grad()
def noise(learner: Learner, frames: Tensor, latents: Tensor) -> dict[str, float]:
    """Root mean square change of z, in its own standard deviations over `latents` (E, T, d)."""
    eye, frames = learner.model.eye, frames.to(learner.device)  # (N, C, H, W) uint8
    std = latents.flatten(0, 1).std(0).to(learner.device)
    changed = frames.flatten(1).clone()
    place = torch.randint(changed.shape[1], (len(changed), 1), device=changed.device)
    value = changed.gather(1, place)
    changed.scatter_(1, place, torch.where(value == 255, value - 1, value + 1))
    with learner.autocast():
        code = eye.encode(frames).latent
        moved = eye.encode(changed.view_as(frames)).latent
        shaken = eye.encode_y(eye.preprocess(frames, dequantise=True), sample=False).latent
    return {
        "noise_pixel": ((moved - code) / std).square().mean().sqrt().item(),
        "noise_sublevel": ((shaken - code) / std).square().mean().sqrt().item(),
    }


def likelihood(learner: Learner, fit: Seen, test: Seen) -> dict:
    """Bits a dimension of whole episodes given their actions: exact, or a bound."""
    model = learner.model
    if model.eye.likelihood == "exact":
        nats, kind = video_nats(learner, test), "exact"
    else:
        widths = (1.0,) if model.eye.likelihood == "bound" else WIDTHS
        best = max(widths, key=lambda w: video_nats(learner, fit, w)) if widths[1:] else 1.0
        nats, kind = video_nats(learner, test, best), "bound"
    count = test.frames.shape[1] * model.eye.dims
    return {"bits_per_dim": 8 - nats / (count * math.log(2)), "likelihood": kind}


@torch.no_grad()
def video_nats(learner: Learner, seen: Seen, width: float | None = None) -> float:
    """Mean log p of an episode in nats; exact, or the bound of a proposal of `width`."""
    model, total = learner.model, 0.0
    for frames, actions, _ in zip(*seen):
        video = frames[None].to(learner.device), actions[None].to(learner.device)
        with learner.autocast():
            exact = width is None
            nats = model.log_prob(*video).total if exact else video_bound(model, *video, width)
        total += nats.double().item() / len(seen.frames)
    return total
