"""Ctrl-C waits where it would leave something half done."""

import signal
import threading
from collections.abc import Callable

import pytest

from cnnperception import interrupts

Press = Callable[[], None]


def test_it_waits_for_the_end_of_the_block(press_interrupt: Press) -> None:
    done = []

    def work() -> None:
        with interrupts.held():
            press_interrupt()
            done.append("all of it")
        done.append("and more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_waits_until_it_is_let_through(press_interrupt: Press) -> None:
    done = []

    def work() -> None:
        with interrupts.held() as held:
            held.let_through()
            press_interrupt()
            done.append("the rest of the step")
            held.let_through()
            done.append("another step")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest of the step"]


def test_it_is_let_through_during_some_work_and_before_it(press_interrupt: Press) -> None:
    done = []

    def begin(name: str) -> str:
        done.append(name)
        press_interrupt()
        return name

    def work(press: bool) -> None:
        with interrupts.held() as held:
            if press:
                press_interrupt()
            held.during(begin)(f"pressed before: {press}")

    for press in (False, True):
        with pytest.raises(KeyboardInterrupt):
            work(press)
    assert done == ["pressed before: False"]
    with interrupts.held() as held:
        assert held.during(str.upper)("x") == "X"


def test_a_second_one_does_not_wait(press_interrupt: Press) -> None:
    done = []

    def work() -> None:
        with interrupts.held():
            press_interrupt()
            done.append("once")
            press_interrupt()
            done.append("twice")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["once"]


def test_handlers_of_others_and_other_threads_are_left_alone(press_interrupt: Press) -> None:
    before, pressed = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        with interrupts.held():
            press_interrupt()
            assert pressed == [1]
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere() -> None:
        with interrupts.held():
            pressed.append(2)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert pressed == [1, 2]
