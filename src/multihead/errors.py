"""The one exception that is shown without a traceback."""


class UserError(Exception):
    """A mistake that whoever started the run can mend.

    Its text is one line: what was wrong, where (file, row or key), and what was expected.
    """
