"""How far a dream can be trusted: `python -m benchmarks.dream_validity`.

A finished run of the AEF plays some decisions, then dreams: the actor acts in imagined states. The
simulator is given the dream's actions from the same state, so what would have come is known. Three
errors of each dreamt step:

    latent   distance of the dreamt latent from that of the true frame
    pixel    root mean square difference of the decoded frame from the true one, in [0, 1]
    joint    distance of the state that a ridge regression reads off the dreamt latent from the
             simulator's, in standard deviations

Scores that do not see the truth are correlated with them (Spearman): over all dreams and steps
("pooled", where both grow with the step, as the score "step" shows), and over dreams at the same
step, the mean over steps ("within").
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import Row, Table
from aef_worldmodel.world_models.base import State
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.learning.learner import Learner
from agents.playing.env_factory import make_envs
from agents.playing.rollout import EnvLoop
from agents.training.provenance import provenance
from agents.training.recording import Recording
from agents.training.runs import load_run
from agents.training.seeds import CALIBRATION
from benchmarks import novelty
from benchmarks.detection import spearman
from benchmarks.surprise import Arm, Group, find_runs, grouped, missing

KEY = ("task", "seed", "score")
ERRORS = ("latent", "pixel", "joint")
PLACE = 100  # in the stream of seeds, beyond those of benchmarks.surprise
RIDGE = 1e-2


@dataclass(frozen=True)
class DreamValidityConfig:
    """Settings of `python -m benchmarks.dream_validity`."""

    runs: tuple[str, ...] = ()
    """Folders of runs; none for those of the study `likelihood`."""
    study: str = "studies/likelihood"
    """Folder of the study."""
    dreams: int = 200
    """Dreams of each run."""
    batch: int = 20
    """Dreams at once."""
    decisions: int = 50
    """Length of a dream."""
    context: int = 30
    """Decisions that are played before a dream."""
    draws: int = 8
    """Dreams with noise whose spread is a score."""
    heads: int = 3
    """Dynamics of the ensemble."""
    updates: int = 1_000
    """Updates of each of them, on latents of the run's rows."""
    samples: int = 64
    """Samples of the VAE's bound."""
    out: str = "results/dream_validity.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, dreams=(2, 100_000), batch=(1, None), decisions=(1, None))
        check_bounds(self, context=(1, None), draws=(2, None), heads=(2, 100), updates=(1, None))
        check_bounds(self, samples=(1, 10_000))


class Dream(NamedTuple):
    """N dreams of T decisions, and what came before and would have come."""

    before: State  # (N, .) the state from which a dream begins
    states: State  # (N, T, .) dreamt
    actions: Tensor  # (N, T, A) that lead to them
    frames: Tensor  # (N, T, C, H, W) of the simulator under the same actions
    proprio: Tensor  # (N, T, P)
    context: tuple[Tensor, Tensor, Tensor]  # frames, actions and proprio (N, S, .) before


@torch.no_grad()
def dream(learner: Learner, env: Any, seed: int, asked: DreamValidityConfig) -> Dream:
    """Play the context, dream, and let the simulator follow."""
    model, policy = learner.model, learner.agent.policy(False, learner.model)
    loop = EnvLoop(env, learner, policy)
    loop.reset(seed)
    rows = []
    for _ in range(asked.context):
        proprio = env.proprio()
        made = loop.step()
        rows.append((made.frame.clone(), made.action.clone(), proprio))
    nowhere, begin = torch.zeros_like(loop.first), env.proprio()
    before = model.observe(loop.state, loop.action, loop.frame, nowhere)
    state, states, actions, truth = before, [], [], []
    for _ in range(asked.decisions):
        action = policy.act(state, nowhere)
        state = model.predict(state, action)
        frame = env.step(action)[0]
        states.append(state)
        actions.append(action)
        truth.append((frame.clone(), env.proprio()))
    rows.append((loop.frame, actions[0], begin))  # the dream begins from it
    context = [torch.stack(part, 1) for part in zip(*rows, strict=True)]
    dreamt = State(*(torch.stack(part, 1) for part in zip(*states, strict=True)))
    frames, proprio = (torch.stack(part, 1) for part in zip(*truth, strict=True))
    kept = (context[0], context[1], context[2])
    return Dream(before, dreamt, torch.stack(actions, 1), frames, proprio, kept)


