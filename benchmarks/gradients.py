"""How well the actor's gradients of separate batches agree, by how they are made:

    python -m benchmarks.gradients RUN "" "agent.gradient_limit=null" [--batches 24]

Batches of the run's recorded rows start as many dreams as an update has, in the run's own model,
each by the actor that it ended with. For every quoted list of settings of the agent (over the
run's own), without the entropy's share, reported are

    agreement   mean cosine between the gradients of two batches: 1 is no noise, 0 nothing but noise
    direction   cosine between the mean gradient over batches and that of the first list
    length      median over batches of the gradient's length
    longest     the longest of them

Every list sees the same states and the same noise of the policy. One row a list goes to the CSV.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import load_latest
from agents import config as settings
from agents import entry
from agents.evaluate import load_learner
from agents.hardware import HardwareConfig, resolve
from agents.imagination import ImaginationAgent
from agents.learner import WARM_ROWS, Learner
from agents.provenance import commit, machine
from agents.recording import Recording
from agents.results import Results, table
from agents.words import agent_name

KEY = ("task", "run", "frames", "settings")
MEASURES = ("agreement", "direction", "length", "longest")


def load_dreamer(run: Path, hardware: HardwareConfig) -> tuple[Learner, settings.TrainConfig]:
    """The learner of a run whose actor learns in dreams. Raises UserError for any other run."""
    learner, config = load_learner(run, hardware)
    if not isinstance(learner.agent, ImaginationAgent):
        raise UserError(
            f"{run} is a run of agent={agent_name(type(config.agent))}, which has no actor "
            "that learns in dreams: name a run of agent=imagination or agent=mpc"
        )
    return learner, config


@torch.no_grad()
def states(learner: Learner, data: Recording, count: int) -> list[State]:
    """What `count` updates imagine from: filtered states (starts, .) of recorded rows."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(count):
        batch = data.sample(learner.config.batch, learner.config.length, generator)
        with learner.autocast():
            seen = learner.model.follow(batch["frame"], batch["action"], batch["first"])
        rows = State(*(part[:, WARM_ROWS:].flatten(0, 1) for part in seen))
        chosen = torch.randperm(len(rows.latent), generator=generator)
        found.append(State(*(part[chosen[: learner.config.agent.starts]] for part in rows)))
    return found


def gradients(learner: Learner, starts: list[State]) -> Tensor:
    """The actor's gradient of every batch of starts, flat (batches, parameters)."""
    spread, found = learner.agent.spread.clone(), []
    for number, start in enumerate(starts):
        generator = torch.Generator().manual_seed(number)
        learner.agent.spread.copy_(spread)
        with learner.autocast():
            loss = learner.agent.actor_loss(learner.model, start, generator)[0]
        parts = torch.autograd.grad(loss, list(learner.agent.actor.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    learner.agent.spread.copy_(spread)
    return torch.stack(found)


def agreement(found: Tensor) -> float:
    """Mean cosine between any two different rows (batches, parameters)."""
    unit = torch.nn.functional.normalize(found, dim=-1)
    count = len(unit)
    return ((unit.sum(0).square().sum() - count) / (count * (count - 1))).item()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("settings", nargs="+", help='for instance "agent.gradient=reinforce"')
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("results/gradients.csv"))
    asked = parser.parse_args(argv)
    hardware = resolve(HardwareConfig(device="cpu", threads=1))
    torch.set_num_threads(1)
    learner, config = load_dreamer(asked.run, hardware)
    starts, first = states(learner, Recording(asked.run), asked.batches), None
    results, rows = Results(asked.out, KEY), []
    frames = load_latest(asked.run / "checkpoints").step
    for words in asked.settings:
        given = settings.load([f"resume={asked.run}", "hardware.device=cpu", *words.split()])
        agent = getattr(given.agent, "imagination", given.agent)  # planning has one inside
        learner.agent.config = dataclasses.replace(agent, entropy=0.0)
        found = gradients(learner, starts)  # (batches, parameters)
        first = found.mean(0) if first is None else first
        length = found.norm(dim=-1)
        scores = {
            "agreement": agreement(found),
            "direction": torch.cosine_similarity(first, found.mean(0), dim=0).item(),
            "length": length.median().item(), "longest": length.max().item(),
        }  # fmt: skip
        row = dict(zip(KEY, (config.env.task, asked.run.name, frames, words or "its own")))
        row |= {"seed": config.seed, "batches": asked.batches} | scores
        row |= {"commit": commit(), "hardware": machine(hardware), "command":
                f"python -m benchmarks.gradients {asked.run.name} \"SETTINGS\" "
                f"--batches {asked.batches}"}  # fmt: skip
        results.add(row)
        rows.append(results.rows[-1])
    print(table(rows, "settings", MEASURES))
    return 0


if __name__ == "__main__":
    entry.run(main)
