"""The recurrent AEF world model: exact likelihood of a video given its actions.

    h_t = cell(h_(t-1), [z_(t-1), a_(t-1)])
    log p(x_1..T | a_1..T) = sum_t [ log p(z_t | h_t, z_(t-1)) + log_det_t + pixels_t ]

(docs/concepts/mathematics.md, "The recurrent AEF")

Shapes: B sequences, T rows, N any batch, d latent, H recurrent, A action.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Autoencoder, Code
from aef_worldmodel.autoencoders.registry import make_autoencoder
from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.distributions import standard_normal_log_prob
from aef_worldmodel.utils.compiling import compilable
from aef_worldmodel.world_models.base import WORLD_MODELS, Losses, State
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.dynamics import Dynamics

DECODED_SHARE = 3  # one frame in three of a batch is decoded for the loss: an unbiased estimate


class VideoLogProb(NamedTuple):
    """Parts of a video's log-likelihood, each (B, T) in nats a frame."""

    prior: Tensor
    volume: Tensor  # log-determinants up to and including the encoder
    pixels: Tensor  # the decoder's log-density

    @property
    def total(self) -> Tensor:
        """log p(x_1..T | a_1..T), nats a video (B,)."""
        return (self.prior + self.volume + self.pixels).sum(-1)

    def bits_per_dim(self, dims: int) -> Tensor:
        """Return `-log2 p / (T D) + 8` in units of grey levels (B,); `dims` is D = C H W."""
        return -self.total / (self.prior.shape[-1] * dims * math.log(2)) + 8


