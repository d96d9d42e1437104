"""Flows on vectors: the core flow, the prior and the posterior, each an invertible map of R^d.

They are zuko's (affine univariate maps, masked or coupled networks) behind one small face. What a
pass through the networks costs is one unit; `d` units come one after the other, so they do not
shrink on a faster machine:

    kind       forward (-> noise)   inverse (noise ->)   papers
    maf        1                    d                    Papamakarios et al. 2017
    iaf        d                    1                    Kingma et al. 2016
    coupling   1                    1                    Dinh et al. 2017

A prior's density runs forward, its samples inverse. A core flow encodes forward and decodes
inverse. A posterior is drawn from by the inverse, and the density of a draw comes with it.
"""

import torch
from torch import Tensor, nn

FLOWS = ("maf", "iaf", "coupling")


class Flow(nn.Module):
    """An invertible map x -> y of R^d with its log-determinant, given a context if it has one.

    Args:
        kind: one of `FLOWS`.
        dims: d.
        context: numbers of the context, C; 0 for none.
        layers: of the flow; the order of dimensions alternates between them.
        hidden: width of both hidden layers of each network.

    Raises:
        ValueError: an unknown kind, or sizes below 1.
    """

    def __init__(self, kind: str, dims: int, context: int = 0, layers: int = 3, hidden: int = 64):
        super().__init__()
        if kind not in FLOWS:
            raise ValueError(f"unknown flow {kind!r}; choose one of {', '.join(FLOWS)}")
        if min(dims, layers, hidden) < 1 or context < 0:
            raise ValueError(
                f"a flow of dims={dims}, layers={layers}, hidden={hidden}, context={context}; "
                "each must be at least 1, context at least 0"
            )
        from zuko.flows import MAF, NICE  # changes defaults of torch.distributions when imported

        self.kind, self.dims, self.context = kind, dims, context
        family = NICE if kind == "coupling" else MAF
        options = {"context": context, "transforms": layers, "hidden_features": (hidden, hidden)}
        self.transform = family(dims, **options).transform
        if dims == 1:  # zuko begins one-dimensional maps at random, as it begins no others
            for parameter in self.transform.parameters():
                nn.init.zeros_(parameter)

    def extra_repr(self) -> str:
        """Kind and sizes."""
        return f"{self.kind}, dims={self.dims}, context={self.context}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (..., d), context (..., C) -> y (..., d), log|det dy/dx| in nats (...)."""
        return self._apply_transform(x, context, backwards=self.kind == "iaf")

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inverse of `forward`: y -> x, log|det dx/dy|."""
        return self._apply_transform(y, context, backwards=self.kind != "iaf")

    def _apply_transform(self, x: Tensor, context: Tensor | None, backwards: bool):
        if (context is None) != (self.context == 0):
            raise ValueError(
                f"a flow with {self.context} numbers of context was given "
                f"{'none' if context is None else 'some'}"
            )
        with torch.autocast(x.device.type, enabled=False):
            dtype = next(self.transform.parameters()).dtype
            context = None if context is None else context.to(dtype)
            transform = self.transform(context)
            transform = transform.inv if backwards else transform
            out, log_det = transform.call_and_ladj(x.to(dtype))
        return out, log_det
