"""How the programs here print, and how they end."""

import signal
from collections.abc import Iterable

from bundler.errors import BundlerError
from multihead.runtime.errors import UserError


def interrupt_on_signals() -> None:
    """End this program as Ctrl-C does where it is terminated, or its terminal closed: no command goes on without it."""
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.default_int_handler)


def printed(lines: Iterable[str]) -> None:
    """Print a program's lines as they come; what a user has to mend, or an interrupt, ends it with one line."""
    try:
        for line in lines:
            print(line, flush=True)
    except (UserError, BundlerError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt as error:
        raise SystemExit("interrupted; the same command goes on") from error
