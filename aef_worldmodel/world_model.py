"""The recurrent AEF world model: exact likelihood of a video given its actions.

    h_t = cell(h_(t-1), [z_(t-1), a_(t-1)])
    log p(x_1..T | a_1..T) = sum_t [ log p(z_t | h_t, z_(t-1)) + volume_t + pixels_t ]

(docs/mathematics.md, "The recurrent AEF")

A row t of a sequence holds frame x_t, the reward that arrived with it, and the action a_t taken
on seeing it. `State(h, z)` is what heads, agents and dynamics read. Shapes: B batch, T time,
N any batch, d latent, H recurrent, A action.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders import ExpandedAEF, PartitionAEF, VariationalAutoencoder
from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.distributions import standard_normal_log_prob
from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.eye import Autoencoder, Code
from aef_worldmodel.networks import PatchDecoder, PatchEncoder, PyramidDecoder

Part = Literal["joint", "eye", "dynamics"]


class Losses(NamedTuple):
    """What `WorldModel.loss` returns: the number to minimise, and what it is made of."""

    total: Tensor  # ()
    states: State  # (B, T, H), (B, T, d), detached: filtered states of every row
    terms: dict[str, Tensor]  # name -> () detached; nats a frame, or as the name says


class VideoLogProb(NamedTuple):
    """Parts of a video's log-likelihood, each (B, T) in nats a frame."""

    prior: Tensor
    volume: Tensor
    pixels: Tensor

    @property
    def total(self) -> Tensor:
        """log p(x_1..T | a_1..T), nats a video (B,)."""
        return (self.prior + self.volume + self.pixels).sum(-1)

    def bits_per_dim(self, dims: int) -> Tensor:
        """`-log2 p / (T D) + 8` of frames in units of grey levels (B,); `dims` D = C H W."""
        return -self.total / (self.prior.shape[-1] * dims * math.log(2)) + 8


