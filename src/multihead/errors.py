"""The exceptions of this package: a mistake that is shown without a traceback, and a time budget that is over."""


class UserError(Exception):
    """A mistake that whoever started the run can mend.

    Its text is one line: what was wrong, where (file, row or key), and what was expected.
    """


class OutOfTimeError(Exception):
    """The time budget is over: what was begun is given up, what is done is kept."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).partition("\n")[0]
