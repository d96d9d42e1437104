"""One update of everything that learns."""

import dataclasses
import threading

import pytest
import torch
from small_run import logger, make, weights

from aef_worldmodel.utils import compiling
from aef_worldmodel.world_models.base import State
from agents.algorithms.imagination.agent import BURN_IN
from agents.learning.overlap import LazyResult, Overlap
from agents.optimisation import NonFinite


def pretrained(path, *words, updates=2):
    """Return a trainer some updates after its pretraining, and its logger."""
    trainer = make(path, *words)
    log = logger(trainer)
    while trainer.updates < trainer.config.pretrain + updates:
        trainer.iterate(log)
    return trainer, log


def test_a_low_precision_run_repeats_whatever_other_threads_clear(tmp_path):
    """Autocast's cache of low-precision weights is shared by all threads; it must not matter."""
    quiet = make(tmp_path / "quiet", "hardware.precision=bfloat16")
    quiet.train(logger(quiet))
    done = threading.Event()

    def clear():
        while not done.wait(1e-4):
            torch.clear_autocast_cache()

    other = threading.Thread(target=clear)
    other.start()
    try:
        disturbed = make(tmp_path / "disturbed", "hardware.precision=bfloat16")
        disturbed.train(logger(disturbed))
    finally:
        done.set()
        other.join()
    assert torch.equal(weights(quiet), weights(disturbed))


def test_one_thread_and_two_learn_the_same(tmp_path):
    found = []
    for threads in (1, 2):
        trainer = make(tmp_path / str(threads), f"hardware.threads={threads}")
        assert (trainer.learner.overlap.pool is None) == (threads == 1)
        trainer.train(logger(trainer))
        found.append(weights(trainer))
    assert torch.equal(*found)


def test_everyone_reads_an_averaged_world_model(tmp_path):
    """The average copies the online model during pretraining, then follows it by ema.model."""
    trainer, _ = pretrained(tmp_path, "ema.model=0.25", updates=0)
    learner = trainer.learner
    assert torch.equal(learner.model.autoencoder.mean, learner.online.autoencoder.mean)
    for rate, act in ((1.0, False), (0.25, True), (0.25, True)):
        before = [p.clone() for p in learner.model.parameters()]
        trainer.learn(act)
        pairs = zip(before, learner.model.parameters(), learner.online.parameters(), strict=True)
        for old, average, own in pairs:
            torch.testing.assert_close(average, old + rate * (own - old), rtol=1e-5, atol=1e-6)
        both = zip(learner.model.parameters(), learner.online.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in both) != act


def test_the_agent_learns_from_states_that_the_averaged_model_filters(tmp_path):
    trainer, _ = pretrained(tmp_path, "ema.model=0.25")
    learner, seen = trainer.learner, []
    step = learner.agent.step_critic
    learner.agent.step_critic = lambda *parts: seen.append(parts) or step(*parts)
    batch = learner.last.apply(torch.clone)
    with torch.no_grad(), learner.autocast():
        expected = learner.model.filter_frames(
            batch.frame, batch.action, batch.first, batch.recurrent[:, 0].float()
        )
    trainer.learn()
    _, states, learnt = seen[0]
    torch.testing.assert_close(states.recurrent, expected.recurrent)
    torch.testing.assert_close(states.latent, expected.latent)
    assert torch.equal(learnt.reward, batch.reward)


def test_the_agent_reads_a_frozen_copy_in_the_type_of_the_products(tmp_path):
    words = "hardware.precision=bfloat16", "world_model.autoencoder=expanded"
    trainer, _ = pretrained(tmp_path, *words)
    learner = trainer.learner
    for _ in range(2):
        trainer.learn()
        own = dict(learner.model.named_parameters())
        for name, copied in learner.frozen.named_parameters():
            assert torch.equal(copied, own[name].to(copied.dtype)), name
    kinds = {name: p.dtype for name, p in learner.frozen.named_parameters()}
    assert kinds["cell.recurrent.weight"] == torch.bfloat16
    assert kinds["autoencoder.expansion.weight"] == torch.float32  # computes in float32, always
    assert kinds["cell.norm.weight"] == torch.float32


