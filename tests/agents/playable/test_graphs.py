"""Graphs of world models and actors: the randomness is an input, and ONNX computes the same."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, make_world_model
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.rssm_config import RSSMConfig
from agents.algorithms.imagination.actors import CategoricalActor
from agents.playable.graphs import Actor, Drawn, Step, grey_levels, to_onnx, uniform
from agents.playable.starts import WARM, WINDOW, spread_out, usual_range
from agents.playable.storage import halve, round_weights

SMALL = {"latent_dim": 8, "recurrent_dim": 16, "hidden_dim": 16, "width": 8}
OWN = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "own_world_model.py"))
CONFIGS = {
    "aef": RecurrentConfig(**SMALL),
    "aef-center": RecurrentConfig(autoencoder="aef-center", **SMALL),
    "aef-noise": RecurrentConfig(autoencoder="aef-noise", **SMALL),
    "vae": RecurrentConfig(autoencoder="vae", **SMALL),
    "rssm": RSSMConfig(),
    "rssm-gaussian": RSSMConfig(latent="gaussian"),
    "corrected": OWN["CorrectedConfig"](),
}


def make(name):
    """Return a world model whose output layers are not zero, and example inputs of its step."""
    torch.manual_seed(0)
    model = make_world_model(CONFIGS[name], (3, 32, 32), 2).requires_grad_(False).eval()
    for weight in model.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    step = Step(model)
    recurrent, latent = (torch.randn(1, width) for width in model.state_dims)
    noise = torch.randn(1, step.noise_dim)
    inputs = {"recurrent": 0.1 * recurrent, "latent": latent, "action": torch.rand(1, 2)}
    return step, {**inputs, "noise": noise}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_without_noise_is_the_models_mode_and_noise_moves_it(name):
    step, inputs = make(name)
    state, action = State(inputs["recurrent"], inputs["latent"]), inputs["action"]
    still = step(*state, action, torch.zeros_like(inputs["noise"]))
    mode = step.model.predict(state, action, 0.0)
    torch.testing.assert_close(State(*still[:2]), mode)
    assert torch.equal(still[2], grey_levels(step.model.decode(mode)).permute(0, 2, 3, 1))
    moved = [step(*inputs.values()) for _ in range(2)]
    assert all(map(torch.equal, *moved))  # nothing else is random
    assert not torch.equal(moved[0][1], still[1])
    assert step.exact == name.startswith("aef")


def test_the_noise_of_a_step_is_what_the_prior_draws():
    step, inputs = make("aef")
    recurrent, latent, action, noise = inputs.values()
    following = step.model.transition(State(recurrent, latent), action)
    expected = step.model.prior(following, latent).draw(noise)
    torch.testing.assert_close(step(*inputs.values())[1], expected)


def test_the_surprise_is_that_of_the_frame_that_is_shown():
    step, inputs = make("aef")
    before = State(inputs["recurrent"], inputs["latent"])
    frame, *_, prior, volume, pixels = step(*inputs.values())[2:]
    again = frame.permute(0, 3, 1, 2)
    first = torch.zeros(1, dtype=torch.bool)
    parts = step.model.observe_log_prob(before, inputs["action"], again, first)[1]
    torch.testing.assert_close((prior, volume, pixels), tuple(parts))


def test_uniform_draws_are_uniform():
    drawn = uniform(torch.randn(100_000, generator=torch.Generator().manual_seed(0)))
    assert (drawn.sort().values - torch.linspace(0, 1, 100_000)).abs().max() < 0.01


def test_a_draw_that_cannot_be_an_input_is_named():
    with pytest.raises(NotImplementedError, match=r"torch\.bernoulli"), Drawn():
        torch.bernoulli(torch.full((2,), 0.5))


OFTEN = "rssm"  # that of an AEF is compared in tests/agents/test_export_dream.py
SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in ("aef-center", "vae", "corrected")]


@pytest.mark.parametrize("name", [OFTEN, *SLOW])
def test_onnx_computes_what_torch_does_in_half_the_bytes(name):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    step, inputs = make(name)
    round_weights(step)
    graph = to_onnx(step, inputs, step.outputs)
    whole = len(graph.SerializeToString())
    halve(graph)
    data = graph.SerializeToString()
    assert len(data) < 0.6 * whole
    found = runtime.InferenceSession(data).run(None, {k: v.numpy() for k, v in inputs.items()})
    for one, other in zip(found, step(*inputs.values()), strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-3)


def test_an_actor_of_choices_is_a_graph():
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    actor = Actor(CategoricalActor(24, 3, 16)).requires_grad_(False)
    inputs = {"recurrent": torch.randn(1, 16), "latent": torch.randn(1, 8)}
    inputs["noise"] = torch.zeros(1, 3)
    session = runtime.InferenceSession(to_onnx(actor, inputs, ["action"]).SerializeToString())
    chosen = set()
    for _ in range(12):
        inputs["noise"] = torch.randn(1, 3)
        (found,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
        np.testing.assert_allclose(found, actor(*inputs.values()).numpy(), atol=1e-6)
        chosen.add(int(found.argmax()))
    assert len(chosen) > 1


def test_a_model_that_onnx_cannot_hold_is_one_sentence():
    pytest.importorskip("onnxscript")

    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x)

    with pytest.raises(UserError, match="odd of this world model cannot be written as ONNX"):
        to_onnx(Odd(), {"x": torch.eye(2)}, ["y"])


# -- starts and what is usual --------------------------------------------------------------


def test_starts_are_far_from_each_other():
    points = torch.tensor([[0.0], [0.1], [5.0], [5.1], [-9.0]])
    assert spread_out(points, 3) == [0, 4, 3]
    assert sorted(spread_out(points, 9)) == [0, 1, 2, 3, 4]


def test_one_usual_window_in_a_hundred_alarms_at_most():
    surprise = torch.randn(3, 200, 60, generator=torch.Generator().manual_seed(0))
    first = torch.zeros(200, 61, dtype=torch.bool)
    usual = usual_range(surprise, first)
    means = surprise[:, :, WARM - 1 :].unfold(-1, WINDOW, 1).mean(-1)
    above = (means > torch.tensor(usual["highest"])[:, None, None]).any(0).float().mean()
    assert 0.005 < above <= 0.0102
    assert np.allclose(usual["median"], 0, atol=0.04) and usual["window"] == WINDOW


def test_windows_lie_within_episodes():
    surprise, first = torch.zeros(3, 1, 40), torch.zeros(1, 41, dtype=torch.bool)
    surprise[..., 20], first[0, 21] = 1e6, True  # of a frame that begins an episode
    assert max(usual_range(surprise, first)["highest"]) == 0
    first[0, ::WINDOW] = True
    assert usual_range(surprise, first) is None
