"""Feature extractors from files, for `frechet.Frechet`: Inception's weights, or TorchScript.

Inception v3: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, as
the network of 2015-12-05 that defines FID: its averages leave padding out, and the pooling branch
of its last block takes a maximum.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import LARGEST_ARRAYS, check_regular, exists

KNOWN = "pt_inception-2015-12-05-6726825d.pth (the weights pytorch-fid uses)"


class InceptionFeatures:
    """The 2048 features after Inception's last average, from weights (layer name -> tensor).

    Sizes of layers are those of the weights. Images (N, C, H, W) uint8 with 1 or 3 channels are
    resized to 299x299 bilinearly and scaled to [-1, 1], as in pytorch-fid.
    """

    name = "FID"

    def __init__(self, weights: Mapping[str, Tensor]):
        self.weights = weights

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, 2048) float32 of images (N, C, H, W) uint8."""
        x = images.float().expand(-1, 3, -1, -1) / 255
        x = 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
        x = self.conv("Conv2d_1a_3x3", x, stride=2)  # (N, 32, 149, 149)
        x = self.conv("Conv2d_2a_3x3", x, pad=False)
        x = F.max_pool2d(self.conv("Conv2d_2b_3x3", x), 3, 2)  # (N, 64, 73, 73)
        x = self.conv("Conv2d_3b_1x1", x)
        x = F.max_pool2d(self.conv("Conv2d_4a_3x3", x, pad=False), 3, 2)  # (N, 192, 35, 35)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.block(
                name,
                x,
                ["branch1x1"],
                ["branch5x5_1", "branch5x5_2"],
                [f"branch3x3dbl_{i}" for i in (1, 2, 3)],
            )
        x = self.halve("Mixed_6a", x, ["branch3x3"], [f"branch3x3dbl_{i}" for i in (1, 2, 3)])
        for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):  # (N, 768, 17, 17)
            x = self.block(
                name,
                x,
                ["branch1x1"],
                [f"branch7x7_{i}" for i in (1, 2, 3)],
                [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)],
            )
        x = self.halve(
            "Mixed_7a",
            x,
            ["branch3x3_1", "branch3x3_2"],
            [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)],
        )
        for name in ("Mixed_7b", "Mixed_7c"):  # (N, 2048, 8, 8)
            x = self.block(
                name,
                x,
                ["branch1x1"],
                ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
                ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")],
                maximum=name == "Mixed_7c",
            )
        return x.mean((2, 3))

    def conv(self, name: str, x: Tensor, stride: int = 1, pad: bool = True) -> Tensor:
        """Return convolution, batch normalisation with stored statistics, and ReLU of x.

        The size stays the same unless there is a stride or no padding.
        """
        weight = self.weights[f"{name}.conv.weight"]
        padding = [n // 2 if pad and stride == 1 else 0 for n in weight.shape[2:]]
        x = F.conv2d(x, weight, stride=stride, padding=padding)
        mean, variance, scale, shift = (
            self.weights[f"{name}.bn.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu(F.batch_norm(x, mean, variance, scale, shift, eps=1e-3))

    def block(self, name: str, x: Tensor, *branches: list, maximum: bool = False) -> Tensor:
        """Return branches of convolutions and a pooled one side by side; a pair of names forks."""
        outs = []
        for branch in branches:
            out = x
            for step in branch:
                fork = step if isinstance(step, tuple) else (step,)
                out = torch.cat([self.conv(f"{name}.{part}", out) for part in fork], 1)
            outs.append(out)
        pooled = (
            F.max_pool2d(x, 3, 1, 1)
            if maximum
            else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        )
        return torch.cat([*outs, self.conv(f"{name}.branch_pool", pooled)], 1)

    def halve(self, name: str, x: Tensor, *branches: list[str]) -> Tensor:
        """Return branches whose last convolution has a stride of 2, and a maximum with the same."""
        outs = []
        for *first, last in branches:
            out = x
            for step in first:
                out = self.conv(f"{name}.{step}", out)
            outs.append(self.conv(f"{name}.{last}", out, stride=2))
        return torch.cat([*outs, F.max_pool2d(x, 3, 2)], 1)


class ScriptedFeatures:
    """A TorchScript file that maps images (N, 3, H, W) uint8 to features (N, F).

    An argument `return_features` of its `forward` is set, as the Inception file of StyleGAN's
    authors needs.
    """

    def __init__(self, module: torch.jit.ScriptModule, file: str):
        self.module, self.name = module.eval(), f"Frechet distance in features of {file}"
        arguments = [argument.name for argument in module.forward.schema.arguments]
        self.options = {"return_features": True} if "return_features" in arguments else {}

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, F) of images (N, C, H, W) uint8."""
        features = self.module(images.expand(-1, 3, -1, -1), **self.options)
        if features.dim() != 2 or len(features) != len(images):
            raise ValueError(
                f"{self.name}: {len(images)} images gave features of shape "
                f"{tuple(features.shape)}; expected ({len(images)}, F)"
            )
        return features


def load_features(path: str | Path) -> InceptionFeatures | ScriptedFeatures:
    """Return the extractor of a file: TorchScript, or Inception's weights as a state dictionary.

    Raises:
        UserError: the file does not exist, or is neither.
    """
    path = Path(path).expanduser()
    if not exists(path):
        raise UserError(f"{path} does not exist: give a TorchScript file or {KNOWN}")
    try:
        _check_size(path)
        try:
            return ScriptedFeatures(torch.jit.load(path, "cpu"), path.name)
        except RuntimeError:
            pass  # not TorchScript
        weights = torch.load(path, "cpu", weights_only=True)
        InceptionFeatures(weights)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    except Exception as error:
        raise UserError(
            f"{path} is neither TorchScript nor Inception's weights ({type(error).__name__}: "
            f"{reason(error)}): give {KNOWN}"
        ) from error
    return InceptionFeatures(weights)


def _check_size(path: Path) -> None:
    """Raise OSError or ValueError for what is no file, or a zip that unpacks to too much."""
    check_regular(path, LARGEST_ARRAYS)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > LARGEST_ARRAYS:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {LARGEST_ARRAYS:,}")