def test_the_states_filtered_ahead_are_those_of_the_next_update(tmp_path):
    trainer, _ = pretrained(tmp_path)
    learner = trainer.learner
    ahead, again = learner.states, learner.filter_batch(learner.last)
    assert torch.equal(ahead.recurrent, again.recurrent)
    assert torch.equal(ahead.latent, again.latent)
    learner.set_mean(learner.last.frame.flatten(0, 1))
    assert learner.states is None  # they were of another model
    assert torch.equal(learner.frozen.autoencoder.mean, learner.online.autoencoder.mean)


@pytest.mark.parametrize("autoencoder", ["aef", "vae"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_run_learns_the_same_in_whole_graphs(
    tmp_path, monkeypatch, autoencoder, precision
):
    """Traced and differentiated, not turned into code: the numbers are the same then."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    found = []
    for compiled in ("false", "true"):
        words = f"hardware.compile={compiled}", f"world_model.autoencoder={autoencoder}"
        words += "hardware.threads=1", f"hardware.precision={precision}"
        trainer = make(tmp_path / compiled, *words)
        trainer.train(logger(trainer))
        found.append(weights(trainer))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    counts = torch._dynamo.utils.counters
    assert not counts["graph_break"] and counts["stats"]["unique_graphs"] >= 6
    graphs = counts["stats"]["unique_graphs"]
    trainer.learn()
    assert counts["stats"]["unique_graphs"] == graphs  # nothing is compiled twice


def test_a_batch_of_another_size_is_not_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    trainer, _ = pretrained(tmp_path, "hardware.compile=true", "hardware.threads=1")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    learner = trainer.learner
    batch = dataclasses.replace(learner.last, terminal=torch.ones_like(learner.last.terminal))
    batch.terminal[0, -1] = False
    states = learner.filter_batch(batch)
    rollout = learner.agent.imagine(batch, states, learner.frozen)
    assert rollout.weight.shape[1] == 1
    learner.agent.step_actor(rollout)
    learner.agent.step_critic(rollout, states, batch)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


def test_an_agent_that_fails_beside_the_world_model_says_so_and_leaves_no_thread_at_work(tmp_path):
    trainer, _ = pretrained(tmp_path)
    learner = trainer.learner
    with torch.no_grad():
        learner.agent.networks.actor.network[0].weight.fill_(float("nan"))
    with pytest.raises(NonFinite, match="actor_loss"):
        trainer.learn()
    pool = learner.overlap.pool
    assert pool._work_queue.empty() and pool.submit(int).result() == 0


def test_no_rollout_starts_from_a_terminal_state(tmp_path):
    trainer, _ = pretrained(tmp_path, "agent.imagination_batch=1000")
    learner, begun = trainer.learner, []
    terminal = learner.last.terminal.clone()
    terminal[0, -1] = True  # the last row of each sequence is the only one after the burn-in
    batch = dataclasses.replace(learner.last, terminal=terminal)
    assert terminal.shape[1] == BURN_IN + 1
    states = learner.filter_batch(batch)
    networks = learner.agent.networks
    networks.imagine = lambda model, start, generator: begun.append(start) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        learner.agent.imagine(batch, states, learner.model)
    assert torch.equal(begun[0].latent, states.latent[1:, -1])


def test_overlap_waits_for_all_jobs_even_when_one_side_fails():
    overlap, done = Overlap(1), threading.Event()
    with pytest.raises(ValueError, match="this side"), overlap as side:
        side.submit(lambda: done.wait(0.2) or done.set())
        raise ValueError("this side")
    assert done.is_set()


def test_a_lazy_result_is_computed_once_and_when_asked_for():
    calls = []
    result = LazyResult(lambda: calls.append(1) or State)
    assert not calls and result.result() is State and result.result() is State
    assert calls == [1]
