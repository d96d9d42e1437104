"""The recurrent state-space model (RSSM) of DreamerV3, the rival of the recurrent AEF.

    h_t = cell(h_(t-1), [z_(t-1), a_(t-1)])
    z_t ~ q(z_t | h_t, x_t), the posterior;  p(z_t | h_t), the prior
    loss = |x - decoder(h, z)|^2 + reward + continuation + 1.0 dynamics + 0.1 representation
    dynamics = max(1, KL(sg(q) || p)),  representation = max(1, KL(q || sg(p)))

sg stops gradients. Hafner et al., "Mastering diverse domains through world models", 2023, equations
1-5; with Gaussian latents it is the model of "Dream to control", 2020, under the same loss.

Networks, preprocessing, cell and heads are those of the recurrent AEF, in sizes that give it as
many parameters. Filtering takes the posterior's mode, so that acting is deterministic as it is for
every other world model here; training draws.

Shapes: B sequences, T rows, N any batch, E embedding, d latent, H recurrent, A action.
"""

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.networks import make_decoder, make_encoder
from aef_worldmodel.autoencoders.vae import PlainAutoencoder
from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.layers import GatedCell, mlp
from aef_worldmodel.world_models.base import WORLD_MODELS, Losses, State
from aef_worldmodel.world_models.cell_and_heads import CellAndHeads
from aef_worldmodel.world_models.latents import Categorical, Gaussian, Latents
from aef_worldmodel.world_models.recurrent import DECODED_SHARE, VideoLogProb
from aef_worldmodel.world_models.rssm_config import RSSMConfig

FREE_NATS = 1.0  # a divergence below it teaches nothing
DYNAMICS, REPRESENTATION = 1.0, 0.1  # weights of the two sides of the balanced divergence
EMBEDDING = 128  # E, of a frame
VISION_HIDDEN = 256  # width of the dense layers of encoder and decoder, as in the recurrent AEF
CLASSES = 16  # K, of a categorical variable
SIGMA_FLOOR = 0.1  # of the decoder's spread, in units of 64 grey levels