@torch.no_grad()
def errors(model: RecurrentWorldModel, made: Dream, read: Tensor, scale: Tensor) -> dict:
    """Return the true errors of each step, (N, T) each; `read` (d + 1, P) is the regression."""
    true = model.autoencoder.encode(made.frames.flatten(0, 1)).latent.view_as(made.states.latent)
    pixels = model.decode(made.states) - (made.frames + 0.5) / 256
    joints = (with_one(made.states.latent) @ read - made.proprio) / scale
    return {
        "latent": (made.states.latent - true).norm(dim=-1),
        "pixel": pixels.flatten(2).square().mean(-1).sqrt(),
        "joint": joints.norm(dim=-1),
    }


def with_one(latents: Tensor) -> Tensor:
    """Return latents (..., d) with a constant, (..., d + 1)."""
    return torch.cat([latents, torch.ones_like(latents[..., :1])], -1)


def regression(latents: Tensor, proprio: Tensor) -> Tensor:
    """Return the ridge regression (d + 1, P) from latents (K, d) to states (K, P)."""
    inputs = with_one(latents).double()
    gram = inputs.T @ inputs + RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    return torch.linalg.solve(gram, inputs.T @ proprio.double()).float()


@torch.no_grad()
def own_scores(model: RecurrentWorldModel, made: Dream) -> dict[str, Tensor]:
    """Return the exact likelihood's scores of dreams and the round trip's, (N, T) each.

    The decoded frame of each step is judged given the dream before it.
    """
    eye, states = model.autoencoder, made.states
    shape = states.latent.shape[:2]
    frames = to_uint8(model.decode(states))  # (N, T, C, H, W)
    code = eye.encode_y(eye.preprocess(frames.flatten(0, 1), dequantise=False))
    again = code.latent.view_as(states.latent)
    previous = torch.cat([made.before.latent[:, None], states.latent[:, :-1]], 1)
    expected = model.prior(states.recurrent, previous)
    prior = expected.log_prob(again)  # of the re-encoded latent given the dream
    volume = torch.as_tensor(code.log_det).expand(shape.numel()).view(shape)
    pixels = eye.reconstruction_log_prob(code).view(shape)
    residual = (again - states.latent).norm(dim=-1)
    motion = (states.latent - previous).norm(dim=-1)
    single = {
        "log p: prior": -prior,
        "log p: volume": -volume,
        "log p: pixels": -pixels,
        "log p: total": -(prior + volume + pixels),
        "prior entropy": expected.std.log().sum(-1),
        "round trip": residual,
        "round trip / motion": residual / motion.clamp(min=1e-6),
    }
    return single | {f"{name}, summed": values.cumsum(1) for name, values in single.items()}


def to_uint8(frames: Tensor) -> Tensor:
    """Return frames in [0, 1] as uint8."""
    return (frames * 255).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def spread(model: RecurrentWorldModel, made: Dream, draws: int) -> Tensor:
    """Return the standard deviation over noisy dreams under the same actions, (N, T)."""
    found = [followed(model, made, temperature=1.0) for _ in range(draws)]
    return torch.stack(found).std(0).norm(dim=-1)


def followed(model: RecurrentWorldModel, made: Dream, temperature: float = 0.0) -> Tensor:
    """Return the latents (N, T, d) that a model dreams under a dream's actions."""
    state, latents = made.before, []
    for action in made.actions.unbind(1):
        state = model.predict(state, action, temperature)
        latents.append(state.latent)
    return torch.stack(latents, 1)


def ensemble(model: RecurrentWorldModel, data: Recording, asked: DreamValidityConfig) -> list:
    """Return copies of a model whose dynamics learnt anew on the latents of the same rows."""
    return [head(model, data, asked.updates, seed) for seed in range(asked.heads)]


