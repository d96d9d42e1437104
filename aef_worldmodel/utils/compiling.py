"""torch.compile where it pays: functions that a run compiles, and everyone else runs as written.

A function marked `compilable` runs as it is written except inside `compiling()`, where its compiled
form takes its place: one kernel for a chain of small operations. Shapes are static, so a caller
enters `compiling()` only where shapes do not change from call to call.
"""

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import torch._functorch.config
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

BACKEND = "inductor"
_failure = ""  # of the compiler in this process; nothing is compiled after it
_compiling: ContextVar[bool] = ContextVar("compiling", default=False)


def compilable(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function or method that `compiling()` compiles, as one graph without breaks."""

    @functools.cache
    def compiled(backend: str) -> Any:
        _trace_gradients_as_written()
        return torch.compile(function, dynamic=False, fullgraph=True, backend=backend)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        global _failure
        if torch.compiler.is_compiling() or not _compiling.get() or _failure:
            return function(*args, **kwargs)
        from torch._dynamo.exc import BackendCompilerFailed  # slow to import

        try:
            return compiled(BACKEND)(*args, **kwargs)
        except BackendCompilerFailed as error:
            _failure = _first_line(error.inner_exception)
            warnings.warn(f"updates are not compiled from here on ({_failure})", stacklevel=2)
        return function(*args, **kwargs)

    return call


@contextmanager
def compiling(on: bool = True) -> Iterator[None]:
    """Run compilable functions in their compiled form, in this thread, if `on`."""
    token = _compiling.set(on)
    try:
        yield
    finally:
        _compiling.reset(token)


def _trial(x: Tensor) -> Tensor:
    return torch.tanh(x).square().sum()


@functools.cache
def compile_problem(device: str = "cpu") -> str | None:
    """Return why nothing can be compiled for a device, as one clause; None if it can.

    A small function is compiled and differentiated to find out; it takes seconds the first time.
    """
    _keep_cache()
    if not hasattr(torch._functorch.config, "backward_pass_autocast"):
        return f"torch {torch.__version__} would compute gradients in another precision"
    try:
        x = torch.ones(16, device=device, requires_grad=True)
        torch.compile(_trial, dynamic=False, fullgraph=True)(x).backward()
    except Exception as error:  # whatever a compiler, a file system or torch raises
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def _trace_gradients_as_written() -> None:
    """Trace gradients outside autocast, where `backward` is called, and at once.

    Otherwise the gradient of a product in float32 (autocast disabled) is one in bfloat16, and a
    compiler that fails would do so in the middle of `backward`.
    """
    torch._functorch.config.backward_pass_autocast = "off"
    torch._functorch.config.force_non_lazy_backward_lowering = True


def _keep_cache() -> None:
    """Keep compiled code where it outlives a reboot, unless the user chose a folder."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = root / "aef_worldmodel" / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # torch takes the folder for temporary files
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
