"""A trained encoder in Stable-Baselines3: frozen before the policy, or fine-tuned within it.

Shapes: N environments, k images of an observation (C, H, W), d latent.
"""

import copy

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from aef_worldmodel.autoencoders.base import Autoencoder
from aef_worldmodel.backbone import AEFBackbone


class EncodedVecEnv(VecEnvWrapper):
    """Environments of images whose observations are latents: each frame is encoded once.

    >>> env = EncodedVecEnv(SB3VecEnv("cheetah-run", num_envs=8, frame_stack=3), autoencoder)
    >>> SAC("MlpPolicy", env)

    An observation of k images (k C, H, W) uint8 becomes k latents side by side (k d,): a policy
    without memory reads velocities from their differences. Replay buffers then hold latents, and
    no update encodes an image again.

    Args:
        venv: environments of images.
        autoencoder: trained on images of that size; it does not change.

    Raises:
        ValueError: the autoencoder is for images of another shape.
    """

    def __init__(self, venv: VecEnv, autoencoder: Autoencoder) -> None:
        self.stack = stacked(venv.observation_space, autoencoder)
        width = self.stack * autoencoder.latent_dim
        super().__init__(venv, gym.spaces.Box(-np.inf, np.inf, (width,), np.float32))
        self.autoencoder = autoencoder

    def reset(self) -> np.ndarray:
        """Return the first latents (N, k d)."""
        return self._encode(self.venv.reset())

    def step_wait(self):
        """Return latents (N, k d), rewards (N,), dones (N,) and N dictionaries."""
        frames, rewards, dones, infos = self.venv.step_wait()
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = self._encode(infos[i]["terminal_observation"][None])[
                0
            ]
        return self._encode(frames), rewards, dones, infos

    @torch.no_grad()
    def _encode(self, observations) -> np.ndarray:
        images = torch.from_numpy(observations).to(self.autoencoder.mean.device)
        return latents(self.autoencoder, images, self.stack).cpu().numpy()


class AEFExtractor(BaseFeaturesExtractor):
    """Map images to latents by a trained autoencoder within the policy, to fine-tune it there.

    >>> options = {"pretrained": "dmc", "trainable": True}
    >>> kwargs = {"features_extractor_class": AEFExtractor, "features_extractor_kwargs": options}
    >>> env = SB3VecEnv("cheetah-run", num_envs=8, frame_stack=3)
    >>> PPO("CnnPolicy", env, policy_kwargs=kwargs)

    Observations and latents are those of `EncodedVecEnv`. Each policy works on a copy of the
    autoencoder, which is saved with the policy. Every update encodes its images: several times in
    SAC, whose batch of 256 observations takes seconds on a CPU. A frozen encoder is cheaper in
    `EncodedVecEnv`.

    Args:
        observation_space: of images.
        autoencoder: trained on images of that size.
        trainable: whether the policy's gradients change the encoder.
        pretrained: what `AEFBackbone.from_pretrained` loads, instead of `autoencoder`: a name, a
            folder or OWNER/NAME. A saved model needs it again when it is loaded.

    Raises:
        ValueError: the autoencoder is for images of another shape, or both or none are given.
        UserError: there is no such backbone.
    """

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        autoencoder: Autoencoder | None = None,
        trainable: bool = False,
        pretrained: str | None = None,
    ) -> None:
        if (autoencoder is None) == (pretrained is None):
            raise ValueError("give either an autoencoder or pretrained=NAME to AEFExtractor")
        if autoencoder is None:
            autoencoder = AEFBackbone.from_pretrained(str(pretrained)).autoencoder
        self.stack = stacked(observation_space, autoencoder)
        super().__init__(observation_space, features_dim=self.stack * autoencoder.latent_dim)
        self.autoencoder = copy.deepcopy(autoencoder).requires_grad_(trainable)
        self.trainable = trainable
        self._white = 1.0  # of observations that are not uint8, as far as they tell

    def apply(self, fn) -> "AEFExtractor":
        """Return self unchanged: a policy initialises its parts by `apply`, but this is trained."""
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Return latents (N, k d) of images (N, k C, H, W).

        They are uint8, or what SB3 makes of uint8: floats in [0, 1], or up to 255 under
        `normalize_images=False`.
        """
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return latents(self.autoencoder, self._pixels(observations), self.stack)

    def _pixels(self, observations: Tensor) -> Tensor:
        """Return images as uint8.

        Images of the values 0 and 1 alone are black and white, or dark under
        `normalize_images=False`: those that came before them decide.
        """
        if observations.dtype == torch.uint8:
            return observations
        if (observations > 1).any():
            self._white = 255.0
        elif (observations % 1 != 0).any():
            self._white = 1.0
        return (observations * (255 / self._white)).round().byte()


def stacked(space: gym.Space, autoencoder: Autoencoder) -> int:
    """Return how many images an observation holds. Raises ValueError for other images."""
    shape = space.shape or (0,)
    count, rest = divmod(shape[0], autoencoder.shape[0])
    if rest or not count or shape[1:] != autoencoder.shape[1:]:
        raise ValueError(
            f"the autoencoder is for images of shape {autoencoder.shape} but observations have "
            f"shape {space.shape}: choose image_size and frame_stack accordingly"
        )
    return count


def latents(autoencoder: Autoencoder, observations: Tensor, count: int) -> Tensor:
    """Return the latents (N, k d) of observations (N, k C, H, W) uint8 of `count` images."""
    images = observations.unflatten(1, (count, -1)).flatten(0, 1)  # (N k, C, H, W)
    return autoencoder(images).view(len(observations), -1)
