"""Signals: the first one is handled, a second one ends the command."""

import os
import signal

import pytest

from aef_worldmodel.utils import signals
from aef_worldmodel.utils.signals import end_on_signals, interrupt_on_signals, stop_on_signals

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def no_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("first", STOPPING)
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_handled_and_the_second_ends(first, second):
    calls = []
    stop_on_signals(lambda: calls.append(1))
    os.kill(os.getpid(), first)
    assert calls == [1]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), second)
    assert calls == [1]


def test_a_terminal_that_closes_twice_does_not_end_a_command_that_saves():
    calls = []

    def say():
        calls.append(1)
        raise OSError(5, "Input/output error")

    stop_on_signals(say)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    assert calls == [1]


def test_a_command_under_nohup_goes_on():
    calls = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop_on_signals(lambda: calls.append(1))
    os.kill(os.getpid(), signal.SIGHUP)
    assert calls == []


@pytest.mark.parametrize("number", STOPPING)
def test_what_was_begun_is_undone_whatever_comes_next(number, monkeypatch):
    begun = []
    monkeypatch.setattr(signals.threading.Timer, "start", lambda timer: begun.append(timer))
    interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    for again in STOPPING:
        os.kill(os.getpid(), again)
    (timer,) = begun
    assert timer.daemon and timer.function is os._exit and timer.args == (130,)


def test_before_and_after_a_command_signals_end_the_process():
    end_on_signals()
    assert [signal.getsignal(number) for number in STOPPING] == [signal.SIG_DFL] * 3
