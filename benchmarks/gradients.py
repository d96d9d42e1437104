"""How well the gradients of separate batches agree: `python -m benchmarks.gradients run=RUN`.

Batches of the run's recorded rows start as many imagined rollouts as an update has, in the run's
last world model under its last actor. The gradients are compared for several settings of the
agent, over the run's own and without the entropy's share:

    settings=[own,agent.gradient_limit=null,"agent.horizon=8 agent.gradient_limit=1"]

    agreement   mean cosine between the gradients of two batches: 1 without noise, 0 for noise alone
    direction   cosine between the mean gradient over batches and that of the first settings
    length      median over batches of the gradient's norm
    longest     largest norm

All settings meet the same states and the same noise. Each of them is one row of the CSV.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.tables import Table, compare
from aef_worldmodel.world_models.base import State
from agents.algorithms.imagination import ActorCriticAgent, ActorCriticConfig
from agents.config import train as settings
from agents.training.provenance import provenance
from agents.training.recording import Recording
from agents.training.runs import LoadedRun
from benchmarks.finished_runs import load_actor_critic

KEY = ("task", "run", "frames", "settings")
MEASURES = ("agreement", "direction", "length", "longest")
OWN = "own"  # the settings of the run


@dataclass(frozen=True)
class GradientsConfig:
    """Settings of `python -m benchmarks.gradients`."""

    run: str
    """Folder of a run of agent=imagination or agent=mpc."""
    settings: tuple[str, ...] = (OWN, "agent.gradient_limit=null")
    """Settings to compare: `own`, or words over the run's own."""
    batches: int = 24
    """Batches, each with one gradient."""
    out: str = "results/gradients.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for too few batches to compare."""
        check_bounds(self, batches=(2, None))


def draw(loaded: LoadedRun, data: Recording, count: int) -> list[tuple[Batch, State]]:
    """Return batches of recorded rows (B, T, .) with their filtered states (B, T, .)."""
    generator, replay, found = torch.Generator().manual_seed(0), loaded.config.replay, []
    data.reset(loaded.learner.model.state_dims[0])
    for _ in range(count):
        rows = data.sample(replay.batch_size, replay.sequence_length, generator)
        batch = Batch.from_rows(rows)
        found.append((batch, loaded.learner.filter_batch(batch)))
    return found


def gradients(loaded: LoadedRun, drawn: list[tuple[Batch, State]]) -> Tensor:
    """Return the actor's gradient of every batch, flat (batches, parameters)."""
    agent, model, found = loaded.learner.agent, loaded.learner.model, []
    scale = agent.networks.return_scale.clone()
    for number, (batch, states) in enumerate(drawn):
        agent.generator.manual_seed(number)
        agent.networks.return_scale.copy_(scale)
        loss = agent.imagine(batch, states, model).actor_loss
        parts = torch.autograd.grad(loss, list(agent.networks.actor.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    agent.networks.return_scale.copy_(scale)
    return torch.stack(found)


def agreement(found: Tensor) -> float:
    """Return the mean cosine between any two different rows (batches, parameters)."""
    unit = torch.nn.functional.normalize(found, dim=-1)
    count = len(unit)
    return ((unit.sum(0).square().sum() - count) / (count * (count - 1))).item()


def agent_config(run: str, words: str) -> ActorCriticConfig:
    """Return the agent's settings of a run, changed by words and without the entropy's share."""
    changes = [] if words == OWN else words.split()
    config = settings.load([f"resume={run}", "hardware.device=cpu", *changes])
    return dataclasses.replace(config.agent, entropy=0.0)


def use(agent: ActorCriticAgent, config: ActorCriticConfig) -> None:
    """Let the agent imagine with other settings."""
    agent.config = agent.networks.config = config


def main(argv: Sequence[str]) -> int:
    """Compute the gradients under all settings, write the rows and print the table."""
    asked = settings.load(argv, GradientsConfig, "benchmarks.gradients")
    configs = {words: agent_config(asked.run, words) for words in asked.settings}
    loaded = load_actor_critic(asked.run)
    config, first, rows = loaded.config, None, []
    drawn = draw(loaded, Recording(asked.run), asked.batches)
    table = Table(asked.out, KEY)
    source = provenance("benchmarks.gradients", argv, config.hardware)
    for words, changed in configs.items():
        use(loaded.learner.agent, changed)
        found = gradients(loaded, drawn)  # (batches, parameters)
        mean, length = found.mean(0), found.norm(dim=-1)
        first = mean if first is None else first
        key = (config.env.task, Path(asked.run).name, loaded.frames, words)
        row = dict(zip(KEY, key)) | {"seed": config.seed, "batches": asked.batches}
        row |= {
            "agreement": agreement(found),
            "direction": torch.cosine_similarity(first, mean, dim=0).item(),
            "length": length.median().item(),
            "longest": length.max().item(),
        }
        table.add(row | source)
        rows.append(table.rows[-1])
    print(compare(rows, "settings", MEASURES))
    return 0


if __name__ == "__main__":
    run_command(main)
