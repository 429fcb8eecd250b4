"""Ctrl-C where it leaves nothing half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Held:
    """Ctrl-C that waits until it is let through; a second one does not wait."""

    def __init__(self) -> None:
        self.asked = False
        self.open = False

    def let_through(self) -> None:
        """Raise KeyboardInterrupt when Ctrl-C was pressed meanwhile."""
        if self.asked:
            self.asked = False
            raise KeyboardInterrupt

    def during(self, work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that does the work, while Ctrl-C is let through at once."""

        def interruptible(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            self.let_through()
            self.open = True
            try:
                return work(*args, **kwargs)
            finally:
                self.open = False

        return interruptible

    def handle(self, *_: Any) -> None:
        """Do what Ctrl-C asks for, now or later."""
        if self.open or self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Let Ctrl-C wait inside the block, until it is let through or the block ends.

    Where Ctrl-C does something else than to raise KeyboardInterrupt, or in another thread than
    the main one, which alone it reaches, it is left as it is.
    """
    holding = Held()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield holding
        return
    signal.signal(signal.SIGINT, holding.handle)
    try:
        yield holding
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    holding.let_through()
