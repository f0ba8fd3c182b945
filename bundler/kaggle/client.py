"""Questions to Kaggle through its own client, and waiting for what it does.

The client's command ends with exit code 0 after many a refusal and hides what Kaggle said, so its Python API is asked:
each request in a process of its own (request.py), which can be ended when no answer comes. Credentials are the
client's business: nothing here reads them.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from bundler.errors import BundlerError, ClientError
from bundler.kaggle import request

QUICK_SECONDS, TRANSFER_SECONDS = 180, 3600  # the client itself waits for an answer without end
PAUSE_SECONDS = 30.0  # between two questions
MAX_FAILURES = 10  # of questions, one after the other
FAILED = ("error", "cancel_requested", "cancel_acknowledged", "failed", "deleted")


PYTHON = sys.executable  # has the kaggle client


class Status(NamedTuple):
    """How something at Kaggle is doing: whether it is done, and in words."""

    done: bool
    words: str


def ask(name: str, seconds: float = QUICK_SECONDS, **arguments: Any) -> Any:
    """Return Kaggle's answer to one of request.REQUESTS.

    Raises BundlerError with Kaggle's own words where it answers no; ClientError where it could not be asked, or has not
    answered within so many seconds.
    """
    named = f"kaggle {name.replace('_', ' ')}"
    try:
        done = subprocess.run(
            [PYTHON, "-I", request.__file__],
            input=json.dumps({"name": name, "arguments": arguments}),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"{named}: no answer within {seconds:g} seconds") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "it said nothing")
        raise ClientError(f"{named}: {last}") from error
    if warning := answer.get("warning"):
        _warn(warning)
    if "refused" in answer:
        raise BundlerError(f"{named}: {answer['refused']}")
    if "error" in answer:
        raise ClientError(f"{named}: {answer['error']}", answer["code"])
    return answer["answer"]


def knows(name: str, **arguments: Any) -> bool:
    """Tell whether Kaggle has what a request is about; ClientError where it cannot be asked."""
    try:
        ask(name, **arguments)
    except ClientError as error:
        if error.code in (403, 404):  # of what is private and does not exist, Kaggle says that it is forbidden
            return False
        raise
    return True


@cache
def _warn(text: str) -> None:
    print(f"warning: {text}", flush=True)


def wait_for(name: str, question: Callable[[], Status], hours: float) -> None:
    """Ask until it is done, each new answer a line; raises BundlerError where it is not after so many hours.

    A question that fails after another had its answer is asked again: in hours, a connection fails now and then.
    """
    end = time.monotonic() + 3600 * hours
    shown, failures = "", 0
    while True:
        try:
            now, failures = question(), 0
        except ClientError as error:
            failures += 1
            if not shown or failures == MAX_FAILURES:
                raise
            now = Status(False, str(error))
        if now.words != shown:
            print(f"{name}: {now.words}", flush=True)
        if now.done:
            return
        if time.monotonic() >= end:
            raise BundlerError(f"{name}: {now.words} after {hours:g} hours")
        shown = now.words
        time.sleep(PAUSE_SECONDS)
