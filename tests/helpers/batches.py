"""Small batches of environments, and what tests do with them."""

import torch

import envs

SIZE = 16  # pixels: small images for quick tests


def make(task="cheetah-run", num_envs=3, **options):
    return envs.make(task, num_envs, **({"image_size": SIZE, "threads": 1} | options))


def actions(env, steps, seed=0):
    """Random actions (steps, N, A)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, *env.action_space.shape)
    return torch.rand(shape, generator=generator) * 2 - 1


def play(env, some_actions):
    """Everything a run returns, step by step."""
    return [env.step(action)[:4] for action in some_actions]


def same(a, b):
    """Whether two runs are equal in every tensor."""
    return all(
        torch.equal(x, y)
        for step, other in zip(a, b, strict=True)
        for x, y in zip(step, other, strict=True)
    )


def skip_to(env, decision):
    """Set how many decisions the episodes have lasted."""
    env.episodes.decision[:] = decision