@WORLD_MODELS.register("rssm")
class RSSM(CellAndHeads):
    """A recurrent state-space model.

    Args:
        config: architecture and objective.
        frame_shape: (C, H, W) of uint8 frames, with sides that fit the networks.
        action_dim: A, of actions in [-1, 1].

    Raises:
        ValueError: unknown networks, or frames they cannot see.
    """

    Config = RSSMConfig
    config: RSSMConfig
    likelihood = "bound"

    def __init__(self, config: RSSMConfig, frame_shape: tuple[int, ...], action_dim: int) -> None:
        super().__init__(config, frame_shape, action_dim)
        c, (recurrent, count) = config, config.sizes
        categorical = c.latent == "categorical"
        raw = count * CLASSES if categorical else 2 * count
        self._dims = recurrent, count * CLASSES if categorical else count
        self.vision = PlainAutoencoder(
            make_encoder(
                c.networks, frame_shape, EMBEDDING // 2, width=c.width, hidden=VISION_HIDDEN
            ),
            make_decoder(
                c.networks, frame_shape, self.feature_dim, width=c.width, hidden=VISION_HIDDEN
            ),
            frame_shape,
            self.feature_dim,
            sigma_floor=SIGMA_FLOOR,
        )
        self.cell = GatedCell(self._dims[1] + action_dim, recurrent)
        self.prior_net = mlp(recurrent, raw, c.hidden_dim, 1)
        self.posterior_net = mlp(recurrent + EMBEDDING, raw, c.hidden_dim, 1)
        self.make_heads(c.hidden_dim)

    @property
    def state_dims(self) -> tuple[int, int]:
        """Widths H, d of a state; d is V K for V categoricals of K classes."""
        return self._dims

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of encoder and decoder, dynamics, and heads."""
        dynamics = (self.cell, self.prior_net, self.posterior_net)
        heads = (self.reward_head, self.continue_head)
        return {
            "autoencoder": list(self.vision.parameters()),
            "dynamics": [p for part in dynamics for p in part.parameters()],
            "heads": [p for part in heads for p in part.parameters()],
        }

    def set_mean(self, frames: Tensor) -> None:
        """Take the mean of frames (N, C, H, W) uint8 as the centre of preprocessing."""
        self.vision.set_mean(frames)

    # -- one step ------------------------------------------------------------------------

    def prior(self, recurrent: Tensor) -> Latents:
        """Return p(z_t | h_t) of recurrent states (..., H)."""
        return self._latents(self.prior_net(recurrent))

    def posterior(self, recurrent: Tensor, embedding: Tensor) -> Latents:
        """Return q(z_t | h_t, x_t) of recurrent states (..., H) and embedded frames (..., E)."""
        return self._latents(self.posterior_net(torch.cat([recurrent, embedding], -1)))

    def _latents(self, raw: Tensor) -> Latents:
        if self.config.latent == "categorical":
            return Categorical.from_raw(raw.float(), CLASSES)
        return Gaussian.from_raw(raw.float())

    def embed(self, y: Tensor) -> Tensor:
        """Return the embedding (N, E) float32 of preprocessed frames (N, C, H, W)."""
        return torch.cat(self.vision.encoder(y), -1).float()

    def see(self, recurrent: Tensor, frames: Tensor) -> State:
        """Return the states of frames: the posterior's mode, given h; deterministic."""
        embedding = self.embed(self.vision.preprocess(frames, dequantise=False))
        return State(recurrent, self.posterior(recurrent, embedding).draw())

    def predict(
        self,
        state: State,
        action: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Return the next state: the prior's mode, or a draw whose noise is scaled."""
        recurrent = self.transition(state, action)
        prior = self.prior(recurrent)
        noise = temperature * prior.noise(generator) if temperature else None
        return State(recurrent, prior.draw(noise))

    def decode(self, state: State) -> Tensor:
        """Return the mean frames (..., C, H, W) of states, float in [0, 1]."""
        features = state.features
        frames = self.vision.decode(features.flatten(0, -2))
        return frames.view(*features.shape[:-1], *frames.shape[1:])

    # -- sequences -----------------------------------------------------------------------

    def filter(
        self, embedding: Tensor, actions: Tensor, first: Tensor, start: Tensor, draw: bool
    ) -> tuple[State, Latents]:
        """Return states (B, T, .) and posteriors of every row.

        Args:
            embedding: of frames, (B, T, E).
            actions: (B, T, A).
            first: (B, T) bool, where the state is forgotten.
            start: recurrent state of the first row (B, H).
            draw: draw latents from the posterior; else take its mode.
        """
        keep = (~first).to(start.dtype)[..., None]  # (B, T, 1)
        recurrent, states, posteriors = start * keep[:, 0], [], []
        for t in range(embedding.shape[1]):
            posterior = self.posterior(recurrent, embedding[:, t])
            state = State(recurrent, posterior.draw(posterior.noise() if draw else None))
            states.append(state)
            posteriors.append(posterior)
            if t + 1 < embedding.shape[1]:
                recurrent = self.transition(state, actions[:, t]) * keep[:, t + 1]
        stacked = (torch.stack(part, 1) for part in zip(*states, strict=True))
        parts = (torch.stack(part, 1) for part in zip(*posteriors, strict=True))
        return State(*stacked), type(posteriors[0])(*parts)

    def filter_rows(self, frames: Tensor, actions: Tensor, first: Tensor, start: Tensor) -> State:
        """Filter as `WorldModel.filter_rows`, all frames embedded at once."""
        y = self.vision.preprocess(frames.flatten(0, 1), dequantise=False)
        embedding = self.embed(y).view(*first.shape, -1)  # (B, T, E)
        return self.filter(embedding, actions, first, start, False)[0]

    # -- learning ------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Losses:
        """Return the loss of a batch of sequences (the module's first lines) and its terms."""
        c = self.config
        y = self.vision.preprocess(batch.frame.flatten(0, 1), dequantise=False)
        embedding = self.embed(y).view(*batch.first.shape, -1)  # (B, T, E)
        start = batch.recurrent[:, 0].float()
        states, posterior = self.filter(embedding, batch.action, batch.first, start, True)
        prior = self.prior(states.recurrent)
        dynamics, representation = balanced_kl(posterior, prior)
        error, spread = self._image_terms(states, y)
        reward, ended = self.head_losses(states, batch)
        total = c.pixel_weight * error + spread + reward + ended
        total = total + DYNAMICS * dynamics + REPRESENTATION * representation
        terms = {
            "loss": total,
            "pixel_error": error,
            "kl": posterior.kl(prior).mean(),
            "dynamics": dynamics,
            "representation": representation,
            "posterior_entropy": posterior.entropy().mean(),
            "prior_entropy": prior.entropy().mean(),
            "sigma": self.vision.sigma.mean(),
            "reward_loss": reward,
            "continue_loss": ended,
        }
        return Losses(total, states, {name: value.detach() for name, value in terms.items()})

    def _image_terms(self, states: State, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of an image in units of [0, 1], and the spread's own loss.

        A random third of the frames is decoded. The spread sigma_d serves `log_prob` alone: its
        loss, in nats a dimension, reaches no other parameter.
        """
        features = states.features.flatten(0, 1)  # (B T, H + d)
        chosen = torch.randperm(len(y), device=y.device)[: max(1, len(y) // DECODED_SHARE)]
        residual = y[chosen] - self.vision.decoded(features[chosen])
        error = (residual / self.vision.scale).square().flatten(1).sum(1).mean()
        spread = -self.vision.gaussian(residual.detach()).mean() / self.vision.dims
        return error, spread

    @torch.no_grad()
    def log_prob(self, frames: Tensor, actions: Tensor, dequantise: bool = True) -> VideoLogProb:
        """Return the evidence lower bound in nats of videos given their actions, by frame.

        Each frame's part `prior` is -KL(q || p); the latents are one draw from the posterior.

        Args:
            frames: (B, T, C, H, W) uint8 from the start of an episode.
            actions: (B, T, A).
            dequantise: draw new noise at every call; without, densities are at bin centres.
        """
        size, length = frames.shape[:2]
        y = self.vision.preprocess(frames.flatten(0, 1), dequantise)
        first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
        embedding, start = self.embed(y).view(size, length, -1), self.initial(size).recurrent
        states, posterior = self.filter(embedding, actions, first, start, True)
        pixels = self.vision.decoder_log_prob(states.features.flatten(0, 1), y).view(size, length)
        volume = torch.as_tensor(self.vision.preprocessing_log_det(y))
        volume = volume.expand(size * length).view(size, length)
        return VideoLogProb(-posterior.kl(self.prior(states.recurrent)), volume, pixels)

    @torch.no_grad()
    def observe_log_prob(
        self, state: State, action: Tensor, frames: Tensor, first: Tensor
    ) -> tuple[State, tuple[Tensor, Tensor, Tensor]]:
        """Filter one step with one draw; return the bound's prior, volume and pixels, (N,) each."""
        recurrent = self.transition(state, action) * ~first[:, None]
        y = self.vision.preprocess(frames, dequantise=False)
        posterior = self.posterior(recurrent, self.embed(y))
        seen = State(recurrent, posterior.draw(posterior.noise()))
        pixels = self.vision.decoder_log_prob(seen.features, y)
        volume = torch.as_tensor(self.vision.preprocessing_log_det(y))
        prior = -posterior.kl(self.prior(recurrent))
        return seen, (prior, volume.expand_as(prior), pixels)


def balanced_kl(posterior: Latents, prior: Latents) -> tuple[Tensor, Tensor]:
    """Return what the prior and what the posterior learns from their divergence, nats a row ().

    Each row's divergence counts as at least `FREE_NATS`.
    """
    dynamics = posterior.detach().kl(prior)
    representation = posterior.kl(prior.detach())
    return dynamics.clamp(min=FREE_NATS).mean(), representation.clamp(min=FREE_NATS).mean()
