"""Evaluation: episodes of a policy run as one batch, and what the model saw."""

from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.dream import open_loop, psnr
from aef_worldmodel.video import film, strip
from agents.policy import Policy

CONTEXT, LENGTH = 5, 60  # frames a film's dream sees, and how many it shows
FILMED = 4  # worlds whose dreams are scored
HORIZONS = (5, 15, 45)  # decisions ahead at which they are


class Episodes(NamedTuple):
    """A batch of full episodes of N worlds."""

    returns: Tensor  # (N,) undiscounted
    frames: Tensor  # (FILMED, T, C, H, W) uint8, the first worlds, on the CPU
    actions: Tensor  # (FILMED, T, A)
    proprio: Tensor  # (FILMED, T, P)
    alive: Tensor  # (FILMED, T) bool: the row is of the world's first episode


def score(returns: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of returns (N,); of a single one the latter is 0."""
    deviation = returns.std(correction=min(1, len(returns) - 1))
    return returns.mean().item(), deviation.item()


@torch.no_grad()
def run_episodes(learner, policy: Policy, env, seed: int, filmed: int = FILMED,
                 decisions: int | None = None) -> Episodes:
    """One episode of the policy in every world of `env`, reset with `seed`; where `decisions` is
    given, the first so many of it."""
    device, count = learner.device, env.num_envs
    frame, _ = env.reset(seed=seed)
    state = learner.model.initial(count)
    action = torch.zeros(count, learner.model.action_dim, device=device)
    first = torch.ones(count, dtype=torch.bool, device=device)
    alive, returns = first.clone(), torch.zeros(count, device=device)
    frames, actions, proprio, living = [], [], [], []
    for _ in range(decisions or env.episode_decisions):
        with learner.autocast():
            state = learner.model.observe(state, action, frame, first)
            action = policy.act(state, first)
        frames.append(frame[:filmed].cpu())
        actions.append(action[:filmed].cpu())
        proprio.append(env.proprio()[:filmed].cpu())
        living.append(alive[:filmed].cpu())
        first = torch.zeros_like(first)
        frame, reward, terminated, truncated, _ = env.step(action)
        returns += reward * alive
        alive = alive & ~(terminated | truncated)
    rows = frames, actions, proprio, living
    return Episodes(returns.cpu(), *(torch.stack(x, 1) for x in rows))


class DreamReport(NamedTuple):
    """What the model imagines of an episode it has not been trained on."""

    film: Tensor  # (LENGTH, h, w, 3) uint8: reality, reconstruction, imagination
    strip: Tensor  # (h, w, 3) uint8: the same side by side
    scores: dict[str, float]  # dream/psnr_K and dream/copy_K in dB


@torch.no_grad()
def report_dream(learner, episodes: Episodes) -> DreamReport | None:
    """Films and scores open-loop dreams of the first `LENGTH` decisions of the episodes: the film
    of the longest, scores of those that last. None if none lasts beyond the context."""
    device = learner.device
    alive = episodes.alive[:, :LENGTH].to(device)  # (N, L)
    filmed = int(alive.sum(1).argmax())
    end = int(alive[filmed].sum())
    if end <= CONTEXT:
        return None
    frames = episodes.frames[:, :LENGTH].to(device)  # (N, L, C, H, W)
    actions = episodes.actions[:, :LENGTH].to(device)
    with learner.autocast():
        dream = open_loop(learner.model, frames, actions, CONTEXT)
    scores = {}
    for ahead in HORIZONS:
        t = CONTEXT - 1 + ahead
        if t < end:
            on = alive[:, t]
            truth, last = dream.reality[on, t], dream.reality[on, CONTEXT - 1]
            scores[f"dream/psnr_{ahead}"] = psnr(dream.imagination[on, t], truth).mean().item()
            scores[f"dream/copy_{ahead}"] = psnr(last, truth).mean().item()
    now = psnr(dream.reconstruction, dream.reality)[alive].mean().item()
    scores["dream/psnr_now"] = now
    rows = [(part[filmed, :end].cpu() * 255).round().byte() for part in dream]  # (L, C, H, W) each
    captions = ["reality", "reconstruction", "imagination"]
    return DreamReport(film(rows, captions, CONTEXT), strip(rows, captions, CONTEXT), scores)
