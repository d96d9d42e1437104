"""The page of a dream: its files, its refusals, and what a browser makes of it."""

import hashlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from gzip import decompress

import numpy as np
import pytest
import torch
from small_run import words

from aef_worldmodel.utils.errors import UserError
from agents import export, export_dream, train
from agents.config.hardware import HardwareConfig, resolve
from agents.export_dream import PAGE
from agents.playable.graphs import Actor, Step
from agents.playable.storage import round_weights
from agents.training.runs import load_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TASK = ("env.action_repeat=10", "env.image_size=32", "frames=1600", "prefill=1400")


def make_run(folder, agent="imagination", *more):
    assert train.main(words(agent, *TASK, f"run={folder}", *more)) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run of seconds."""
    return make_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    """Its page, whose folder's name has a space, and the command that serves it."""
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("pages") / "a dream"
    export_dream.export_dream(run, out)
    return out


def rounded(run):
    """Return step and actor of a run as the page has them."""
    learner = load_run(run, resolve(HardwareConfig(device="cpu"))).learner
    step, actor = Step(learner.model), Actor(learner.agent.networks.ema_actor)
    for module in (step, actor):
        round_weights(module)
    return step, actor


# -- the files -----------------------------------------------------------------------------


def test_the_page_computes_what_the_run_does(run, page):
    runtime = pytest.importorskip("onnxruntime")
    about = json.loads((page / "dream" / "about.json").read_text())
    start = {k: torch.tensor([v]) for k, v in about["starts"][1].items()}
    noise = torch.randn(1, about["noise"], generator=torch.Generator().manual_seed(0))
    modules = dict(zip(("step", "actor"), rounded(run)))
    inputs = {
        "step": {**start, "action": torch.tensor([[0.7]]), "noise": noise},
        "actor": {**start, "noise": torch.tensor([[0.5]])},
    }
    for name, module in modules.items():
        graph = decompress((page / "dream" / f"{name}.onnx.gz").read_bytes())
        values = {key: value.numpy() for key, value in inputs[name].items()}
        found = runtime.InferenceSession(graph).run(None, values)
        with torch.no_grad():
            expected = module(*inputs[name].values())
        for one, other in zip(found, expected if name == "step" else [expected], strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-4)


def test_rounding_to_two_bytes_changes_little(run):
    learner = load_run(run, resolve(HardwareConfig(device="cpu"))).learner
    exact, (step, _) = Step(learner.model), rounded(run)
    inputs = (*learner.model.initial(1), torch.ones(1, 1), torch.zeros(1, step.noise_dim))
    with torch.no_grad():
        for one, other in zip(exact(*inputs)[:2], step(*inputs)[:2], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=5e-3)


def test_the_page_is_complete_readable_and_loads_nothing_from_elsewhere(page):
    names = {str(path.relative_to(page)) for path in page.rglob("*") if path.is_file()}
    assert {"index.html", "dream/step.onnx.gz", "dream/actor.onnx.gz", "vendor/LICENSE"} <= names
    for path in (*PAGE.glob("*.js"), *PAGE.glob("*.html"), *PAGE.glob("*.css")):
        text = path.read_text()
        assert text.count("\n") < 300 and "//cdn" not in text and "http" not in text
        assert all(len(line) <= 120 for line in text.splitlines())
    assert sum((page / name).stat().st_size for name in names) < 10e6


def test_the_runtime_is_the_one_its_page_names():
    about = (PAGE / "vendor" / "README.md").read_text()
    code = (PAGE / "vendor" / "ort.js").read_bytes()
    wasm = decompress((PAGE / "vendor" / "ort.wasm.gz").read_bytes())
    for data in (code, wasm):
        assert hashlib.sha256(data).hexdigest() in about


# -- what cannot be played -----------------------------------------------------------------


def refused(tmp_path, sentence, *line):
    out = tmp_path / "page"
    with pytest.raises(UserError, match=sentence):
        export_dream.main([*line, f"out={out}"])
    assert not out.exists()


def test_what_is_no_run_with_a_dream_is_refused_in_a_sentence(run, tmp_path):
    refused(tmp_path, "run is not set")
    refused(tmp_path, "is not the folder of a run", f"run={tmp_path / 'none'}")
    weights, begun = tmp_path / "weights", tmp_path / "begun"
    export.export(run, weights)
    refused(tmp_path, "weights alone", f"run={weights}")
    shutil.copytree(run, begun)
    shutil.rmtree(begun / "replay")
    refused(tmp_path, "cannot read the replay buffer", f"run={begun}")
    shutil.rmtree(begun / "checkpoints")
    refused(tmp_path, "no checkpoint", f"run={begun}")
    with pytest.raises(UserError, match="exists already"):
        export_dream.main([f"run={run}", f"out={tmp_path}"])


@pytest.mark.parametrize("agent", ["random", pytest.param("sac", marks=pytest.mark.slow)])
def test_an_agent_without_an_actor_of_the_dream_is_refused(agent, tmp_path):
    if agent == "sac":
        pytest.importorskip("stable_baselines3")
    made = make_run(tmp_path / "run", agent)
    refused(tmp_path, f"agent={agent} has no actor", f"run={made}")


