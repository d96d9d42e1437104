"""One gradient step of everything that learns: world model, actor, critic.

Two copies of the world model: `online` takes the gradient steps, and `model`, which everyone else
reads, is an average of its weights over the last updates. Acting, filtering and dreaming all happen
in the average, which foresees better than the weights of any one update (docs/agent.md): one model,
whose eye and dynamics speak of the same latents. The actor dreams on from the rows of the update
before, so its step and the world model's do not depend on each other and run side by side, on a
thread each; the critic steps on the world model's, which is done first, while the actor's gradients
go back through the dream. On a processor all these steps are too small to profit from more threads
(docs/speed.md).
"""

import copy
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aef_worldmodel.dynamics import State
from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import list_checkpoints, load_latest, load_weights
from aef_worldmodel.world_model import Part, WorldModel
from agents.config import TrainConfig
from agents.imagination import AFTER, ImaginationAgent

MODEL_CLIP, ACTOR_CLIP, CRITIC_CLIP = 10.0, 1.0, 10.0  # largest gradient norms
WARM_ROWS = 5  # rows of a sequence not imagined from: their recurrent state is stale
KEPT = (  # what the agent learns from
    "frame", "action", "reward", "terminal", "first", "recurrent",
    *(f"{name}_after" for name in (*AFTER, "there")),
)  # fmt: skip


class NonFinite(UserError):
    """A loss or gradient that is not a finite number; names the term."""


class Dream(NamedTuple):
    """What the actor and the critic learn from: replayed rows (B, T, .), their states, the actor's
    loss () and terms, and what the critic needs of the imagined rollout."""

    rows: dict[str, Tensor]
    states: State
    loss: Tensor
    terms: dict[str, Tensor]
    imagined: tuple


class _Later:
    """What a pool's future is, without the pool: called once, when its result is asked for."""

    def __init__(self, function: Callable, *arguments: object):
        self.result = functools.cache(functools.partial(function, *arguments))


Job = Future | _Later


