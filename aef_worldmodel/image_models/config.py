"""Settings of `python -m aef_worldmodel.fit`: `key=value` words over the defaults below."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aef_worldmodel.autoencoders.networks import NETWORKS
from aef_worldmodel.image_models.zoo import MODELS, PLAIN, PREPROCESSING
from aef_worldmodel.nn.flows import FLOWS
from aef_worldmodel.utils.config.cli import CommandLine, split
from aef_worldmodel.utils.config.help import usage
from aef_worldmodel.utils.config.schema import (
    ConfigError,
    build,
    check_bounds,
    check_positive,
    field_docs,
    shown,
    to_dict,
)
from aef_worldmodel.utils.config.yaml_files import save
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import suggest

__all__ = ["ConfigError", "FitConfig", "build", "field_docs", "load", "save", "to_dict"]

NAMES = {  # key -> names it may have
    "model": MODELS,
    "networks": NETWORKS,
    "preprocessing": PREPROCESSING,
    "core_flow": FLOWS,
    "prior": FLOWS,
}


@dataclass(frozen=True)
class FitConfig:
    """Settings of `python -m aef_worldmodel.fit`."""

    data: str = "digits"
    """Images: digits, frames, env:cheetah-run, or a path (docs/reference/images.md)."""
    model: str = "aef-dct"
    """aef-dct (aef in short), aef-center, aef-corner, aef-linear (also called expanded), vae,
    vae-iaf, vae-maf, iwae or ae."""
    latent_dim: int = 8
    """d, dimensions of the latent."""
    networks: str | None = None
    """conv, residual, patch or pyramid; null for the networks that fit the sides of the images."""
    width: int = 64
    """Channels of the networks."""
    core_flow: str | None = None
    """Flow on the core of an AEF: maf, iaf or coupling; null for none."""
    prior: str | None = None
    """Flow from latents to noise: maf, iaf or coupling; null for none."""
    variance: Literal["independent", "fixed", "dependent"] = "independent"
    """Variance of the decoder: independent of the latent, fixed (at sigma_floor), or dependent."""
    sigma_floor: float = 0.01
    """Smallest standard deviation of the decoder, in units of preprocessed images."""
    log_scale_bound: float | Literal["inf"] = 4.0
    """Upper bound of |log sigma_e| of the encoder; inf for none."""
    preprocessing: str = "affine"
    """affine, or logit (with ActNorm)."""
    noise: float = 0.0
    """Standard deviation of the noise that a denoising model learns to remove; 0 for none."""
    updates: int = 3_000
    """Largest number of gradient steps."""
    batch: int = 128
    """Images of a batch."""
    rate: float = 1e-3
    """Learning rate of Adam."""
    evaluate_every: int = 200
    """Updates between evaluations on the validation images, each with a checkpoint."""
    patience: int = 10
    """Evaluations without a new best after which training stops; 0 for never. The best weights
    are kept."""
    samples: int = 64
    """K of a bound in the final report."""
    seed: int = 0
    """Seed of networks, batches and noise."""
    device: Literal["cpu", "cuda"] | None = None
    """cpu or cuda; null for cuda where it exists."""
    run: str | None = None
    """Folder of the run; null for runs/<data>-<model>-<latent_dim>-<seed>."""
    resume: str | None = None
    """Folder of a run to continue from its last checkpoint, with its settings."""
    features: str | None = None
    """File of a feature extractor for the Frechet distance; null for the built-in one."""
    trust: bool = False
    """Run the code that the saved settings of `resume` name: a file of features."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that makes no sense."""
        for name, known in NAMES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ValueError(f"{name}={shown(value)} is unknown: {suggest(value, known)}")
        counts = ("updates", "evaluate_every", "samples")
        check_bounds(self, **dict.fromkeys(counts, (1, None)), patience=(0, None), noise=(0, None))
        check_bounds(self, seed=(0, 2**32 - 1), latent_dim=(1, 2**24), width=(1, 2**14))
        check_bounds(self, batch=(1, 2**20))
        check_positive(self, "rate", "sigma_floor")
        if not float(self.log_scale_bound) > 0:
            raise ValueError(f"log_scale_bound={self.log_scale_bound} must be above 0")
        if self.core_flow and not self.model.startswith(("aef", "expanded")):
            raise ValueError(f"core_flow={self.core_flow} needs an AEF, not model={self.model}")
        if self.prior and self.model in PLAIN:
            raise ValueError(
                f"prior={self.prior}: model={self.model} has no prior; take an AEF or a VAE"
            )
        if self.noise and self.model == "iwae":
            raise ValueError(f"noise={self.noise}: model=iwae has no denoising version")


def load(argv: Sequence[str]) -> FitConfig:
    """Return settings from `key=value` words; with `resume=RUN` over those of the run.

    Raises:
        ConfigError: a word is unknown, misspelt or has a value of the wrong type.
        UserError: the settings of the run cannot be read, or name code that is not trusted.
    """
    line = CommandLine(FitConfig)
    if {"-h", "--help"} & set(argv):
        print(usage(line, "aef_worldmodel.fit"))
        sys.exit(0)
    words, saved = split(argv), {}
    if dict(words).get("resume", "null") != "null":
        saved = line.saved(words)
        if saved.get("log_scale_bound") == math.inf:  # as commit 0f2081c and earlier wrote it
            saved["log_scale_bound"] = "inf"
    saved.pop("trust", None)
    named = saved.get("features")
    values: dict[str, Any] = line.change(saved, words)
    config = build(FitConfig, values)
    if named is not None and not config.trust and "features" not in dict(words):
        raise UserError(
            f"the saved settings of {config.resume} name features={shown(named)}, a file that can "
            "execute code: give trust=true if you trust it, or features=FILE"
        )
    return config
