"""What can go wrong at home, told in one line."""

from multihead.config import UserError


class BundlerError(UserError):
    """A mistake that can be mended at home: what was wrong, where (file, line or key), what was expected."""


class ClientError(BundlerError):
    """The kaggle client failed: Kaggle refused, or could not be asked. code: the HTTP status, 0 without one."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class NoRoomError(BundlerError):
    """Kaggle refuses a kernel for now: too many of this account run, or its hours of the week are used up."""


class RehearsalError(Exception):
    """A kernel ran and did what Kaggle would have refused or punished."""