class Learner:
    """World model, actor-critic and their optimisers on one device.

    Args:
        config: the run's settings.
        frame_shape: (C, H, W) of uint8 frames.
        action_dim: A.
        discrete: actions are choices among A.

    Raises:
        UserError: there is no such world model of such frames, or nothing to imagine from.
    """

    world_model = WorldModel  # what it makes, of settings, frame_shape and A

    def __init__(self, config: TrainConfig, frame_shape: tuple[int, int, int], action_dim: int,
                 discrete: bool = False):
        if config.length <= WARM_ROWS:
            raise UserError(
                f"length={config.length} leaves nothing to imagine from, since the first "
                f"{WARM_ROWS} rows of a sequence only warm the state: give {WARM_ROWS + 1} or more"
            )
        self.config = config
        ahead = config.agent.replay_horizon
        self.rows_after = 0 if ahead is None else config.length - 1 + ahead
        self.device = torch.device(config.hardware.device)
        self.online = self._make_model(frame_shape, action_dim)
        self.model = copy.deepcopy(self.online).requires_grad_(False)
        features = config.world_model.recurrent_dim + config.world_model.latent_dim
        agent = ImaginationAgent(config.agent, features, action_dim, discrete)
        self.agent = agent.to(self.device)
        self.groups = self.online.groups()
        self.last: dict[str, Tensor] | None = None  # the last update's rows (B, T, .)
        self.generator = torch.Generator(self.device)
        self.generator.manual_seed(config.seed)
        beside = self.device.type == "cpu" and config.hardware.threads > 1
        half = max(1, config.hardware.threads // 2)
        self.pool = (
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(half,))
            if beside else None
        )  # fmt: skip
        self.optimisers = {
            "model": self._adam([p for g in self.groups.values() for p in g], config.model_rate),
            "actor": self._adam(list(self.agent.actor.parameters()), config.actor_rate),
            "critic": self._adam(list(self.agent.critic.parameters()), config.critic_rate),
        }

    def _make_model(self, frame_shape: tuple[int, int, int], action_dim: int) -> WorldModel:
        try:
            model = self.world_model(self.config.world_model, frame_shape, action_dim)
        except ValueError as error:
            raise UserError(f"there is no such world model: {error}") from error
        return model.to(self.device)

    def _adam(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, rate, betas=(0.9, 0.99), fused=True)

    def autocast(self) -> torch.autocast:
        """Mixed precision as the hardware profile says; likelihoods stay in float32.

        Without autocast's cache of low-precision weights: it is one for all threads, so that the
        side that ends first would clear it for the other, and how a weight's gradients are rounded
        would depend on the moment. Gradients of a weight's many uses add up in float32 so.
        """
        low = self.config.hardware.autocast == "bfloat16"
        kind = self.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=low, cache_enabled=False)

    def update(self, batch: dict[str, Tensor], act: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """One step on a batch of sequences; without `act` of the world model alone.

        batch: as `WorldModel.loss` takes it, but recurrent (B, T, H); and, where an actor and a
        critic learn, reward_after, terminal_after, first_after and there_after (B, rows_after):
        `Replay.following` of the first row.

        Returns the new recurrent states of the rows (B, T, H), and named terms () on the device.
        """
        jobs = self._begin_acting(self.last) if act and self.last is not None else ()
        try:
            states, terms = self._step_model(batch, act)
            if jobs:
                terms |= self._finish_acting(*jobs)
        finally:
            if self.pool:
                wait(jobs)  # even when a step failed: no other is left at work
        self._average(self.config.average_rate if act else 1.0)
        self.last = {name: value for name, value in batch.items() if name in KEPT}
        return states.recurrent, terms

    def centre(self, frames: Tensor) -> None:
        """Takes the mean of `frames` (N, C, H, W) uint8 as the centre of preprocessing."""
        for model in (self.online, self.model):
            model.eye.set_mean(frames)

    def take_eye(self, run: Path) -> None:
        """Begins with the eye of another run's averaged world model, its centre included.

        Raises UserError for a run without a usable checkpoint, or an eye of another architecture.
        """
        if not list_checkpoints(run / "checkpoints"):
            raise UserError(f"eye={run} is no run that has saved a checkpoint: name one that has")
        found = load_latest(run / "checkpoints")
        state = found.state.get("learner", {}).get("model", {})
        eye = {name[4:]: part for name, part in state.items() if name.startswith("eye.")}
        for model in (self.online, self.model):
            load_weights(model.eye, eye, found.path)

    @torch.no_grad()
    def _average(self, rate: float) -> None:
        """Moves the averaged world model towards the online one; rate 1 copies it."""
        own, average = self.online, self.model
        torch._foreach_lerp_(list(average.parameters()), list(own.parameters()), rate)

    @torch.no_grad()
    def _filter(self, rows: dict[str, Tensor]) -> State:
        """The states (B, T, .) of rows, in the averaged model."""
        with self.autocast():
            return self.model.follow(
                rows["frame"], rows["action"], rows["first"], rows["recurrent"][:, 0].float()
            )

    def _begin_acting(self, rows: dict[str, Tensor]) -> tuple[Job, Job]:
        """Starts the other side: a dream from the last update's rows, then the actor's step."""
        start = self.pool.submit if self.pool else _Later
        dream = start(self._dream, rows)
        return dream, start(self._step_actor, dream)

    def _finish_acting(self, dream: Job, step: Job) -> dict[str, Tensor]:
        """The critic's step, as soon as there is a dream; then waits for the actor's."""
        critic = self._step_critic(dream.result())
        terms = step.result() | critic
        self.agent.follow()
        return terms

    def _step_model(self, batch: dict[str, Tensor], act: bool) -> tuple[State, dict[str, Tensor]]:
        staged = self.config.world_model.training == "staged"
        part: Part = "joint" if not staged else ("dynamics" if act else "eye")
        seen = {**batch, "recurrent": batch["recurrent"][:, 0]}
        with self.autocast():
            losses = self.online.loss(seen, part)
        refuse_non_finite(losses.terms)
        self.optimisers["model"].zero_grad()
        losses.total.backward()
        norms = {
            f"gradient_{name}": nn.utils.clip_grad_norm_(group, MODEL_CLIP)
            for name, group in self.groups.items()
        }
        refuse_non_finite(norms)
        self.optimisers["model"].step()
        return losses.states, losses.terms | norms

    def _dream(self, rows: dict[str, Tensor]) -> Dream:
        """Imagines from a random subset of the rows' states, none of them an episode's end after
        which nothing comes."""
        states = self._filter(rows)
        start = State(*(part[:, WARM_ROWS:].flatten(0, 1) for part in states))  # (B (T-5), .)
        chosen = torch.randperm(len(start.latent), generator=self.generator, device=self.device)
        ended = rows["terminal"][:, WARM_ROWS:].flatten()
        chosen = chosen[~ended[chosen]][: self.config.agent.starts]
        with self.autocast():
            loss, terms, imagined = self.agent.actor_loss(
                self.model, State(*(part[chosen] for part in start)), self.generator
            )
        refuse_non_finite(terms)
        return Dream(rows, states, loss, terms, imagined)

    def _step_actor(self, dream: Job) -> dict[str, Tensor]:
        actor, (_, _, loss, terms, _) = list(self.agent.actor.parameters()), dream.result()
        for weight, gradient in zip(actor, torch.autograd.grad(loss, actor)):
            weight.grad = gradient
        norm = {"gradient_actor": nn.utils.clip_grad_norm_(actor, ACTOR_CLIP)}
        refuse_non_finite(norm)
        self.optimisers["actor"].step()
        return terms | norm

    def _step_critic(self, dream: Dream) -> dict[str, Tensor]:
        with self.autocast():
            dreamt = self.agent.critic_loss(*dream.imagined)
            real = self.agent.replay_loss(dream.states, dream.rows)
        self.optimisers["critic"].zero_grad()
        (dreamt + self.config.agent.replay_value * real).backward()
        norm = nn.utils.clip_grad_norm_(self.agent.critic.parameters(), CRITIC_CLIP)
        terms = {
            "critic_loss": dreamt.detach(), "replay_value_loss": real.detach(),
            "gradient_critic": norm,
        }  # fmt: skip
        refuse_non_finite(terms)
        self.optimisers["critic"].step()
        return terms

    def state_dict(self) -> dict:
        """Weights and optimiser states, nested."""
        return {
            "model": self.model.state_dict(),
            "online": self.online.state_dict(),
            "agent": self.agent.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "last": self.last,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict, source: Path) -> None:
        """Goes to a saved state. Raises UserError, naming `source`, for another architecture."""
        load_weights(self.model, state["model"], source)
        load_weights(self.online, state["online"], source)
        load_weights(self.agent, state["agent"], source)
        for name, optimiser in self.optimisers.items():
            restore(optimiser, state["optimisers"][name])
        if state["last"] is not None and set(KEPT) <= state["last"].keys():  # else an older version
            self.last = {name: value.to(self.device) for name, value in state["last"].items()}
        self.generator.set_state(state["generator"].cpu())


def restore(optimiser: torch.optim.Optimizer, state: dict) -> None:
    """Goes to a saved state of the moments; the learning rate stays what the settings say."""
    rate = optimiser.param_groups[0]["lr"]
    optimiser.load_state_dict(state)
    optimiser.param_groups[0]["lr"] = rate


def refuse_non_finite(terms: dict[str, Tensor]) -> None:
    """Raises NonFinite naming the terms that are not finite. One device synchronisation."""
    values = torch.stack([value.detach().float() for value in terms.values()])
    if not torch.isfinite(values).all():
        bad = [name for name, value in zip(terms, values.tolist()) if not abs(value) < float("inf")]
        raise NonFinite(f"{', '.join(bad)} became {terms[bad[0]].item()} in an update")
