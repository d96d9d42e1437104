"""Warp kernels captured once as CUDA graphs and replayed."""

import gc
from collections.abc import Callable, Hashable
from typing import Any

import torch
import warp as wp


class CudaGraphs:
    """Functions that launch Warp kernels: on CUDA each is captured once and replayed as a graph.

    Replays run on torch's current stream, so that torch and Warp need not wait for each other.

    Args:
        device: where the kernels run.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._graphs: dict[Hashable, Any] = {}

    def run(self, name: Hashable, function: Callable[[], None]) -> None:
        """Run `function`, or replay the graph captured under its `name`.

        Its launches may depend only on the contents of fixed arrays, and its kernels must have
        run before (`run_eagerly`), so that none is compiled during the capture.
        """
        if self.device.type == "cpu":
            with wp.ScopedDevice("cpu"):
                function()
            return
        if name not in self._graphs:
            self._graphs[name] = self._capture(function)
        stream = wp.stream_from_torch(torch.cuda.current_stream(self.device))
        wp.capture_launch(self._graphs[name], stream=stream)

    def run_eagerly(self, function: Callable[[], None]) -> None:
        """Run `function` at once, compile its kernels and wait for them."""
        with wp.ScopedDevice(str(self.device)):
            function()
            wp.synchronize_device()

    def clear(self) -> None:
        """Discard all graphs, because an array that they captured was replaced."""
        self._graphs.clear()

    def _capture(self, function: Callable[[], None]) -> Any:
        torch.cuda.synchronize(self.device)
        gc.disable()  # an array freed during a capture would spoil it
        try:
            capture = wp.ScopedCapture(device=str(self.device), force_module_load=False)
            with wp.ScopedDevice(str(self.device)), capture:
                function()
        finally:
            gc.enable()
        return capture.graph
