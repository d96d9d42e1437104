"""Finished runs whose actor learnt in imagination, for benchmarks that play or imagine with it."""

from pathlib import Path

import torch

from aef_worldmodel.utils.errors import UserError
from agents.algorithms.imagination import ActorCriticAgent
from agents.config.hardware import HardwareConfig, resolve
from agents.registry import agent_name
from agents.training.runs import LoadedRun, load_run


def load_actor_critic(run: str, seed: int = 0) -> LoadedRun:
    """Return a run with an actor-critic, on one thread of the CPU.

    torch's generator, which the exploring actor draws from, begins with `seed`. Raises UserError
    for a run of another agent.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    loaded = load_run(Path(run), resolve(HardwareConfig(device="cpu", threads=1)))
    agent = loaded.learner.agent
    if isinstance(agent, ActorCriticAgent) and getattr(agent, "learns", True):
        return loaded
    raise UserError(
        f"run={run} is a run of agent={agent_name(loaded.config.agent)} without an actor that "
        "learnt in imagination: give a run of agent=imagination or agent=mpc"
    )