def head(model: RecurrentWorldModel, data: Recording, updates: int, seed: int) -> Any:
    """Return a model with the same latents and dynamics that learnt from the run's rows alone."""
    torch.manual_seed(seed)
    fresh = copy.deepcopy(model)
    made = type(model)(model.config, model.frame_shape, model.action_dim)
    fresh.cell, fresh.prior_net = made.cell, made.prior_net
    parameters = [*fresh.cell.parameters(), *fresh.prior_net.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(parameters, 8e-4)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(updates):
        rows = data.sample(12, 16, generator)
        first, action = rows["first"], rows["action"]
        with torch.no_grad():
            z = model.autoencoder.encode(rows["frame"].flatten(0, 1)).latent.view(*first.shape, -1)
        recurrent = fresh.filter(z, action, first, fresh.initial(len(first)).recurrent)
        loss = -fresh.priors(recurrent, z, first).log_prob(z)[:, 1:].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return fresh.requires_grad_(False)


@torch.no_grad()
def disagreement(heads: list, made: Dream) -> Tensor:
    """Return the standard deviation over the heads' dreams under the same actions, (N, T).

    Each head filters the context itself.
    """
    found = []
    for model in heads:
        states = novelty.states_of(model, *made.context[:2])
        own = made._replace(before=states.map(lambda part: part[:, -1]))
        found.append(followed(model, own))
    return torch.stack(found).std(0).norm(dim=-1)


@torch.no_grad()
def bound(group: Group, made: Dream, samples: int) -> dict[str, Tensor]:
    """Return minus the VAE's bound of the decoded dream after its context; {} without a VAE."""
    if "vae" not in group:
        return {}
    frames = to_uint8(group["aef"].run.learner.model.decode(made.states))
    seen = torch.cat([made.context[0], frames], 1)
    actions = torch.cat([made.context[1], made.actions[:, 1:], made.actions[:, -1:]], 1)
    vae: Any = group["vae"].run.learner.model
    scores = novelty.vae_bound(vae, samples)(seen, actions)
    return {name: values[:, made.context[0].shape[1] :] for name, values in scores.items()}


def correlations(score: Tensor, error: Tensor) -> tuple[float, float]:
    """Return Spearman's correlation of (N, T) pooled, and its mean over steps within them."""
    within = [spearman(*pair) for pair in zip(score.unbind(1), error.unbind(1), strict=True)]
    known = torch.tensor(within)
    return spearman(score, error), known[~known.isnan()].mean().item()


def examine(group: Group, asked: DreamValidityConfig, table: Table, source: Row) -> None:
    """Add the rows of one task and seed."""
    run, folder = group["aef"]
    config, learner = run.config, run.learner
    model: Any = learner.model
    batch = min(asked.batch, asked.dreams)
    env = make_envs(config.env, batch, resolve(HardwareConfig(device="cpu", threads=1)))
    heads = ensemble(model, Recording(folder), asked)
    found: list[dict[str, Tensor]] = []
    made, count = [], -(-asked.dreams // batch)
    with Progress(f"{config.env.task} seed {config.seed}", count, "batches") as progress:
        for place in range(count):
            seed = CALIBRATION.of(config.seed, PLACE + place)
            made.append(dream(learner, env, seed, asked))
            progress.update(place + 1)
    frames, _, proprio = (torch.cat(part)[:, :-1] for part in zip(*(m.context for m in made)))
    with torch.no_grad():
        latents = model.autoencoder.encode(frames.flatten(0, 1)).latent
    read, scale = regression(latents, proprio.flatten(0, 1)), proprio.flatten(0, 1).std(0)
    truth = [errors(model, one, read, scale.clamp(min=1e-3)) for one in made]
    for one in made:
        scores = own_scores(model, one) | bound(group, one, asked.samples)
        scores["spread of draws"] = spread(model, one, asked.draws)
        scores[f"ensemble of {asked.heads}"] = disagreement(heads, one)
        steps = torch.arange(1.0, asked.decisions + 1)
        scores["step"] = steps.expand(batch, -1)
        found.append(scores)
    for name in found[0]:
        key = dict(zip(KEY, (config.env.task, config.seed, name), strict=True))
        values = torch.cat([scores[name] for scores in found])
        row: dict[str, object] = {}
        for error in ERRORS:
            pooled, within = correlations(values, torch.cat([one[error] for one in truth]))
            row |= {f"{error}_pooled": pooled, f"{error}_within": within}
        table.add(key | row | {"dreams": len(values), "trained": run.frames} | source)


def summary(rows: Sequence[Row]) -> str:
    """Return a table in Markdown: means over tasks and seeds, a line a score."""
    columns = [f"{error}_{which}" for error in ERRORS for which in ("pooled", "within")]
    lines = [f"| score | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(row["score"] for row in rows):
        own = [row for row in rows if row["score"] == name]
        means = [sum(float(row[column]) for row in own) / len(own) for column in columns]
        lines.append(f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Measure what is not in the CSV yet, say which runs are missing and print the table."""
    asked = settings.load(argv, DreamValidityConfig, "benchmarks.dream_validity")
    torch.set_num_threads(1)
    hardware = resolve(HardwareConfig(device="cpu", threads=1))
    groups = grouped(find_runs(asked))
    table, source = Table(asked.out, KEY), provenance("benchmarks.dream_validity", argv, hardware)
    for (task, seed), arms in groups.items():
        if table.find(dict(zip(KEY, (task, seed, "step"), strict=True))):  # the last score
            continue
        torch.manual_seed(0)
        names = [name for name in ("aef", "vae") if name in arms]
        group = {name: Arm(load_run(arms[name], hardware), arms[name]) for name in names}
        examine(group, asked, table, source)
    for sentence in missing(groups):
        print(f"missing: {sentence}")
    print(summary(table.rows))
    return 0


if __name__ == "__main__":
    run_command(main)
