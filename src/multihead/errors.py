"""The one exception that is shown without a traceback."""


class UserError(Exception):
    """A mistake that whoever started the run can mend.

    Its text is one line: what was wrong, where (file, row or key), and what was expected.
    """


class OutOfTimeError(Exception):
    """The time budget is over: what was begun is given up, what is done is kept."""
