"""Flows on vectors, invertible maps of R^d: core flow, prior and posterior.

The maps are zuko's: affine in each dimension, with masked or coupled networks. The table counts
sequential passes through the networks, which a faster machine does not run in parallel:

    kind       forward (-> noise)   inverse (noise ->)   papers
    maf        1                    d                    Papamakarios et al. 2017
    iaf        d                    1                    Kingma et al. 2016
    coupling   1                    1                    Dinh et al. 2017

The density of a prior runs forward, its samples inverse. A core flow encodes forward and decodes
inverse. A posterior is sampled by the inverse, which also gives the density of the sample.
"""

import torch
from torch import Tensor, nn

from aef_worldmodel.utils.registry import suggest

FLOWS = ("maf", "iaf", "coupling")


class Flow(nn.Module):
    """Invertible map x -> y of R^d with its log-determinant, conditional on a context.

    Args:
        kind: one of `FLOWS`.
        dims: d.
        context: C, width of the context; 0 for none.
        layers: number of maps; the order of dimensions alternates between them.
        hidden: width of the two hidden layers of each network.

    Raises:
        ValueError: an unknown kind, or sizes below 1.
    """

    def __init__(self, kind: str, dims: int, context: int = 0, layers: int = 3, hidden: int = 64):
        super().__init__()
        if kind not in FLOWS:
            raise ValueError(f"unknown flow {kind!r}: {suggest(kind, FLOWS)}")
        if min(dims, layers, hidden) < 1 or context < 0:
            raise ValueError(
                f"a flow of dims={dims}, layers={layers}, hidden={hidden}, context={context}: "
                "each must be at least 1, context at least 0"
            )
        from zuko.flows import MAF, NICE  # its import changes defaults of torch.distributions

        self.kind, self.dims, self.context = kind, dims, context
        family = NICE if kind == "coupling" else MAF
        options = {"context": context, "transforms": layers, "hidden_features": (hidden, hidden)}
        self.transform = family(dims, **options).transform
        if dims == 1:  # only these does zuko initialise at random
            for parameter in self.transform.parameters():
                nn.init.zeros_(parameter)

    def extra_repr(self) -> str:
        """Return kind and sizes."""
        return f"{self.kind}, dims={self.dims}, context={self.context}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y (..., d) and log|det dy/dx| in nats (...) of x (..., d), context (..., C)."""
        return self._apply_transform(x, context, backwards=self.kind == "iaf")

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x (..., d) and log|det dx/dy| in nats (...) of y (..., d), context (..., C)."""
        return self._apply_transform(y, context, backwards=self.kind != "iaf")

    def _apply_transform(
        self, x: Tensor, context: Tensor | None, backwards: bool
    ) -> tuple[Tensor, Tensor]:
        if (context is None) != (self.context == 0):
            given = "no context" if context is None else f"a context {tuple(context.shape)}"
            raise ValueError(
                f"the flow was given {given}: give a context of width {self.context}"
                if self.context
                else f"the flow was given {given} but is unconditional: leave the context out"
            )
        with torch.autocast(x.device.type, enabled=False):
            dtype = next(self.transform.parameters()).dtype
            context = None if context is None else context.to(dtype)
            transform = self.transform(context)
            transform = transform.inv if backwards else transform
            out, log_det = transform.call_and_ladj(x.to(dtype))
        return out, log_det
