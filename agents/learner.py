"""One gradient step of everything that learns: world model, actor, critic."""

import torch
from torch import Tensor, nn

from aef_worldmodel.errors import UserError
from aef_worldmodel.world_model import Part, State, WorldModel
from agents.config import TrainConfig
from agents.imagination import ImaginationAgent

MODEL_CLIP, ACTOR_CLIP, CRITIC_CLIP = 10.0, 1.0, 10.0  # largest gradient norms
WARM_ROWS = 3  # rows of a sequence not imagined from: their recurrent state is stale


class NonFinite(UserError):
    """A loss or gradient that is not a finite number; names the term."""


class Learner:
    """World model, actor-critic and their optimisers on one device.

    Args:
        config: the run's settings.
        frame_shape: (C, H, W) of uint8 frames.
        action_dim: A.
    """

    def __init__(self, config: TrainConfig, frame_shape: tuple[int, int, int], action_dim: int):
        self.config = config
        self.device = torch.device(config.hardware.device)
        self.model = WorldModel(config.world_model, frame_shape, action_dim).to(self.device)
        features = config.world_model.recurrent_dim + config.world_model.latent_dim
        self.agent = ImaginationAgent(config.agent, features, action_dim).to(self.device)
        m = self.model
        self.groups = {
            "eye": list(m.eye.parameters()),
            "dynamics": [*m.cell.parameters(), *m.prior_net.parameters()],
            "heads": [*m.reward_head.parameters(), *m.continue_head.parameters()],
        }
        self.optimisers = {
            "model": self._adam(sum(self.groups.values(), []), config.model_rate),
            "actor": self._adam(list(self.agent.actor.parameters()), config.actor_rate),
            "critic": self._adam(list(self.agent.critic.parameters()), config.critic_rate),
        }

    def _adam(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, rate, betas=(0.9, 0.99), fused=True)

    def autocast(self) -> torch.autocast:
        """Mixed precision as the hardware profile says; likelihoods stay in float32."""
        low = self.config.hardware.autocast == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def update(self, batch: dict[str, Tensor], act: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """One step on a batch of sequences; without `act` of the world model alone.

        Returns the new recurrent states of the rows (B, T, H), and named terms () on the device.
        """
        staged = self.config.world_model.training == "staged"
        part: Part = "joint" if not staged else ("dynamics" if act else "eye")
        with self.autocast():
            losses = self.model.loss({**batch, "recurrent": batch["recurrent"][:, 0]}, part)
        terms = losses.terms | self._step_model(losses.total, losses.terms)
        if act:
            terms |= self._step_agent(losses.states)
        return losses.states.recurrent, terms

    def _step_model(self, total: Tensor, named: dict[str, Tensor]) -> dict[str, Tensor]:
        refuse_non_finite(named)
        self.optimisers["model"].zero_grad()
        total.backward()
        norms = {
            f"gradient_{name}": nn.utils.clip_grad_norm_(group, MODEL_CLIP)
            for name, group in self.groups.items()
        }
        refuse_non_finite(norms)
        self.optimisers["model"].step()
        return norms

    def _step_agent(self, states: State) -> dict[str, Tensor]:
        """Imagines from a random subset of the replayed states; steps actor, then critic."""
        start = State(*(part[:, WARM_ROWS:].flatten(0, 1) for part in states))  # (B (T-3), .)
        count = self.config.agent.starts
        chosen = torch.randperm(len(start.latent), device=self.device)[:count]
        with self.autocast():
            loss, terms, needed = self.agent.actor_loss(
                self.model, State(*(part[chosen] for part in start))
            )
        actor = list(self.agent.actor.parameters())
        for weight, gradient in zip(actor, torch.autograd.grad(loss, actor)):
            weight.grad = gradient
        terms["gradient_actor"] = nn.utils.clip_grad_norm_(actor, ACTOR_CLIP)
        refuse_non_finite(terms)
        self.optimisers["actor"].step()
        with self.autocast():
            terms["critic_loss"] = self.agent.critic_loss(*needed)
        self.optimisers["critic"].zero_grad()
        terms["critic_loss"].backward()
        critic = self.agent.critic.parameters()
        terms["gradient_critic"] = nn.utils.clip_grad_norm_(critic, CRITIC_CLIP)
        refuse_non_finite({name: terms[name] for name in ("critic_loss", "gradient_critic")})
        self.optimisers["critic"].step()
        self.agent.follow()
        return {name: value.detach() for name, value in terms.items()}

    def state_dict(self) -> dict:
        """Weights and optimiser states, nested."""
        return {
            "model": self.model.state_dict(),
            "agent": self.agent.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
        }


def refuse_non_finite(terms: dict[str, Tensor]) -> None:
    """Raises NonFinite naming the terms that are not finite. One device synchronisation."""
    values = torch.stack([value.detach().float() for value in terms.values()])
    if not torch.isfinite(values).all():
        bad = [name for name, value in zip(terms, values.tolist()) if not abs(value) < float("inf")]
        raise NonFinite(f"{', '.join(bad)} became {terms[bad[0]].item()} in an update")
