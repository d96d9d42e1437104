"""How far a world model's predictions hold, in held-out episodes, as numbers.

From many moments of every episode the model follows the actions that were taken, without frames.
K decisions later, beside what copying the last known value gives ("copied"):

    latent_error_K        root mean square error of z, in standard deviations of each dimension
    reward_error_K        mean absolute error of the reward that arrived
    moving_psnr_K         dB where the frame differs from the last one that was seen
    coverage_50, _90      share of the next latents, along random directions, within the central
                          50 and 90 % of draws from the prior: 0.5 and 0.9 of a calibrated model
    dream_gap             imagined less real sum of rewards over the longest horizon, drawn from the
                          prior under the same actions, as a mean over moments

Shapes: E episodes, T decisions, S moments of an episode, N = E S, d latent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aef_worldmodel.metrics.image_quality import psnr
from aef_worldmodel.world_models.base import State, WorldModel
from agents.learning.learner import Learner

AHEAD = (1, 5, 15, 45)  # K
MOVED = 0.1  # a pixel has moved where it differs so far from the last frame, of 1
DRAWS, DIRECTIONS = 99, 16  # of the prior, and of the projections whose coverage is counted
SHARES = (0.5, 0.9)
PREDICTED = (
    *(
        f"{name}_{k}"
        for k in AHEAD
        for name in (
            "latent_error",
            "copied_latent_error",
            "reward_error",
            "copied_reward_error",
            "moving_psnr",
            "copied_moving_psnr",
        )
    ),
    *(f"coverage_{100 * share:.0f}" for share in SHARES),
    "dream_gap",
)


@torch.no_grad()
def prediction_scores(
    learner: Learner,
    states: State,
    frames: Tensor,
    actions: Tensor,
    rewards: Tensor,
    begins: Tensor,
) -> dict[str, float]:
    """Return all measures.

    Args:
        learner: holds the model.
        states: filtered, (E, T, .).
        frames: (E, T, C, H, W) uint8.
        actions: (E, T, A).
        rewards: of the actions, (E, T); each arrives with the next frame.
        begins: the moments (S,) from which is predicted, none of them an episode's first.
    """
    model, device = learner.model, learner.device
    horizons = [k for k in AHEAD if int(begins[-1]) + k < frames.shape[1]]
    if not horizons:
        return {}

    def at(x: Tensor, k: int) -> Tensor:
        return x[:, begins + k].flatten(0, 1).to(device)  # (N, ...)

    def image(k: int) -> Tensor:
        return (at(frames, k).float() + 0.5) / 256

    start, ahead = states.map(lambda part: at(part, 0)), max(horizons)
    taken = [at(actions, k) for k in range(ahead)]
    with learner.autocast():
        path = follow(model, start, taken, 0.0)
        rewarded = model.reward(path).float()  # (ahead + 1, N)
        decoded = {k: model.decode(path.map(lambda p, k=k: p[k])).float() for k in horizons}
        drawn = model.reward(follow(model, start, taken, 1.0)).float()
    scale = states.latent.flatten(0, 1).std(0).clamp(min=1e-6).to(device)  # (d,)
    last, arrived, scores = image(0), at(rewards, -1), {}
    for k in horizons:
        truth = at(states.latent, k)
        scores[f"latent_error_{k}"] = rms((path.latent[k] - truth) / scale)
        scores[f"copied_latent_error_{k}"] = rms((start.latent - truth) / scale)
        real = at(rewards, k - 1)
        scores[f"reward_error_{k}"] = (rewarded[k] - real).abs().mean().item()
        scores[f"copied_reward_error_{k}"] = (arrived - real).abs().mean().item()
        shown = image(k)
        mask = (shown - last).abs().amax(-3, keepdim=True) > MOVED
        scores[f"moving_psnr_{k}"] = psnr(decoded[k], shown, mask).nanmean().item()
        scores[f"copied_moving_psnr_{k}"] = psnr(last, shown, mask).nanmean().item()
    real = torch.stack([at(rewards, k) for k in range(ahead)])
    scores["dream_gap"] = (drawn[1:].sum(0) - real.sum(0)).mean().item()
    return scores | coverage(learner, start, taken[0], at(states.latent, 1))


def follow(model: WorldModel, start: State, taken: list[Tensor], temperature: float) -> State:
    """Return the states (len(taken) + 1, N, .) under actions that were taken."""
    actions = iter(taken)
    return model.imagine(start, lambda _: (next(actions),), len(taken), temperature)[0]


def coverage(learner: Learner, start: State, action: Tensor, truth: Tensor) -> dict[str, float]:
    """Return how often the next latents (N, d) lie within central parts of the prior's draws."""
    size = truth.shape[-1]
    with torch.random.fork_rng(), learner.autocast():
        torch.manual_seed(0)
        directions = torch.randn(size, DIRECTIONS).to(truth)
        predicted = (learner.model.predict(start, action, 1.0).latent for _ in range(DRAWS))
        draws = torch.stack([latent.float() @ directions for latent in predicted])  # (R, N, M)
        draws = draws.sort(0).values  # the k-th of 99 lies at k % of the distribution
    seen, found = truth.float() @ directions, {}
    for share in SHARES:
        low, high = (draws[round(100 * (1 + side * share) / 2) - 1] for side in (-1, 1))
        inside = (seen >= low) & (seen <= high)
        found[f"coverage_{100 * share:.0f}"] = inside.float().mean().item()
    return found


def rms(x: Tensor) -> float:
    """Return the root mean square of all elements."""
    return x.float().square().mean().sqrt().item()
