"""A plain autoencoder whose latents are pushed towards N(0, I): the deterministic rival of an AEF.

SIGReg, "sketched isotropic Gaussian regularisation" (Balestriero and LeCun, "LeJEPA", 2025,
arXiv:2511.08544), tests random one-dimensional projections of a batch for normality.
"""

import torch
from torch import Tensor

from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.autoencoders.vae import PlainAutoencoder

DIRECTIONS = 64  # random projections of a batch
POINTS, REACH = 17, 5.0  # of the characteristic function, on [-REACH, REACH]
NATS = 1_000.0  # an image, for a statistic of 1; below 300 a predictable latent shrinks


def sigreg(latents: Tensor, directions: Tensor) -> Tensor:
    """Return the Epps-Pulley statistic of latents (N, d), averaged over directions (d, M), ().

    It is the squared distance of empirical and standard normal characteristic functions, weighted
    by exp(-t^2 / 2) and integrated over t: 0 for N(0, 1), 0.41 where all latents are equal to 0.
    """
    t = torch.linspace(-REACH, REACH, POINTS, device=latents.device)  # (K,)
    normal = (-0.5 * t.square()).exp()
    angle = (latents @ directions)[..., None] * t  # (N, M, K)
    real, imaginary = angle.cos().mean(0), angle.sin().mean(0)  # (M, K)
    distance = (real - normal).square() + imaginary.square()
    return torch.trapezoid(distance * normal, t).mean()


@AUTOENCODERS.register("ae-sigreg")
class WhitenedAutoencoder(PlainAutoencoder):
    """Plain autoencoder in which minus SIGReg takes the place of the log-determinant.

    As the log-determinant does in an AEF, it pays for every contraction of the latent; other than
    there, the sum is no likelihood. `Code.log_det` is the same number for all images of a batch.
    """

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return `z = mu_e(y)`; with `sample`, minus the batch's weighted statistic as log-det."""
        code = super().encode_y(y)
        if not sample:
            return code
        noise = torch.randn(self.latent_dim, DIRECTIONS, device=y.device)
        directions = noise / noise.norm(dim=0)  # (d, M)
        with torch.autocast(y.device.type, enabled=False):
            statistic = sigreg(code.latent.float(), directions.float())
        return code._replace(log_det=-NATS * statistic.expand(len(y)))
