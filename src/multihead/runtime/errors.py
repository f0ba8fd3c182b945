"""The exceptions of this package, a mistake and a time budget that is over, and names as a message shows them."""

from collections.abc import Iterable

MOST_NAMED, LONGEST_NAME = 8, 60  # of a message: names, and characters of each


class UserError(Exception):
    """A mistake that whoever started the run can mend.

    Its text is one line: what was wrong, where (file, row or key), and what was expected.
    """


class OutOfTimeError(Exception):
    """The time budget is over: what was begun is given up, what is done is kept."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).partition("\n")[0]


def listed(names: Iterable[object], most: int = MOST_NAMED) -> str:
    """Return at most so many names in a row, each shortened, and how many there are where that is not all."""
    every = list(names)
    return ", ".join(map(shortened, every[:most])) + (f", ... ({len(every):,} in all)" if len(every) > most else "")


def shortened(value: object) -> str:
    """Return a value as text of one line, its middle left out where it is long: a cell may hold a whole image."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 4 :]}"
