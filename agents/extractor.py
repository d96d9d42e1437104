"""The AEF's encoder as a features extractor of Stable-Baselines3's policies."""

import copy

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from aef_worldmodel.autoencoders import Autoencoder


class AEFExtractor(BaseFeaturesExtractor):
    """Pictures to latents, by an eye that was trained before: frozen, or fine-tuned by the policy.

    >>> options = {"eye": learner.model.eye, "trainable": False}
    >>> kwargs = {"features_extractor_class": AEFExtractor, "features_extractor_kwargs": options}
    >>> env = SB3VecEnv("cheetah-run", num_envs=8, frame_stack=3)
    >>> SAC("CnnPolicy", env, policy_kwargs=kwargs)

    An observation of several pictures, (3 k, H, W) uint8, becomes k latents side by side: a policy
    without memory sees velocities by their differences. Each policy works on a copy of the eye,
    which is saved with it.

    Args:
        observation_space: of pictures.
        eye: a trained one, for pictures of that size.
        trainable: whether the policy's gradients reach it.

    Raises:
        ValueError: the eye is for other pictures.
    """

    def __init__(
        self, observation_space: gym.spaces.Box, eye: Autoencoder, trainable: bool = False
    ):
        channels, *size = observation_space.shape
        self.stack, rest = divmod(channels, eye.shape[0])
        if rest or not self.stack or tuple(size) != tuple(eye.shape[1:]):
            raise ValueError(
                f"this eye sees pictures of shape {tuple(eye.shape)}; observations have shape "
                f"{observation_space.shape}: choose image_size and frame_stack accordingly"
            )
        super().__init__(observation_space, features_dim=self.stack * eye.latent_dim)
        self.eye = copy.deepcopy(eye).requires_grad_(trainable)
        self.trainable = trainable

    def apply(self, fn) -> "AEFExtractor":
        """Does nothing: by `apply` a policy would begin with new weights for all its parts, and
        the eye has learnt its own."""
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Pictures (N, 3 k, H, W), uint8 or divided by 255 -> latents (N, k d)."""
        if observations.dtype != torch.uint8:
            observations = (255 * observations).round().byte()
        frames = observations.unflatten(1, (self.stack, -1)).flatten(0, 1)  # (N k, 3, H, W)
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            latent = self.eye.encode(frames).latent
        return latent.view(len(observations), -1)
