"""Submissions to a competition at Kaggle."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bundler.errors import BundlerError, ClientError
from bundler.kaggle import client
from bundler.kaggle.client import Status
from bundler.kaggle.kernels import Run


class Listed(NamedTuple):
    """A submission as Kaggle lists it. public, private: the scores, "" until there are some; error: why it failed."""

    ref: str
    description: str
    status: str
    public: str
    private: str
    error: str

    def __str__(self) -> str:
        scores = {"public": self.public, "private": self.private}
        shown = "".join(f", {name} {score}" for name, score in scores.items() if score)
        return f"{self.description} (submission {self.ref}): {self.status}{shown}"


def submit(run: Run, competition: str, message: str, file: str) -> tuple[str, str]:
    """Submit a file that a kernel's version leaves, and return what Kaggle says of it, and its ref.

    Raises ClientError where Kaggle neither says that it was submitted nor gives it a ref.
    """
    arguments: dict[str, Any] = {"competition": competition, "file": file, "message": message}
    said = client.ask("submit", kernel=run.kernel, version=run.version, **arguments)
    if not said["ref"] and "Successfully submitted" not in said["message"]:
        raise ClientError(f"kaggle submit: {said['message'] or 'it said nothing'}; {competition} has no new submission")
    return said["message"], said["ref"]


def submissions(competition: str) -> list[Listed]:
    """Return what was submitted to a competition, the newest first."""
    return [Listed(**one) for one in client.ask("submissions", competition=competition)]


def submission_status(competition: str, listed: Sequence[Listed], ref: str = "") -> Status:
    """Return how a submission is doing, the newest one where none is named, with its scores once it has them.

    Raises BundlerError where Kaggle lists none such, or it failed, with Kaggle's reason.
    """
    one = next((each for each in listed if ref in ("", each.ref)), None)
    if one is None:
        name = f"submission {ref}" if ref else "submission"
        raise BundlerError(f"{competition}: Kaggle lists no {name}")
    if one.status in client.FAILED:
        reason = one.error or f"https://www.kaggle.com/competitions/{competition}/submissions may say why"
        raise BundlerError(f"{competition}: {one}: {' '.join(reason.split())}")
    return Status(one.status == "complete", str(one))
