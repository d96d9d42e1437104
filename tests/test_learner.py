"""One update of everything that learns."""

import threading

import pytest
import torch
from small_run import book, make, weights

from agents.learner import NonFinite


def test_a_low_precision_run_repeats_whatever_other_threads_clear(tmp_path):
    """Autocast's cache of low-precision weights is one for all threads; rounding must not tell."""
    quiet = make(tmp_path / "quiet", "hardware.autocast=bfloat16")
    quiet.train(book(quiet))
    done = threading.Event()

    def clear():
        while not done.wait(1e-4):
            torch.clear_autocast_cache()

    other = threading.Thread(target=clear)
    other.start()
    try:
        disturbed = make(tmp_path / "disturbed", "hardware.autocast=bfloat16")
        disturbed.train(book(disturbed))
    finally:
        done.set()
        other.join()
    assert torch.equal(weights(quiet), weights(disturbed))


def test_everyone_reads_an_averaged_world_model(tmp_path):
    """It copies the online one while that learns alone, then follows it by average_rate."""
    trainer = make(tmp_path, "average_rate=0.25")
    learner, log = trainer.learner, book(trainer)
    while trainer.updates < trainer.config.pretrain:
        trainer._iterate(log)
    assert torch.equal(learner.model.eye.mean, learner.online.eye.mean)
    for rate, act in ((1.0, False), (0.25, True), (0.25, True)):
        before = [p.clone() for p in learner.model.parameters()]
        trainer.learn(act)
        for old, average, own in zip(
            before, learner.model.parameters(), learner.online.parameters(), strict=True
        ):
            torch.testing.assert_close(average, old + rate * (own - old), rtol=1e-5, atol=1e-6)
        same = [torch.equal(*pair) for pair in
                zip(learner.model.parameters(), learner.online.parameters())]  # fmt: skip
        assert all(same) != act


def test_the_agent_learns_from_states_that_the_averaged_model_filters(tmp_path):
    trainer = make(tmp_path, "average_rate=0.25")
    learner, log, seen = trainer.learner, book(trainer), []
    while trainer.updates < trainer.config.pretrain + 2:
        trainer._iterate(log)
    step = learner._step_critic
    learner._step_critic = lambda dream: seen.append(dream) or step(dream)
    rows = {name: value.clone() for name, value in learner.last.items()}
    with torch.no_grad(), learner.autocast():
        expected = learner.model.follow(
            rows["frame"], rows["action"], rows["first"], rows["recurrent"][:, 0].float()
        )
    trainer.learn()
    torch.testing.assert_close(seen[0].states.recurrent, expected.recurrent)
    torch.testing.assert_close(seen[0].states.latent, expected.latent)
    assert torch.equal(seen[0].rows["reward"], rows["reward"])


def test_an_agent_that_fails_beside_the_world_model_says_so_and_leaves_no_thread_at_work(tmp_path):
    trainer = make(tmp_path)
    learner, log = trainer.learner, book(trainer)
    while trainer.updates < trainer.config.pretrain + 2:
        trainer._iterate(log)
    with torch.no_grad():
        learner.agent.actor.network[0].weight.fill_(float("nan"))
    with pytest.raises(NonFinite, match="actor_loss"):
        trainer.learn()
    assert learner.pool._work_queue.empty() and learner.pool.submit(int).result() == 0


def test_rows_of_an_older_version_are_left_out_and_the_next_update_has_its_own(tmp_path):
    trainer = make(tmp_path)
    learner, log = trainer.learner, book(trainer)
    while trainer.updates < trainer.config.pretrain + 2:
        trainer._iterate(log)
    state = learner.state_dict()
    kept = {name: rows for name, rows in state["last"].items() if not name.endswith("_after")}
    other = make(tmp_path / "other").learner
    other.load_state_dict(state | {"last": kept}, tmp_path)
    batch = {name: rows.clone() for name, rows in learner.last.items()}
    _, terms = other.update(batch, act=True)
    assert "actor_loss" not in terms and "log_prob" in terms
    _, terms = other.update(batch, act=True)
    assert "actor_loss" in terms and "replay_value_loss" in terms


def test_nothing_is_dreamt_after_an_end(tmp_path):
    trainer = make(tmp_path, "agent.starts=1000")
    learner, log, begun = trainer.learner, book(trainer), []
    while trainer.updates < trainer.config.pretrain + 2:
        trainer._iterate(log)
    rows = {name: value.clone() for name, value in learner.last.items()}
    rows["terminal"][0, -1] = True  # of each sequence the last row may begin a dream
    latent = learner._filter(rows).latent
    learner.agent.actor_loss = lambda model, start, generator: begun.append(start) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        learner._dream(rows)
    assert torch.equal(begun[0].latent, latent[1:, -1])
