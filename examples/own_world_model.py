"""A world model of your own: a deterministic latent that is corrected by each frame.

    python examples/own_world_model.py env=cartpole-balance frames=5000

Unlike the AEF, the latent of a frame depends on the recurrent state, and frames are decoded from
both: the interface asks for neither the one nor the other. There is no likelihood, so probes leave
bits/dim out. Shapes: B sequences, T rows, N any batch, d latent, H recurrent, A action.
"""

import sys
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders.networks import make_networks
from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.distributions import TwoHotHead
from aef_worldmodel.nn.layers import mlp
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.world_models.base import (
    WORLD_MODELS,
    Losses,
    State,
    WorldModel,
    WorldModelConfig,
)
from agents import train


@dataclass(frozen=True)
class CorrectedConfig(WorldModelConfig):
    """Settings, set by `world_model.latent_dim=32` on the command line."""

    kind: Literal["corrected"] = "corrected"
    """The world model's name."""
    latent_dim: int = 32
    """d."""
    recurrent_dim: int = 128
    """H."""
    width: int = 32
    """Base channels of encoder and decoder."""


@WORLD_MODELS.register("corrected")
class CorrectedModel(WorldModel):
    """h_t = GRU(h_(t-1), [z_(t-1), a_(t-1)]), z_t = f(h_t, x_t), predicted as g(h_t)."""

    Config = CorrectedConfig
    config: CorrectedConfig

    def __init__(self, config: CorrectedConfig, frame_shape, action_dim: int) -> None:
        super().__init__(config, frame_shape, action_dim)
        d, h, features = config.latent_dim, config.recurrent_dim, self.feature_dim
        self.encoder, _ = make_networks("patch", frame_shape, d, width=config.width)
        _, self.decoder = make_networks("patch", frame_shape, features, width=config.width)
        self.cell = nn.GRUCell(d + action_dim, h)
        self.correction, self.prediction = mlp(h + d, d, h, 1), mlp(h, d, h, 1)
        self.reward_head, self.continue_head = TwoHotHead(features, h, 1), mlp(features, 1, h, 1)

    @property
    def state_dims(self) -> tuple[int, int]:
        """Widths H, d of a state."""
        return self.config.recurrent_dim, self.config.latent_dim

    def see(self, recurrent: Tensor, frames: Tensor) -> State:
        """Correct the latent by the frame."""
        seen = self.encoder(frames.float() / 256)[0].float()
        return State(recurrent, torch.tanh(self.correction(torch.cat([recurrent, seen], -1))))

    def predict(self, state: State, action: Tensor, temperature=0.0, generator=None) -> State:
        """Predict the latent from h alone; noise of a tenth at temperature 1."""
        recurrent = self.transition(state, action)
        latent = torch.tanh(self.prediction(recurrent)).float()
        noise = torch.randn(latent.shape, generator=generator, device=latent.device)
        return State(recurrent, latent + 0.1 * temperature * noise)

    def transition(self, state: State, action: Tensor) -> Tensor:
        """Move h by the action."""
        return self.cell(torch.cat([state.latent, action], -1), state.recurrent).float()

    def decode(self, state: State) -> Tensor:
        """Return frames (..., C, H, W) of (h, z)."""
        features = state.features
        frames = self.decoder(features.flatten(0, -2)).float()
        return torch.sigmoid(frames).view(*features.shape[:-1], *self.frame_shape)

    def reward(self, state: State) -> Tensor:
        """Return the expected reward (...)."""
        return self.reward_head.mean(state.features)

    def continuation(self, state: State) -> Tensor:
        """Return the probability that the episode goes on (...)."""
        return torch.sigmoid(self.continue_head(state.features).float()[..., 0])

    def loss(self, batch: Batch) -> Losses:
        """Return squared errors of frames and predicted latents plus the heads' losses."""
        states = self.filter_frames(
            batch.frame, batch.action, batch.first, batch.recurrent[:, 0].float()
        )
        pixels = F.mse_loss(self.decode(states), batch.frame.float() / 256)
        guess = torch.tanh(self.prediction(states.recurrent[:, 1:]))
        latent = F.mse_loss(guess, states.latent[:, 1:].detach())
        reward = self.reward_head.loss(states.features, batch.reward)[~batch.first].mean()
        logits = self.continue_head(states.features).float()[..., 0]
        ended = F.binary_cross_entropy_with_logits(logits, (~batch.terminal).float())
        total = 100 * pixels + latent + reward + ended
        terms = {"loss": total, "pixels": pixels, "latent": latent, "reward_loss": reward}
        return Losses(total, states, {name: value.detach() for name, value in terms.items()})


def main(argv: list[str]) -> int:
    """Train with this world model; words of the command line change any setting."""
    return train.main(["world_model=corrected", *argv])


if __name__ == "__main__":
    sys.exit(run_command(main))
