import signal
import threading
import weakref

import pytest

from multihead.runtime.interrupts import interrupts_kept, raise_interrupt

pytestmark = pytest.mark.usefixtures("handler_of_python")


class Thing:
    """What a weak reference can be of."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_passes_over_is_raised_at_the_next_look() -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    with interrupts_kept():
        raise_interrupt()
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            raise_interrupt()
    raise_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_does_at_once_what_it_does_anyway() -> None:
    with interrupts_kept(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_kept():
        signal.raise_signal(signal.SIGINT)
        raise_interrupt()


def test_another_thread_than_the_main_one_can_train_too() -> None:
    entered = []

    def work() -> None:
        with interrupts_kept():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered
