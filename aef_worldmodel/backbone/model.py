"""`AEFBackbone`: an image encoder with an exact likelihood, to load, freeze, fine-tune and export.

Shapes: N images, T of a sequence, (C, H, W) of the weights, d latent, F features.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Autoencoder
from aef_worldmodel.backbone import folder
from aef_worldmodel.backbone.card import model_card
from aef_worldmodel.backbone.images import check, levels
from aef_worldmodel.image_models.config import ConfigError, FitConfig, build, load
from aef_worldmodel.image_models.trainer import build_model, load_model
from aef_worldmodel.utils.checkpoint import load_weights
from aef_worldmodel.utils.errors import UserError

ARCHITECTURE = (  # the settings of a fit that its networks depend on
    "model",
    "latent_dim",
    "networks",
    "width",
    "core_flow",
    "prior",
    "variance",
    "sigma_floor",
    "log_scale_bound",
    "preprocessing",
)
DERIVED = ("autoencoder.split.",)  # buffers that the settings determine; exact only in float32


class AEFBackbone(nn.Module):
    """An autoencoder within flows as a vision backbone.

    >>> backbone = AEFBackbone.from_pretrained("dmc").freeze()
    >>> latent = backbone(images)  # (N, 3, 64, 64) uint8 -> (N, 32)

    Every method takes images (N, C, H, W) or (N, T, C, H, W), uint8 or floats in [0, 1]. Another
    size than `image_size` is resized by bilinear interpolation with antialiasing, each side on its
    own. The latent of an image is one fixed vector.

    Args:
        shape: (C, H, W) that the networks see.
        settings: of the architecture, as in `python -m aef_worldmodel.fit`.
        facts: what the model card says: data, command, metrics, licence, ... by name.

    Attributes:
        model: the `ImageModel`: autoencoder and prior over its latents.
        num_features: F.
        feature_info: for each map, finest first, its channels (num_chs), stride (reduction) and
            name (module), as in timm.

    Raises:
        ConfigError: there is no such model of such images.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        settings: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.settings = build(FitConfig, dict(settings or {}))
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.facts = dict(facts or {})
        self.model = build_model(self.settings, self.shape)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            blank = torch.zeros(1, *self.shape)
            maps = self.feature_maps(blank) if hasattr(self.autoencoder.encoder, "maps") else []
            self.num_features = self.features(blank).shape[1]
        self.feature_info = [
            {"num_chs": x.shape[1], "reduction": shape[1] // x.shape[2], "module": f"maps.{i}"}
            for i, x in enumerate(maps)
        ]

    # -- files ---------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> AEFBackbone:
        """Return a backbone in evaluation mode, on the CPU, float32; nothing loaded is executed.

        Args:
            name: one that is shipped ("dmc"), a local folder, or OWNER/NAME of the Hugging Face
                Hub, which needs the extra [hub].
            options: for the Hub: revision, cache_dir, token, local_files_only, ...

        Raises:
            UserError: there is no such backbone, or its files are damaged, of another architecture
                or of a newer version.
        """
        path = folder.find(name, **options)
        config = folder.read_config(path)
        try:
            backbone = cls(config["shape"], config["settings"], config.get("facts"))
        except (ConfigError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise UserError(
                f"{path / folder.CONFIG} does not describe a backbone of this version "
                f"({type(error).__name__}: {error}): fetch it again, or install the version that "
                "made it"
            ) from error
        backbone._load(folder.read_weights(path), path / folder.WEIGHTS)
        return backbone.eval()

    @classmethod
    def from_run(cls, run: str | Path, facts: Mapping[str, Any] | None = None) -> AEFBackbone:
        """Return the best weights of a run of `python -m aef_worldmodel.fit`.

        Raises UserError for a folder that is not a run or has no checkpoint.
        """
        trained, config = load_model(run), load([f"resume={run}"])
        settings = {name: getattr(config, name) for name in ARCHITECTURE}
        channels, height, width = trained.autoencoder.shape
        backbone = cls((channels, height, width), settings, facts)
        backbone.model.load_state_dict(trained.state_dict())
        return backbone.eval()

    def save_pretrained(
        self, path: str | Path, dtype: torch.dtype = torch.float32, **_: Any
    ) -> None:
        """Write config.json, model.safetensors and the model card README.md into a folder.

        Args:
            path: the folder; made if needed.
            dtype: of the weights in the file, torch.float16 for half the size.

        Raises:
            UserError: it cannot be written.
        """
        changed = {
            f.name: getattr(self.settings, f.name)
            for f in dataclasses.fields(self.settings)
            if f.name in ARCHITECTURE
        }
        config = {
            "architecture": folder.ARCHITECTURE,
            "format": folder.FORMAT,
            "shape": list(self.shape),
            "settings": changed,
            "facts": self.facts,
        }
        weights = {name: folder.as_type(value, dtype) for name, value in self._own().items()}
        folder.write(Path(path), config, weights, model_card(self))

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what `save_pretrained` writes to OWNER/NAME of the Hub; return the commit's URL.

        Args:
            repo_id: OWNER/NAME; made if needed.
            options: of `huggingface_hub.PyTorchModelHubMixin.push_to_hub`: private, token, ...

        Raises:
            UserError: huggingface_hub is not installed, or the upload failed.
        """
        mixin = folder.hub_module("uploading to the Hub").PyTorchModelHubMixin
        try:
            return mixin.push_to_hub(self, repo_id, **options)
        except UserError:
            raise
        except Exception as error:  # no network, no token, no permission, ...
            first = str(error).strip().splitlines() or [""]
            raise UserError(
                f"could not upload to {repo_id} ({type(error).__name__}: {first[0]}): check the "
                "network, the name and the token (hf auth login)"
            ) from error

    def _own(self) -> dict[str, Tensor]:
        """Return the weights that are saved."""
        return {n: w for n, w in self.model.state_dict().items() if not n.startswith(DERIVED)}

    def _load(self, weights: Mapping[str, Tensor], source: Path) -> None:
        derived = {n: w for n, w in self.model.state_dict().items() if n.startswith(DERIVED)}
        load_weights(self.model, {**derived, **weights}, source)

    # -- images --------------------------------------------------------------------------

    @property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder alone, for a world model or `aef_worldmodel.sb3`."""
        return self.model.autoencoder

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) that the networks see."""
        return self.shape[1], self.shape[2]

    @property
    def latent_dim(self) -> int:
        """Return d."""
        return self.autoencoder.latent_dim

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images, checked and resized, as the networks see them: y (N, C, H, W).

        Raises ValueError for images of another layout, type or range.
        """
        check(images, self.shape[0])
        flat = images.flatten(0, 1) if images.dim() == 5 else images  # (N T, C, H, W)
        return self.autoencoder.preprocess_levels(
            levels(flat, self.image_size, self.autoencoder.mean.dtype)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the latents (N, d), or (N, T, d), with gradients."""
        latent = self.autoencoder.encode_y(self.preprocess(images), sample=False).latent
        return _as_given(latent, images)

    def features(self, images: Tensor) -> Tensor:
        """Return features (N, F), or (N, T, F): the last dense layer's output beside the latent.

        The networks see the image without its core (its lowest frequencies), which is in the
        latent.
        """
        encoder: Any = self.autoencoder.encoder
        y = self.preprocess(images)
        latent = self.autoencoder.encode_y(y, sample=False).latent
        seen = self._seen(y)
        if hasattr(encoder, "features"):
            wide = encoder.features(seen)
        else:
            wide = encoder.maps(seen)[-1].mean((2, 3))
        return _as_given(torch.cat([wide.to(latent.dtype), latent], -1), images)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Return feature maps (N, c, H/s, W/s), finest first; `feature_info` has c and s.

        Raises ValueError for networks without maps.
        """
        encoder: Any = self.autoencoder.encoder
        if not hasattr(encoder, "maps"):
            raise ValueError(f"networks={self.settings.networks} have no feature maps")
        maps = encoder.maps(self._seen(self.preprocess(images)))
        return [_as_given(x, images) for x in maps]

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the coarsest feature map, as timm's models do."""
        return self.feature_maps(images)[-1]

    def _seen(self, y: Tensor) -> Tensor:
        """Return what the encoder sees of y: all of it, or the shell of an AEF of exact p(x)."""
        exact = self.autoencoder.likelihood == "exact"
        return self.autoencoder.target(y) if exact else y

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the images of the latents, float in [0, 1], of `image_size`."""
        return _as_given(self.model.decode(self(images).flatten(0, -2)), images)

    # -- likelihood ----------------------------------------------------------------------

    def log_prob(self, images: Tensor, dequantise: bool = False) -> Tensor:
        """Return log p(u) in nats (N,), or (N, T), u in [0, 1] of grey levels.

        It is exact for the models aef-dct, aef-center and aef-corner; `model.likelihood` names its
        kind. Floats are rounded to grey levels first.

        Args:
            images: as everywhere.
            dequantise: add uniform noise within each grey level, anew at each call; else return
                the density in the middle of the levels, the same every time.

        Raises:
            ValueError: images of another layout, or a model without a likelihood.
        """
        check(images, self.shape[0])
        flat = images.flatten(0, 1) if images.dim() == 5 else images
        grey = levels(flat, self.image_size, self.autoencoder.mean.dtype)
        grey = grey.round().clamp(0, 255).byte()
        return _as_given(self.model.log_prob(grey, dequantise=dequantise), images)

    def bits_per_dim(self, images: Tensor, dequantise: bool = True) -> Tensor:
        """Return bits a value of the integer image, (N,) or (N, T); arguments as `log_prob`."""
        return self.model.to_bits(self.log_prob(images, dequantise))

    # -- training ------------------------------------------------------------------------

    def freeze(self) -> AEFBackbone:
        """Switch gradients off and evaluation mode on; return self."""
        return self.requires_grad_(False).eval()

    def parameter_groups(self, lr: float, layer_decay: float = 0.7) -> list[dict[str, Any]]:
        """Return the encoder's parameters for an optimiser, a group for each layer.

        The last layer learns at `lr`, each earlier one at `layer_decay` times the next one's rate.
        Decoder and prior, which features do not depend on, are in no group.
        """
        layers = [layer for layer in self.autoencoder.encoder.children() if _trained(layer)]
        return [
            {"params": list(layer.parameters()), "lr": lr * layer_decay**depth}
            for depth, layer in enumerate(reversed(layers))
        ]

    # -- export --------------------------------------------------------------------------

    def deployed(self) -> nn.Module:
        """Return a module for exporters: float images (N, C, H, W) -> latents and features."""
        return _Deployed(self).eval()

    def export_onnx(self, path: str | Path) -> None:
        """Write an ONNX file of any batch size: "images" in [0, 1] -> "latent", "features".

        Raises UserError if onnx or onnxscript is missing, or the file cannot be written.
        """
        path, example = Path(path), torch.rand(2, *self.shape)
        try:
            with _quiet():
                program = torch.onnx.export(
                    self.deployed(),
                    (example,),
                    dynamo=True,
                    input_names=["images"],
                    output_names=["latent", "features"],
                    dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                    verbose=False,
                )
        except ImportError as error:
            raise UserError(
                f"an ONNX file needs onnx and onnxscript ({error}): pip install "
                "'aef-worldmodel[onnx]'"
            ) from error
        assert program is not None
        with folder.atomic_path(path) as temporary:
            program.save(temporary)


class _Deployed(nn.Module):
    """What an exported backbone computes; the range of images is not checked."""

    def __init__(self, backbone: AEFBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone.features(images)
        return features[:, -self.backbone.latent_dim :], features


def _as_given(values: Tensor, images: Tensor) -> Tensor:
    """Return values (N T, ...) as (N, T, ...) where images are (N, T, C, H, W)."""
    return values.unflatten(0, tuple(images.shape[:2])) if images.dim() == 5 else values


def _trained(layer: nn.Module) -> bool:
    return any(True for _ in layer.parameters())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep an exporter's progress off the terminal."""
    with contextlib.redirect_stdout(None):
        yield
