"""Weights and graphs as small files: two bytes a weight, compressed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aef_worldmodel.utils.files import atomic_write

SMALL = 256  # numbers: a smaller tensor keeps four bytes for each


@torch.no_grad()
def round_weights(module: nn.Module) -> None:
    """Round all weights of two axes or more to float16, in place; they stay float32."""
    for weight in module.parameters():
        if weight.dim() > 1:
            weight.copy_(weight.half().float())


def halve(proto: Any) -> None:
    """Store constants that are float16 numbers as such, with a cast in front of their readers.

    The graph computes what it did: other constants stay as they are. The runtime casts once, when
    it loads the graph.

    Args:
        proto: onnx.ModelProto, changed in place.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for constant in proto.graph.initializer:
        if constant.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(constant)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size <= SMALL or not np.array_equal(half.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:], proto.graph.value_info[:], proto.graph.metadata_props[:]
    for node in nodes:
        del node.metadata_props[:]  # traces of the exporter
        node.doc_string = ""
    proto.graph.node.extend(nodes)


def write_compressed(path: Path, data: bytes) -> None:
    """Write bytes as gzip, the same file for the same bytes. Raises UserError if it cannot."""
    with atomic_write(path, "wb") as file:
        file.write(gzip.compress(data, 9, mtime=0))
