"""Functions that run as written, or compiled where a run asks for it."""

import os
import subprocess
import sys
import threading
import warnings

import pytest
import torch

from aef_worldmodel.utils import compiling as module
from aef_worldmodel.utils.compiling import compilable, compile_problem, compiling

SAY_PROBLEM = "from aef_worldmodel.utils.compiling import compile_problem; print(compile_problem())"


@compilable
def is_compiled(x):
    """Return x, and whether torch.compile traced this function."""
    return x, torch.compiler.is_compiling()


@compilable
def nested(x):
    return is_compiled(x)


@pytest.fixture
def tracing(monkeypatch):
    """Trace and differentiate, but generate no code: seconds instead of minutes."""
    monkeypatch.setattr(module, "BACKEND", "aot_eager")


def test_a_function_is_compiled_inside_the_context_alone(tracing):
    x = torch.ones(3)
    assert is_compiled(x)[1] is False
    with compiling():
        assert is_compiled(x)[1] is True
        assert nested(x)[1] is True
        with compiling(False):
            assert is_compiled(x)[1] is False
        assert is_compiled(x)[1] is True
    assert is_compiled(x)[1] is False


def test_other_threads_are_not_concerned(tracing):
    found = []
    with compiling():
        other = threading.Thread(target=lambda: found.append(is_compiled(torch.ones(3))[1]))
        other.start()
        other.join()
    assert found == [False]


@compilable
def in_float32(x, weight):
    """Return products of which the second is in float32, whatever autocast says."""
    with torch.autocast("cpu", enabled=False):
        return (x @ weight).square().sum()


def test_gradients_have_the_precision_they_have_as_written(tracing):
    torch.manual_seed(0)
    weight, found = torch.randn(32, 8), []
    for on in (False, True):
        x = torch.randn(16, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False), compiling(on):
            loss = in_float32(x, weight)
        found.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_a_compiler_that_fails_is_said_once_and_everything_runs_as_written(monkeypatch):
    def broken(graph, inputs):
        raise OSError("no space left")

    monkeypatch.setattr(module, "_failure", "")
    monkeypatch.setattr(module, "BACKEND", broken)
    x, weight = torch.ones(3, 3), torch.eye(3)
    with compiling():
        with pytest.warns(UserWarning, match="not compiled from here on"):
            assert in_float32(x, weight) == 9
        assert "no space left" in module._failure
        with warnings.catch_warnings(action="error"):
            assert in_float32(x, weight) == 9
            assert nested(x)[1] is False


def test_a_graph_break_is_an_error(tracing):
    @compilable
    def breaks(x):
        return x + 1 if x.sum() > 0 else x

    assert breaks(torch.ones(2)).tolist() == [2, 2]
    with compiling(), pytest.raises(torch._dynamo.exc.Unsupported):
        breaks(torch.ones(2))


def test_a_machine_without_a_compiler_is_told_so(tmp_path):
    away = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "c")}
    done = subprocess.run(
        [sys.executable, "-c", SAY_PROBLEM],
        env=os.environ | away,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() not in ("", "None")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_compiled_code_is_kept_in_the_cache_folder(tmp_path):
    if compile_problem() is not None:
        pytest.skip("no C++ compiler")
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    subprocess.run(
        [sys.executable, "-c", SAY_PROBLEM],
        env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert list((tmp_path / "aef_worldmodel" / "compiled").rglob("*.so"))