@WORLD_MODELS.register("recurrent")
class RecurrentWorldModel(Dynamics):
    """A world model whose latents come from the frame alone, through an AEF or a sibling.

    Args:
        config: architecture and objective.
        frame_shape: (C, H, W) of uint8 frames, sides multiples of 16.
        action_dim: A, of actions in [-1, 1].

    Raises:
        ValueError: an unknown autoencoder or network, or frames they cannot see.
    """

    Config = RecurrentConfig
    autoencoder: Autoencoder

    def __init__(
        self, config: RecurrentConfig, frame_shape: tuple[int, ...], action_dim: int
    ) -> None:
        super().__init__(config, frame_shape, action_dim)
        c = config
        self.autoencoder = make_autoencoder(
            c.autoencoder,
            frame_shape,
            c.latent_dim,
            networks=c.networks,
            width=c.width,
            hidden=c.hidden_dim,
            sigma_floor=c.sigma_floor,
        )
        self.likelihood = self.autoencoder.likelihood

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of autoencoder, dynamics and heads."""
        return {
            "autoencoder": list(self.autoencoder.parameters()),
            "dynamics": [*self.cell.parameters(), *self.prior_net.parameters()],
            "heads": [*self.reward_head.parameters(), *self.continue_head.parameters()],
        }

    def set_mean(self, frames: Tensor) -> None:
        """Take the mean of frames (N, C, H, W) uint8 as the centre of preprocessing."""
        self.autoencoder.set_mean(frames)

    # -- states --------------------------------------------------------------------------

    def see(self, recurrent: Tensor, frames: Tensor) -> State:
        """Return the states of frames, whose latents do not depend on h; deterministic."""
        return State(recurrent, self.autoencoder.encode(frames).latent)

    def filter_rows(self, frames: Tensor, actions: Tensor, first: Tensor, start: Tensor) -> State:
        """Filter as `WorldModel.filter_rows`, all frames encoded at once."""
        y = self.autoencoder.preprocess(frames.flatten(0, 1), dequantise=False)
        code = self.encode_rows(y, actions, first, start, sample=False)
        latents = code.latent.view(*first.shape, -1)  # (B, T, d)
        return State(self.filter(latents, actions, first, start), latents)

    def encode_rows(
        self, y: Tensor, actions: Tensor, first: Tensor, start: Tensor, *, sample: bool
    ) -> Code:
        """Return the codes of all rows of sequences; here they depend on the frames alone.

        Args:
            y: preprocessed frames (B T, C, H, W), a sequence after another.
            actions: (B, T, A).
            first: (B, T) bool, where the state is forgotten.
            start: recurrent state of the first row (B, H).
            sample: draw latents, where the autoencoder has noise.
        """
        return self.autoencoder.encode_y(y, sample=sample)

    def decode(self, state: State) -> Tensor:
        """Return the mean frames (..., C, H, W) of states, float in [0, 1]; h is not used."""
        latent = state.latent
        frames = self.autoencoder.decode(latent.flatten(0, -2))
        return frames.view(*latent.shape[:-1], *frames.shape[1:])

    # -- likelihood ----------------------------------------------------------------------

    def loss(self, batch: Batch) -> Losses:
        """Return the negative log-likelihood of a batch of sequences plus the heads' losses.

        The likelihood is exact but for the weight of its pixels (`pixel_weight`):

            video = pixel_weight pixels + log_det + (1 - anchor) log p(z|h) + anchor log N(z; 0, I)
            loss  = reward + continuation - likelihood_scale video
        """
        y = self.autoencoder.preprocess(batch.frame.flatten(0, 1), dequantise=True)
        start = batch.recurrent[:, 0].float()
        code = self.encode_rows(y, batch.action, batch.first, start, sample=True)
        latents = code.latent.view(*batch.first.shape, -1)  # (B, T, d)
        image, terms = self._image_terms(code)
        losses = self.sequence_loss(latents, batch)
        total = losses.total - self.config.likelihood_scale * image
        terms |= losses.terms | {"loss": total}
        terms["log_prob"] = terms["pixels"] + terms["volume"] + terms["prior"]
        return Losses(total, losses.states, {name: value.detach() for name, value in terms.items()})

    @compilable
    def sequence_loss(self, latents: Tensor, batch: Batch) -> Losses:
        """Return the part of the loss that sees latents (B, T, d) but no pixels."""
        c = self.config
        recurrent = self.filter(
            latents, batch.action, batch.first, batch.recurrent[:, 0].float()
        )  # (B, T, H)
        expected = self.priors(recurrent, latents, batch.first)
        known = batch.first.clone()
        known[:, 1:] = True  # the latent before a sequence is not in the sequence
        prior = (expected.log_prob(latents) * known).sum() / known.sum().clamp(min=1)
        anchor = standard_normal_log_prob(latents).sum(-1).mean()
        states = State(recurrent, latents)
        reward, ended = self.head_losses(states, batch)
        nats = (1 - c.anchor) * prior + c.anchor * anchor
        terms = {
            "prior": prior,
            "latent_std": latents.std(),
            "prior_std": expected.std.mean(),
            "reward_loss": reward,
            "continue_loss": ended,
        }
        return Losses(reward + ended - c.likelihood_scale * nats, states, terms)

    def autoencoder_loss(self, batch: Batch) -> Losses:
        """Return the negative log-likelihood of single frames under the prior N(0, I).

        The first stage of staged training: only the autoencoder learns.
        """
        code = self.autoencoder.encode(batch.frame.flatten(0, 1), dequantise=True)
        image, terms = self._image_terms(code)
        anchor = standard_normal_log_prob(code.latent).sum(-1).mean()
        total = -self.config.likelihood_scale * (image + anchor)
        terms |= {"loss": total, "prior": anchor, "latent_std": code.latent.std()}
        terms["log_prob"] = terms["pixels"] + terms["volume"] + anchor
        with torch.no_grad():
            latents = code.latent.view(*batch.first.shape, -1)  # (B, T, d)
            start = batch.recurrent[:, 0].float()
            states = State(self.filter(latents, batch.action, batch.first, start), latents)
        return Losses(total, states, {name: value.detach() for name, value in terms.items()})

    def _image_terms(self, code: Code) -> tuple[Tensor, dict[str, Tensor]]:
        """Return weighted pixels (of a random third of the frames) plus log-det, nats a frame."""
        count, device = len(code.latent), code.latent.device
        chosen = torch.randperm(count, device=device)[: max(1, count // DECODED_SHARE)]
        pixels = self.autoencoder.reconstruction_log_prob(code, chosen).mean()
        volume = code.log_det.mean()
        terms = {"pixels": pixels, "volume": volume, "sigma": self.autoencoder.sigma.mean()}
        return self.config.pixel_weight * pixels + volume, terms

    def log_prob(self, frames: Tensor, actions: Tensor, dequantise: bool = True) -> VideoLogProb:
        """Return the log-likelihood in nats of videos given their actions, frame by frame.

        Exact for a partition AEF; `self.autoencoder.likelihood` names what the number is
        otherwise.

        Args:
            frames: (B, T, C, H, W) uint8 from the start of an episode.
            actions: (B, T, A).
            dequantise: draw new noise at every call; without, densities are at bin centres.
        """
        size, length = frames.shape[:2]
        y = self.autoencoder.preprocess(frames.flatten(0, 1), dequantise)
        first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
        start = self.initial(size).recurrent
        drawn = self.likelihood == "bound"  # dequantised or not
        code = self.encode_rows(y, actions, first, start, sample=drawn)
        latents = code.latent.view(size, length, -1)  # (B, T, d)
        recurrent = self.filter(latents, actions, first, start)
        prior = self.priors(recurrent, latents, first).log_prob(latents)  # (B, T)
        volume, pixels = code.log_det, self.autoencoder.reconstruction_log_prob(code)
        return VideoLogProb(prior, volume.view(size, length), pixels.view(size, length))

    def observe_log_prob(
        self, state: State, action: Tensor, frames: Tensor, first: Tensor
    ) -> tuple[State, tuple[Tensor, Tensor, Tensor]]:
        """Filter one step; return the frames' prior, volume and pixels, nats (N,) each.

        Densities are at bin centres, as `log_prob` has them without dequantisation.
        """
        y, drawn = self.autoencoder.preprocess(frames, dequantise=False), self.likelihood == "bound"
        code = self.autoencoder.encode_y(y, sample=drawn)
        again = ~first[:, None]
        recurrent = self.transition(state, action) * again
        prior = self.prior(recurrent, state.latent * again).log_prob(code.latent)
        pixels = self.autoencoder.reconstruction_log_prob(code)
        volume = torch.as_tensor(code.log_det).expand_as(prior)
        return State(recurrent, code.latent), (prior, volume, pixels)

    def autocast_modules(self) -> list[nn.Module]:
        """Return the encoder, the cell, the prior and the heads."""
        return [
            self.autoencoder.encoder,
            self.cell,
            self.prior_net,
            self.reward_head,
            self.continue_head,
        ]
