"""An AEF whose latent has constant noise in training, as the latents of SimFlow have.

A prior learns more easily from latents that are blurred by a fixed amount. "SimFlow: simplified and
end-to-end training of latent normalizing flows" (arXiv:2512.04084) fixes the variance of a VAE's
posterior for this; here noise N(0, NOISE^2) is added to the latent of an exact AEF.
"""

import functools

import torch
from torch import Tensor

from aef_worldmodel.autoencoders.aef import PartitionAEF
from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.autoencoders.registry import AUTOENCODERS

NOISE = 0.1  # standard deviation, of latents whose own is about 1


class NoisyAEF(PartitionAEF):
    """Partition AEF with `z + NOISE e`, e ~ N(0, I), where latents are drawn.

    The noise moves no volume, so the log-determinant stays. The objective of training is then an
    expectation over the noise, and at most the log-likelihood of the noisy model. Without noise
    (`sample=False`), which `log_prob` asks for, the density is that of a partition AEF: exact.
    """

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return the code of preprocessed images, with noise on the latent if `sample`."""
        code = super().encode_y(y, sample=sample)
        if not sample:
            return code
        return code._replace(latent=code.latent + NOISE * torch.randn_like(code.latent))


AUTOENCODERS.register("aef-noise")(functools.partial(NoisyAEF, core="dct"))
