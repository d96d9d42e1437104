"""Evaluation: episodes of a policy played as one batch, and what the model saw of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.metrics.image_quality import psnr
from aef_worldmodel.viz.episode import episode_film
from aef_worldmodel.viz.video import film, strip
from aef_worldmodel.world_models.open_loop import open_loop
from agents.base import Policy
from agents.learning.learner import Learner
from agents.playing.rollout import EnvLoop, Observe

CONTEXT, LENGTH = 5, 60  # frames an open-loop film is given, and frames it shows
FILMED = 4  # environments whose open-loop predictions are scored
HORIZONS = (5, 15, 45)  # decisions ahead at which they are


class Episodes(NamedTuple):
    """A batch of episodes of N environments, T decisions each."""

    returns: Tensor  # (N,) undiscounted
    frames: Tensor  # (FILMED, T, C, H, W) uint8, the first environments, on the CPU
    actions: Tensor  # (FILMED, T, A)
    proprio: Tensor  # (FILMED, T, P)
    alive: Tensor  # (FILMED, T) bool: the row is of the environment's first episode
    rewards: Tensor  # (FILMED, T) of the actions


class EvaluationStopped(Exception):
    """The episodes were not played to their end: `stop` said so."""


def score(returns: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of returns (N,); of a single one the latter is 0."""
    deviation = returns.std(correction=min(1, len(returns) - 1))
    return returns.mean().item(), deviation.item()


@torch.no_grad()
def run_episodes(
    learner: Learner | None,
    policy: Policy,
    env: Any,
    seed: int | list[int],
    filmed: int = FILMED,
    decisions: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    observe: Observe | None = None,
) -> Episodes:
    """Play one episode of the policy in every environment.

    Args:
        learner: filters the frames; None for policies that look at nothing.
        policy: what plays.
        env: the environments, reset with `seed`.
        seed: one for all, or one for each environment.
        filmed: environments whose rows are returned.
        decisions: play only so many; None for the whole episode.
        stop: asked before every decision whether to give up.
        observe: filters the frames; None for the model's own way.

    Raises:
        EvaluationStopped: `stop` returned true.
    """
    loop = EnvLoop(env, learner, policy, observe)
    loop.reset(seed)
    alive, returns = loop.first.clone(), torch.zeros_like(loop.reward)
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(decisions or env.episode_decisions):
        if stop():
            raise EvaluationStopped
        proprio = env.proprio()
        made = loop.step()
        seen = (made.frame, made.action, proprio, alive, made.next_reward)
        rows.append(tuple(part[:filmed].cpu() for part in seen))
        returns += made.next_reward * alive
        alive = alive & ~made.done
        if not alive.any():
            break
    return Episodes(returns.cpu(), *(torch.stack(part, 1) for part in zip(*rows, strict=True)))


def film_first_episode(episodes: Episodes) -> Tensor:
    """Return the film (T, h, w, 3) uint8 of the first environment's whole episode."""
    alive = episodes.alive[0]
    return episode_film(episodes.frames[0, alive], episodes.rewards[0, alive])


class OpenLoopReport(NamedTuple):
    """What the model predicts of an episode it has not been trained on."""

    film: Tensor  # (LENGTH, h, w, 3) uint8: reality, reconstruction, imagination
    strip: Tensor  # (h, w, 3) uint8: the same side by side
    scores: dict[str, float]  # open_loop/psnr_K and open_loop/last_frame_psnr_K in dB


@torch.no_grad()
def report_open_loop(learner: Learner, episodes: Episodes) -> OpenLoopReport | None:
    """Film and score open-loop predictions of the first `LENGTH` decisions of the episodes.

    The film shows the longest episode; those that last long enough are scored. None if no episode
    lasts beyond the context.
    """
    device = learner.device
    alive = episodes.alive[:, :LENGTH].to(device)  # (N, L)
    filmed = int(alive.sum(1).argmax())
    end = int(alive[filmed].sum())
    if end <= CONTEXT:
        return None
    frames = episodes.frames[:, :LENGTH].to(device)  # (N, L, C, H, W)
    actions = episodes.actions[:, :LENGTH].to(device)
    with learner.autocast():
        predicted = open_loop(learner.model, frames, actions, CONTEXT)
    scores = {}
    for ahead in HORIZONS:
        t = CONTEXT - 1 + ahead
        if t < end:
            on = alive[:, t]
            truth, last = predicted.reality[on, t], predicted.reality[on, CONTEXT - 1]
            imagined = predicted.imagination[on, t]
            scores[f"open_loop/psnr_{ahead}"] = psnr(imagined, truth).mean().item()
            scores[f"open_loop/last_frame_psnr_{ahead}"] = psnr(last, truth).mean().item()
    now = psnr(predicted.reconstruction, predicted.reality)[alive].mean().item()
    scores["open_loop/reconstruction_psnr"] = now
    rows = [(part[filmed, :end].cpu() * 255).round().byte() for part in predicted]  # (L, C, H, W)
    captions = ["reality", "reconstruction", "imagination"]
    return OpenLoopReport(film(rows, captions, CONTEXT), strip(rows, captions, CONTEXT), scores)


@torch.no_grad()
def held_out_log_prob(learner: Learner, episodes: Episodes) -> dict[str, float]:
    """Return the mean log-likelihood of the filmed episodes, in nats a frame, and its parts.

    The episodes are not trained on: what training says beyond these numbers is over-fitting. Empty
    for a model without a likelihood.
    """
    if learner.model.likelihood == "none":
        return {}
    found, count = dict.fromkeys(("prior", "volume", "pixels"), 0.0), 0
    for frames, actions, alive in zip(episodes.frames, episodes.actions, episodes.alive):
        end = int(alive.sum())
        seen, done = (part[None, :end].to(learner.device) for part in (frames, actions))
        with learner.autocast():
            parts = learner.model.log_prob(seen, done)  # (1, end) each
        for name in found:
            found[name] += getattr(parts, name).sum().item()
        count += end
    means = {f"eval/{name}": value / count for name, value in found.items()}
    return {"eval/log_prob": sum(means.values())} | means