class WorldModel(Dynamics):
    """`observe / imagine / decode / loss / log_prob` of a recurrent AEF (or VAE).

    Args:
        config: architecture and objective.
        frame_shape: (C, H, W) of uint8 frames, sides multiples of 16.
        action_dim: A, of actions in [-1, 1].
    """

    def __init__(self, config: WorldModelConfig, frame_shape: tuple[int, int, int],
                 action_dim: int):
        super().__init__(config, action_dim)
        self.eye = make_autoencoder(config, frame_shape)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters by what they make, for gradients that are clipped apart."""
        flow = [] if self.prior_flow is None else list(self.prior_flow.parameters())
        told = [] if self.inverse_head is None else list(self.inverse_head.parameters())
        return {
            "eye": list(self.eye.parameters()),
            "dynamics": [*self.cell.parameters(), *self.prior_net.parameters(), *flow],
            "heads": [*self.reward_head.parameters(), *self.continue_head.parameters(), *told],
        }

    def observe(self, state: State, action: Tensor, frames: Tensor, first: Tensor) -> State:
        """Filters one step: previous state and action, new frames (N, C, H, W) uint8; where
        `first` (N,) bool, the state is forgotten. Deterministic."""
        recurrent = self.step(state, action) * ~first[:, None]
        return State(recurrent, self.eye.encode(frames).latent)

    def loss(self, batch: dict[str, Tensor], part: Part = "joint") -> Losses:
        """Negative log-likelihood of a batch of sequences, exact but for the weight of its pixels
        (`pixel_weight`; docs/mathematics.md), plus the heads' cross-entropies.

        Args:
            batch: frame (B, T, C, H, W) uint8, action (B, T, A), reward (B, T), first and
                terminal (B, T) bool, recurrent (B, H) the stored state of the first row.
            part: "joint"; or one stage of staged training: "eye" learns the autoencoder alone,
                "dynamics" everything else on frozen latents.
        """
        c = self.config
        size, length = batch["first"].shape
        if part == "dynamics":
            with torch.no_grad():
                code = self.eye.encode(batch["frame"].flatten(0, 1))
        else:
            code = self.eye.encode(batch["frame"].flatten(0, 1), dequantise=True)
        latents = code.latent.view(size, length, -1)  # (B, T, d)
        image, terms = self._image_terms(code, part)
        read = latents.detach() if part == "eye" else latents
        recurrent = self.filter(read, batch["action"], batch["first"], batch["recurrent"].float())
        expected = self.priors(recurrent, read, batch["first"])
        known = batch["first"].clone()
        known[:, 1:] = True  # the row before a sequence is not in it
        prior = expected.log_prob(read)[known].mean()
        anchor = standard_normal_log_prob(latents).sum(-1).mean()
        video = image + (1 - c.anchor) * prior + c.anchor * anchor
        if part == "eye":
            video = image + anchor
        states = State(recurrent, read)
        reward, ended = self._head_losses(states, batch)
        ahead = self._overshoot_losses(states, batch)
        total = ended - c.likelihood_scale * (video + ahead.get("ahead", 0.0))
        total = total + c.reward_weight * (reward + ahead.get("ahead_reward", 0.0))
        if self.inverse_head is not None:
            terms["inverse"] = self.inverse(states, batch)
            total = total + c.inverse_weight * terms["inverse"]
        terms |= ahead | {
            "loss": total, "prior": prior, "latent_std": latents.std(),
            "prior_std": expected.std.mean(), "reward_loss": reward, "continue_loss": ended,
        }  # fmt: skip
        if part != "dynamics":
            terms["log_prob"] = terms["pixels"] + terms["volume"] + prior
        detached = {name: value.detach() for name, value in terms.items()}
        return Losses(total, State(recurrent.detach(), latents.detach()), detached)

    def _image_terms(self, code: Code, part: Part) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted pixels (on a random subset of the frames) plus volume, nats a frame."""
        if part == "dynamics":
            return code.volume.new_zeros(()), {}
        count, device = len(code.latent), code.latent.device
        chosen = torch.randperm(count, device=device)[: self.config.decoded_frames]
        pixels, volume = self.eye.pixels(code, chosen).mean(), code.volume.mean()
        terms = {"pixels": pixels, "volume": volume, "sigma": self.eye.sigma.mean()}
        return self.config.pixel_weight * pixels + volume, terms

    def _head_losses(self, state: State, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cross-entropies of reward and continuation, nats a row."""
        features = state.features
        seen = (~batch["first"]).float()  # no reward arrives with an episode's first frame
        reward = (self.reward_head.loss(features, batch["reward"]) * seen).mean()
        logits = self.continue_head(features).float()[..., 0]
        going = (~batch["terminal"]).float()
        return reward, F.binary_cross_entropy_with_logits(logits, going)

    def _overshoot_losses(self, states: State, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What dreams of several decisions miss of latents, nats, and of rewards; where asked."""
        steps = min(self.config.overshoot, states.latent.shape[1] - 1)
        if steps < 1:
            return {}
        return dict(zip(("ahead", "ahead_reward"), self.overshoot(states, batch, steps)))

    def follow(self, frames: Tensor, actions: Tensor, first: Tensor | None = None,
               start: Tensor | None = None) -> State:
        """Filtered states of every row of sequences.

        frames (B, T, C, H, W) uint8, actions (B, T, A), first (B, T) bool: where an episode begins,
        by default nowhere; start (B, H): the recurrent state of the first row, by default at rest.
        Deterministic. Returns (B, T, H) and (B, T, d).
        """
        size, length = frames.shape[:2]
        if first is None:
            first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
        latents = self.eye.encode(frames.flatten(0, 1)).latent.view(size, length, -1)
        start = self.initial(size).recurrent if start is None else start
        return State(self.filter(latents, actions, first, start), latents)

    def log_prob(self, frames: Tensor, actions: Tensor, dequantise: bool = True) -> VideoLogProb:
        """Log-likelihood in nats of videos given their actions, frame by frame, as its parts.

        frames (B, T, C, H, W) uint8 from the start of an episode, actions (B, T, A). Exact for a
        partition AEF; see `self.eye.likelihood` for what the number is otherwise. With
        `dequantise`, noise is drawn anew at every call; without, densities are at bin centres.
        """
        size, length = frames.shape[:2]
        y = self.eye.preprocess(frames.flatten(0, 1), dequantise)
        code = self.eye.encode_y(y)  # a bound needs a draw, centred or not
        latents = code.latent.view(size, length, -1)  # (B, T, d)
        first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
        recurrent = self.filter(latents, actions, first, self.initial(size).recurrent)
        prior = self.priors(recurrent, latents, first).log_prob(latents)  # (B, T)
        volume, pixels = code.volume, self.eye.pixels(code)
        return VideoLogProb(prior, volume.view(size, length), pixels.view(size, length))

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (..., d) -> frames (..., C, H, W) float in [0, 1]."""
        frames = self.eye.decode(latent.flatten(0, -2))
        return frames.view(*latent.shape[:-1], *frames.shape[1:])


def make_autoencoder(config: WorldModelConfig, shape: tuple[int, int, int]) -> Autoencoder:
    """The eye named by `config.autoencoder`, with the decoder named by `config.decoder`."""
    c = config
    encoder = PatchEncoder(shape, c.latent_dim, c.width, c.hidden_dim)
    draws = {"patches": PatchDecoder, "pyramid": PyramidDecoder}[c.decoder]
    decoder = draws(shape, c.latent_dim, c.width, c.hidden_dim)
    if c.autoencoder == "partition":
        return PartitionAEF(encoder, decoder, shape, c.latent_dim, core=c.core,
                            sigma_floor=c.sigma_floor)
    kind = {"expanded": ExpandedAEF, "vae": VariationalAutoencoder}[c.autoencoder]
    return kind(encoder, decoder, shape, c.latent_dim, sigma_floor=c.sigma_floor)
