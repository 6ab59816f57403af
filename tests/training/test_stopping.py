"""Being asked to stop, once and twice."""

import signal
import threading

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.training._processes import sigterm_interrupts, uninterrupted  # noqa: E402

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def on_term():
    """Set what SIGTERM does, for the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda handler: signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGTERM, before)


def test_being_asked_to_end_is_like_ctrl_c_inside_and_what_it_was_outside(on_term):
    on_term(signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_program_with_its_own_way_to_end_keeps_it(on_term):
    told = []
    on_term(lambda number, frame: told.append(number))
    with sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    on_term(signal.SIG_IGN)
    with sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
def test_what_must_not_be_disturbed_is_not_and_what_comes_after_is(on_term, number):
    on_term(signal.SIG_DFL)
    with sigterm_interrupts():
        with uninterrupted():
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_in_another_thread_nothing_changes():
    before, seen = [signal.getsignal(number) for number in BOTH], []

    def work():
        with sigterm_interrupts(), uninterrupted():
            seen.extend(signal.getsignal(number) for number in BOTH)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
