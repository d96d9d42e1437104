"""Feature extractors by path, for `frechet.Frechet`: Inception's weights, or any TorchScript.

Inception v3: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, as
the network of 2015-12-05 on which FID is defined: averages that leave padding out, and a maximum
in the last block's pooling branch.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.errors import UserError

KNOWN = "pt_inception-2015-12-05-6726825d.pth (the weights pytorch-fid uses)"


class InceptionFeatures:
    """The 2048 numbers after Inception's last average, by weights (layer name -> tensor).

    The layers' sizes are read off the weights. Images (N, C, H, W) uint8 with 1 or 3 channels are
    resized to 299x299 bilinearly and scaled to [-1, 1], as pytorch-fid does it.
    """

    name = "FID"

    def __init__(self, weights: Mapping[str, Tensor]):
        self.weights = weights

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 -> features (N, 2048) float32."""
        x = images.float().expand(-1, 3, -1, -1) / 255
        x = 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
        x = self.conv("Conv2d_1a_3x3", x, stride=2)  # (N, 32, 149, 149)
        x = self.conv("Conv2d_2a_3x3", x, pad=False)
        x = F.max_pool2d(self.conv("Conv2d_2b_3x3", x), 3, 2)  # (N, 64, 73, 73)
        x = self.conv("Conv2d_3b_1x1", x)
        x = F.max_pool2d(self.conv("Conv2d_4a_3x3", x, pad=False), 3, 2)  # (N, 192, 35, 35)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.block(name, x, ["branch1x1"], ["branch5x5_1", "branch5x5_2"],
                           [f"branch3x3dbl_{i}" for i in (1, 2, 3)])  # fmt: skip
        x = self.halve("Mixed_6a", x, ["branch3x3"], [f"branch3x3dbl_{i}" for i in (1, 2, 3)])
        for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):  # (N, 768, 17, 17)
            x = self.block(name, x, ["branch1x1"], [f"branch7x7_{i}" for i in (1, 2, 3)],
                           [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)])  # fmt: skip
        x = self.halve("Mixed_7a", x, ["branch3x3_1", "branch3x3_2"],
                       [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)])  # fmt: skip
        for name in ("Mixed_7b", "Mixed_7c"):  # (N, 2048, 8, 8)
            x = self.block(name, x, ["branch1x1"],
                           ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
                           ["branch3x3dbl_1", "branch3x3dbl_2",
                            ("branch3x3dbl_3a", "branch3x3dbl_3b")],
                           maximum=name == "Mixed_7c")  # fmt: skip
        return x.mean((2, 3))

    def conv(self, name: str, x: Tensor, stride: int = 1, pad: bool = True) -> Tensor:
        """Convolution without bias, batch normalisation with its stored statistics, ReLU. It keeps
        the size, but not with a stride or without padding."""
        weight = self.weights[f"{name}.conv.weight"]
        padding = [n // 2 if pad and stride == 1 else 0 for n in weight.shape[2:]]
        x = F.conv2d(x, weight, stride=stride, padding=padding)
        norm = [self.weights[f"{name}.bn.{part}"]
                for part in ("running_mean", "running_var", "weight", "bias")]  # fmt: skip
        return F.relu(F.batch_norm(x, *norm, eps=1e-3))

    def block(self, name: str, x: Tensor, *branches: list, maximum: bool = False) -> Tensor:
        """Branches of convolutions side by side (a pair of names forks one), and a pooled one."""
        outs = []
        for branch in branches:
            out = x
            for step in branch:
                fork = step if isinstance(step, tuple) else (step,)
                out = torch.cat([self.conv(f"{name}.{part}", out) for part in fork], 1)
            outs.append(out)
        pooled = (F.max_pool2d(x, 3, 1, 1) if maximum
                  else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))  # fmt: skip
        return torch.cat([*outs, self.conv(f"{name}.branch_pool", pooled)], 1)

    def halve(self, name: str, x: Tensor, *branches: list[str]) -> Tensor:
        """Branches whose last convolution has a stride of 2, beside a maximum with one."""
        outs = []
        for *first, last in branches:
            out = x
            for step in first:
                out = self.conv(f"{name}.{step}", out)
            outs.append(self.conv(f"{name}.{last}", out, stride=2))
        return torch.cat([*outs, F.max_pool2d(x, 3, 2)], 1)


class ScriptedFeatures:
    """A TorchScript file: images (N, 3, H, W) uint8 -> features (N, F). Where its `forward` has an
    argument `return_features` it is set, as Inception's file of StyleGAN's authors wants it."""

    def __init__(self, module: torch.jit.ScriptModule, file: str):
        self.module, self.name = module.eval(), f"Frechet distance in features of {file}"
        arguments = [argument.name for argument in module.forward.schema.arguments]
        self.options = {"return_features": True} if "return_features" in arguments else {}

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 -> features (N, F)."""
        features = self.module(images.expand(-1, 3, -1, -1), **self.options)
        if features.dim() != 2 or len(features) != len(images):
            raise ValueError(f"{self.name}: {len(images)} images gave features of shape "
                             f"{tuple(features.shape)}; expected ({len(images)}, F)")  # fmt: skip
        return features


def load_features(path: str | Path) -> InceptionFeatures | ScriptedFeatures:
    """The extractor in a file: TorchScript, or Inception's weights as a state dictionary.

    Raises:
        UserError: no such file, or one that holds neither.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}: give a TorchScript file or {KNOWN}")
    try:
        return ScriptedFeatures(torch.jit.load(path, "cpu"), path.name)
    except RuntimeError:
        pass  # not TorchScript
    try:
        weights = torch.load(path, "cpu", weights_only=True)
        InceptionFeatures(weights)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    except Exception as error:
        raise UserError(
            f"{path} is neither TorchScript nor Inception's weights ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}): give {KNOWN}"
        ) from error
    return InceptionFeatures(weights)
