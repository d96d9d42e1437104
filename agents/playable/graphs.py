"""A world model and an actor as ONNX graphs, whose randomness is an input.

    recurrent, latent, action, noise -> recurrent, latent, frame, reward, continuation[, parts]
    recurrent, latent, noise         -> action

`noise` holds the standard normal numbers that the model or the actor draws, in the order it draws
them; zeros give the mode, and a factor on them is a temperature.

Shapes: N environments, H recurrent, d latent, A action, K numbers that a step draws.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.world_models.base import State, WorldModel

PARTS = ("prior", "volume", "pixels")  # of a frame's log-density
OPSET = 18
LEAST = 1e-6  # distance of a uniform draw from 0 and 1


class Drawn(TorchFunctionMode):
    """Within the block, torch's random numbers (N, ...) are those of `noise` (N, K), in order.

    Uniform draws are the normal ones' place in their distribution. Without noise, zeros take its
    place, and `count` tells K.

    Raises:
        NotImplementedError: by a draw that is neither `rand` nor `randn`.
    """

    def __init__(self, noise: Tensor | None = None) -> None:
        super().__init__()
        self.noise, self.count = noise, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Take the place of a random function; call every other."""
        kwargs = kwargs or {}
        if func in (torch.randn_like, torch.rand_like):
            shape = args[0].shape
        elif func in (torch.randn, torch.rand):
            shape = args[0] if not isinstance(args[0], int) else args
        elif func in (torch.normal, torch.bernoulli, torch.multinomial, torch.randint):
            raise NotImplementedError(f"draws by torch.{func.__name__}")
        else:
            return func(*args, **kwargs)
        normal = self._take(tuple(shape))
        return normal if func in (torch.randn, torch.randn_like) else uniform(normal)

    def _take(self, shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape[1:])
        begin, self.count = self.count, self.count + size
        if self.noise is None:
            return torch.zeros(shape)
        return self.noise[:, begin : begin + size].view(shape)


def uniform(normal: Tensor) -> Tensor:
    """Return the place in (0, 1) of standard normal numbers in their distribution."""
    return (0.5 + 0.5 * torch.erf(normal / math.sqrt(2))).clamp(LEAST, 1 - LEAST)


def grey_levels(frames: Tensor) -> Tensor:
    """Return frames (N, C, H, W), float in [0, 1], as uint8."""
    return (frames * 256).floor().clamp(0, 255).to(torch.uint8)


class Step(nn.Module):
    """One imagined decision: predict, decode, and score the decoded frame.

    The frame is seen again as if a camera had shown it, and its log-density given the state before
    is the model's own (`WorldModel.observe_log_prob`), where that is exact.

    Args:
        model: imagines.
    """

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model, self.exact = model, model.likelihood == "exact"
        self.outputs = ["next_recurrent", "next_latent", "frame", "reward", "continuation"]
        self.outputs += [f"log_{part}" for part in PARTS] if self.exact else []
        self.noise_dim = self._count()

    def _count(self) -> int:
        state, action = self.model.initial(1), torch.zeros(1, self.model.action_dim)
        with Drawn() as drawn:
            self.model.predict(state, action, 1.0)
        return drawn.count

    def forward(
        self, recurrent: Tensor, latent: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, ...]:
        """Return what `outputs` names, for states (N, H), (N, d), actions (N, A), noise (N, K).

        Frames are (N, H, W, C) uint8; all other outputs are (N,) float32 but for the state.
        """
        before = State(recurrent, latent)
        with Drawn(noise):
            after = self.model.predict(before, action, 1.0)
        frame = grey_levels(self.model.decode(after).float())  # (N, C, H, W)
        return (*after, frame.permute(0, 2, 3, 1), *self.judge(before, action, after, frame))

    def judge(self, before: State, action: Tensor, after: State, frame: Tensor) -> list[Tensor]:
        """Return reward, continuation and the parts of the frame's log-density, (N,) each."""
        found = [self.model.reward(after), self.model.continuation(after)]
        if self.exact:
            nowhere = torch.zeros(len(frame), dtype=torch.bool, device=frame.device)
            found += self.model.observe_log_prob(before, action, frame, nowhere)[1]
        return [value.float() for value in found]


class Actor(nn.Module):
    """An actor as a function of state and noise.

    Args:
        actor: a network with `sample(features, noise)`.
    """

    outputs = ("action",)

    def __init__(self, actor: Any) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, recurrent: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Return actions (N, A) of states (N, H), (N, d) and noise (N, A)."""
        return self.actor.sample(State(recurrent, latent).features, noise).action


def to_onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> Any:
    """Return a module as an ONNX model of one environment (onnx.ModelProto).

    Raises UserError where the ONNX packages are missing, or the module has no such form.
    """
    try:
        import onnxscript  # noqa: F401 - torch's exporter writes with it
    except ImportError as error:
        raise UserError(
            "the page needs the packages onnx and onnxscript: pip install 'aef-worldmodel[onnx]'"
        ) from error
    try:
        with quiet():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever the exporter raises of an operation it does not know
        raise UserError(
            f"{type(module).__name__.lower()} of this world model cannot be written as ONNX "
            f"({reason(error)}): give a run of another world model"
        ) from error
    assert program is not None
    return program.model_proto


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter from speaking of packages that are not needed here."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
