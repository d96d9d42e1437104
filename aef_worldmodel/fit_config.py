"""Settings of `python -m aef_worldmodel.fit`: `key=value` words over the defaults below."""

import ast
import dataclasses
import difflib
import inspect
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from aef_worldmodel.errors import UserError
from aef_worldmodel.family import MODELS, PREPROCESSING
from aef_worldmodel.flows import FLOWS
from aef_worldmodel.image_networks import NETWORKS

CHOICES = {
    "model": tuple(MODELS),
    "networks": (None, *NETWORKS),
    "variance": ("independent", "fixed", "dependent"),
    "preprocessing": PREPROCESSING,
    "core_flow": (None, *FLOWS),
    "prior": (None, *FLOWS),
    "device": (None, "cpu", "cuda"),
}
LEAST = {"seed": 0, "patience": 0}  # of whole numbers; others must be at least 1


class FitConfigError(UserError):
    """The command line is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class FitConfig:
    """Everything `python -m aef_worldmodel.fit` can be told."""

    data: str = "digits"
    """Images: digits, frames, env:cheetah-run, or a path (docs/data.md)."""
    model: str = "aef-dct"
    """aef-dct, aef-center, aef-corner, aef-linear, vae, vae-iaf, vae-maf, iwae, ae."""
    latent_dim: int = 8
    """d, dimensions of the latent."""
    networks: str | None = None
    """conv, residual or patch; null for what fits the images' sides."""
    width: int = 64
    """Channels of the networks."""
    core_flow: str | None = None
    """Flow on an AEF's core: maf, iaf, coupling; null for none."""
    prior: str | None = None
    """Flow from latents to noise: maf, iaf, coupling; null for none."""
    variance: str = "independent"
    """The decoder's: independent, fixed (at sigma_floor), dependent on the latent."""
    sigma_floor: float = 0.01
    """Least decoder standard deviation, in units of preprocessed images."""
    log_scale_bound: float = 4.0
    """|log sigma_e| of the encoder stays below it; inf for no bound."""
    preprocessing: str = "affine"
    """affine or logit (with ActNorm)."""
    noise: float = 0.0
    """Standard deviation of the noise a denoising model learns to take away; 0 for none."""
    updates: int = 3_000
    """Gradient steps at most."""
    batch: int = 128
    """Images of a batch."""
    rate: float = 1e-3
    """Adam's learning rate."""
    evaluate_every: int = 200
    """Updates between looks at the validation images, each with a checkpoint."""
    patience: int = 10
    """Looks without a new best after which training stops; 0 for never. The best is kept."""
    samples: int = 64
    """K of a bound in the final report."""
    seed: int = 0
    """Of networks, batches and noise."""
    device: str | None = None
    """cpu or cuda; null for cuda where there is one."""
    run: str | None = None
    """Folder of the run; null for runs/<data>-<model>-<latent_dim>-<seed>."""
    resume: str | None = None
    """Folder of a run to continue from its last checkpoint, with its settings."""
    features: str | None = None
    """File of a feature extractor for the Frechet distance; null for the built-in one."""

    def __post_init__(self) -> None:
        """Raise FitConfigError for a value that makes no sense."""
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise FitConfigError(f"unknown {name}={value}: {hint(value, known)}")
        for name, value in vars(self).items():
            least = LEAST.get(name, 1)
            if type(value) is int and value < least:
                raise FitConfigError(f"{name}={value} must be at least {least}")
        for name in ("rate", "sigma_floor", "log_scale_bound"):
            if not getattr(self, name) > 0:
                raise FitConfigError(f"{name}={getattr(self, name)} must be above 0")
        if not self.noise >= 0:
            raise FitConfigError(f"noise={self.noise} must be at least 0")
        if self.core_flow and not self.model.startswith("aef"):
            raise FitConfigError(f"core_flow={self.core_flow} needs an AEF, not model={self.model}")
        if self.prior and self.model == "ae":
            raise FitConfigError(f"prior={self.prior}: model=ae has no prior; take an AEF or a VAE")
        if self.noise and self.model == "iwae":
            raise FitConfigError(f"noise={self.noise}: model=iwae has no denoising version")


def hint(given: object, known: Sequence[object]) -> str:
    """The end of a sentence about an unknown name."""
    names = ["null" if name is None else str(name) for name in known]
    close = difflib.get_close_matches(str(given), names, 3, 0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"


def load(words: Sequence[str]) -> FitConfig:
    """Settings from `key=value` words; with `resume=RUN` over those of the run.

    Raises:
        FitConfigError: anything unknown, misspelt or of the wrong type.
        UserError: a run that cannot be read.
    """
    if {"-h", "--help"} & set(words):
        print(usage())
        sys.exit(0)
    fields = [field.name for field in dataclasses.fields(FitConfig)]
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise FitConfigError(f"expected key=value, got {word!r}; for instance model=aef-center")
        if key not in fields:
            raise FitConfigError(f"unknown key {key!r}: {hint(key, fields)}")
        given[key] = None if value == "null" else value
    base = read_values(Path(given["resume"])) if given.get("resume") else {}
    return build({**base, **given})


def build(values: dict) -> FitConfig:
    """Checked settings of plain values; omegaconf turns words into numbers."""
    config = OmegaConf.structured(FitConfig)
    OmegaConf.set_readonly(config, False)  # as which a frozen dataclass arrives
    for key, value in values.items():
        try:
            config[key] = value
        except (OmegaConfBaseException, ValueError) as error:
            kinds = {int: "a whole number", float: "a number", str: "a word"}
            kind = type(getattr(FitConfig, key))
            expected = kinds.get(kind, "a word")
            raise FitConfigError(f"{key}={value} is wrong: expected {expected}") from error
    return FitConfig(**OmegaConf.to_container(config))


def save(run: Path, config: FitConfig) -> None:
    """Writes the settings into a run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    temporary = run / "config.yaml.tmp"
    OmegaConf.save(OmegaConf.create(dataclasses.asdict(config)), temporary)
    os.replace(temporary, run / "config.yaml")


def read_values(run: Path) -> dict:
    """Plain settings of a run. Raises UserError if it has none."""
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"resume={run} is not the folder of a run: it has no config.yaml")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"cannot read the settings {path}") from error
    known = {field.name for field in dataclasses.fields(FitConfig)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise UserError(f"the settings {path} do not fit this version: start a new run")
    return values


def usage() -> str:
    """Help text: every key with its default and meaning."""
    docs, config = field_docs(), FitConfig()
    keys = [
        f"  {name}={'null' if value is None else value}  {docs[name]}"
        for name, value in vars(config).items()
    ]
    return "\n".join(["usage: python -m aef_worldmodel.fit [key=value ...]", "", "keys:", *keys])


def field_docs() -> dict[str, str]:
    """The string below each field: its documentation, on one line."""
    body = ast.parse(inspect.getsource(FitConfig)).body[0].body
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