@pytest.mark.slow
def test_a_run_on_states_is_refused(tmp_path):
    more = [w for w in words() if not w.startswith(("world_model.", "env.image"))]
    line = [*more, "env.obs=proprio", "world_model=states", "env.action_repeat=10"]
    assert train.main([*line, "frames=1600", "prefill=1400", f"run={tmp_path / 'run'}"]) == 0
    refused(tmp_path, "sees states, not images", f"run={tmp_path / 'run'}")


def test_a_failure_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("disk full")

    monkeypatch.setattr(export_dream, "step_graph", lambda _: None)
    monkeypatch.setattr(export_dream, "actor_graph", lambda *_: None)
    monkeypatch.setattr(export_dream, "halve", fail)
    refused(tmp_path, "disk full", f"run={run}")


# -- in a browser --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(page):
    """The address of the page, from the printed command; in a subfolder, as on GitHub Pages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    line = shlex.split(export_dream.serving(page.parent))
    assert line[:3] == ["python", "-m", "http.server"]
    line = [sys.executable, *(port if word == "8000" else word for word in line[1:])]
    server = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/{page.name}/"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def tab(served):
    """The loaded page in Chromium; it must ask for nothing that is not there."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        faults = []
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("response", lambda answer: answer.status < 400 or faults.append(answer.url))
        tab.goto(served)
        tab.wait_for_function("window.dream || document.querySelector('.failed')", timeout=60_000)
        assert tab.locator(".failed").count() == 0, tab.inner_text("#message")
        tab.wait_for_function("dream.play.decisions > 2")
        yield tab
        browser.close()
        assert not faults


def test_a_browser_plays(tab):
    shown = "document.getElementById('picture').toDataURL()"
    assert tab.inner_text("h1") == "A dream of cartpole-swingup"
    assert tab.inner_text("#who") == "the agent plays"
    tab.keyboard.down("ArrowRight")  # takes over
    tab.wait_for_function("document.getElementById('who').textContent == 'you play'")
    tab.wait_for_function("document.querySelector('#actions output').value == '1.00'")
    tab.keyboard.up("ArrowRight")
    tab.wait_for_function("document.querySelector('#actions output').value == '0.00'")
    tab.keyboard.press("Enter")  # hands back
    assert tab.evaluate("dream.agent")
    tab.keyboard.press(" ")
    tab.wait_for_function("dream.paused && !dream.deciding")
    before, count = tab.evaluate(shown), tab.evaluate("dream.play.decisions")
    tab.keyboard.press(".")
    tab.wait_for_function(f"dream.play.decisions == {count + 1}")
    assert tab.evaluate(shown) != before
    tab.keyboard.press("r")
    assert tab.evaluate("dream.play.decisions") == 0
    tab.locator("#starts button").nth(2).click()
    assert tab.evaluate("dream.play.start") == 2
    tab.locator("#temperature").fill("2.5")
    assert tab.evaluate("dream.play.temperature") == 2.5
    tab.keyboard.press(" ")  # acts although the slider has the focus
    tab.wait_for_function("dream.play.decisions > 0")


def test_a_browser_computes_what_pytorch_does(run, page, tab):
    """Ten decisions on end, each from the browser's own state, under given actions and noise."""
    step, actor = rounded(run)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(10, 1, step.noise_dim, generator=generator)
    action = 2 * torch.rand(10, 1, 1, generator=generator) - 1
    found = tab.evaluate(
        """async ([actions, noises]) => {
            dream.pause(true);
            const { model } = dream, made = [];
            let state = model.about.starts[0];
            for (let t = 0; t < actions.length; t += 1) {
                const acted = await model.act(state, [0.5]);
                const one = await model.step(state, actions[t][0], noises[t][0]);
                state = one.state;
                made.push({ ...one, acted, frame: Array.from(one.frame),
                    state: [Array.from(state.recurrent), Array.from(state.latent)] });
            }
            return made;
        }""",
        [action.tolist(), noise.tolist()],
    )
    about = json.loads((page / "dream" / "about.json").read_text())
    state = [torch.tensor([about["starts"][0][name]]) for name in ("recurrent", "latent")]
    for t, one in enumerate(found):
        with torch.no_grad():
            acted = actor(*state, torch.tensor([[0.5]]))
            recurrent, latent, frame, reward, goes_on, *parts = step(*state, action[t], noise[t])
        state = [recurrent, latent]
        for mine, theirs in zip(one["state"], state, strict=True):
            torch.testing.assert_close(torch.tensor([mine]), theirs, rtol=0, atol=1e-3)
        difference = np.array(one["frame"]) - frame.flatten().numpy().astype(int)
        assert np.abs(difference).max() <= 1  # a level on the edge between two
        numbers = [one["reward"], one["continuation"], *one["acted"]]
        expected = [reward.item(), goes_on.item(), acted.item()]
        np.testing.assert_allclose(numbers, expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(one["surprise"], [-p.item() for p in parts], rtol=1e-3)


def test_the_command_is_printed_as_a_shell_takes_it(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export_dream, "export_dream", lambda run, out, seed: out.mkdir())
    assert export_dream.main([f"run={run}", f"out={tmp_path / 'a b'}"]) == 0
    line = re.search(r"python -m http.server .*", capsys.readouterr().out)
    assert line and shlex.split(line.group())[-1] == str(tmp_path / "a b")
