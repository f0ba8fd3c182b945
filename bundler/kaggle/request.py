"""One request of Kaggle's Python API, in a process of its own; client.py starts it.

Standard input: {"name": one of REQUESTS, "arguments": {...}} as JSON. Standard output: {"answer": ...}; {"refused":
Kaggle's words} where it answered no; or {"error": Kaggle's or the client's words, "code": the HTTP status or 0}. The
process imports the kaggle package and nothing of this project, for any Python may run it that has the client. The
methods of KaggleApi that are called here have the same names and parameters in 2.2.4 and 2.2.5.
"""

import contextlib
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

KINDS_OF_SOURCES = ("dataset", "competition", "kernel", "model")
LOG_IN = "log in with .venv/bin/kaggle auth login"
REASONS = {  # where Kaggle gives none
    401: LOG_IN,
    403: "are the competition's rules accepted on its page, and are the credentials the owner's?",
}


class RefusedError(Exception):
    """Kaggle or its client said no, which is no error to the client."""


def push(api: Any, folder: str, no_run: bool) -> dict[str, Any]:
    """Save a new version of a kernel, which runs it unless no_run says otherwise."""
    if no_run and "no_run" not in inspect.signature(api.kernels_push).parameters:
        raise RefusedError("this client cannot save without running; 2.2.5 can")
    saved = api.kernels_push(folder, **{"no_run": True} if no_run else {})
    if saved.error or not saved.version_number:
        raise RefusedError(saved.error or "Kaggle told no version")
    missing = {f"{kind}_sources": list(getattr(saved, f"invalid_{kind}_sources")) for kind in KINDS_OF_SOURCES}
    return {"version": saved.version_number, "missing": missing}


def metadata(api: Any, kernel: str) -> dict[str, Any]:
    """Return the metadata of a kernel as Kaggle has it, with the image that it runs in."""
    with tempfile.TemporaryDirectory() as folder:
        api.kernels_pull(kernel, folder, metadata=True)
        values: dict[str, Any] = json.loads((Path(folder) / api.KERNEL_METADATA_FILE).read_text(encoding="utf-8"))
    return values


def status(api: Any, kernel: str) -> dict[str, Any]:
    """Return how a kernel's run is doing, and why it failed."""
    now = api.kernels_status(kernel)
    return {"status": now.status.name.lower(), "failure": now.failure_message or ""}


def output(api: Any, kernel: str, folder: str, pattern: str) -> list[str]:
    """Download the files of a kernel's run whose names match; return the paths of what came, a log among it."""
    files, _ = api.kernels_output(kernel, folder, file_pattern=pattern, force=True)
    return [str(file) for file in files]


def log(api: Any, kernel: str) -> str:
    """Return what a kernel's run printed: a JSON list of pieces."""
    return str(api.kernels_logs(kernel))


def quota(api: Any) -> dict[str, Any]:
    """Return the hours of GPU of the account's week, those that are left of them, and when the next week begins."""
    view = api.quota_view()
    gpu = view.gpu_quota
    if gpu is None:
        raise RefusedError("Kaggle tells of no GPU quota")
    total, used, reserved = (
        (time or timedelta()).total_seconds() / 3600
        for time in (gpu.total_time_allowed, gpu.time_used, gpu.time_reserved)  # reserved: by what runs now
    )
    refresh = view.quota_refresh_time  # in UTC, though it does not say so
    return {
        "left": total - used - reserved,
        "total": total,
        "refresh": f"{refresh:%Y-%m-%d %H:%M} UTC" if refresh else "",
    }


def dataset_status(api: Any, dataset: str) -> str:
    """Return how a dataset is doing."""
    return str(api.dataset_status(dataset))


def dataset_version(api: Any, dataset: str) -> int:
    """Return the number of a dataset's current version, 0 where Kaggle does not tell it."""
    answer = json.loads(api.dataset_status(dataset, format="json(current_version_number)"))
    return int(answer["current_version_number"] or 0)


def new_dataset(api: Any, folder: str, ignored: list[str], message: str | None) -> str:
    """Make a dataset of a folder, or, with a message, its new version; return what the client printed of each file."""
    with _printed() as printed:
        if message is None:
            made = api.dataset_create_new(folder, ignore_patterns=ignored)
        else:
            made = api.dataset_create_version(folder, message, ignore_patterns=ignored)
        said = printed.getvalue()
    if made is None or (made.status.lower() != "ok" and not made.invalid_tags):  # made, though without those tags
        raise RefusedError((made and made.error) or said)
    return said


def submit(api: Any, competition: str, kernel: str, version: int, file: str, message: str) -> dict[str, Any]:
    """Submit a file that a kernel's version left."""
    said = api.competition_submit_code(file, message, competition, kernel, version, quiet=True)
    return {"message": said.message or "", "ref": str(said.ref or "")}


def submissions(api: Any, competition: str) -> list[dict[str, str]]:
    """Return the submissions to a competition, the newest first."""
    listed = api.competition_submissions(competition) or []
    return [
        {
            "ref": str(one.ref),
            "description": one.description or "",
            "status": one.status.name.lower(),
            "public": one.public_score or "",
            "private": one.private_score or "",
            "error": one.error_description or "",
        }
        for one in listed
    ]


REQUESTS = {
    function.__name__: function
    for function in (
        push,
        metadata,
        status,
        output,
        log,
        quota,
        dataset_status,
        dataset_version,
        new_dataset,
        submit,
        submissions,
    )
}


def answer_to(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes to standard output for a request."""
    with _printed():  # the client prints amid its work, and help where nobody is logged in
        try:
            api, arguments = _logged_in(), request["arguments"]
            return {"answer": REQUESTS[request["name"]](api, **arguments)} | _warning(api, arguments)
        except RefusedError as error:
            return {"refused": " ".join(str(error).split())}
        except (Exception, SystemExit) as error:
            response = _response_of(error)
            return {"error": _reason(error, response), "code": 0 if response is None else response.status_code}


def _warning(api: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return what is to be said of an answer about a version of a kernel by a client that drops the version."""
    if arguments.get("kernel", "").count("/") < 2 or hasattr(api, "_kernel_version_label"):
        return {}
    return {"warning": "this client tells of the newest version of a kernel; 2.2.5 tells of the one that is named"}


def _logged_in() -> Any:
    """Return the API with the user's credentials; importing it hides why there are none."""
    try:
        from kaggle import api
    except ImportError as error:
        raise RefusedError(f"{sys.executable} has no kaggle client ({error}); .venv/bin/python has it") from error
    if not api.config_values.get(api.CONFIG_NAME_AUTH_METHOD):
        try:
            api.authenticate()
        except SystemExit as error:
            raise RefusedError(f"nobody is logged in; {LOG_IN}") from error
    return api


def _reason(error: BaseException, response: Any) -> str:
    """Return in one line why a request failed, in Kaggle's words where it sent any; without what addresses sign."""
    words = "" if response is None else _message(response)
    if response is not None and (not words or response.status_code == 401):
        is_of_api = response.request.method == "POST"  # a GET fetches a file
        hint = REASONS.get(response.status_code, "") if is_of_api else ""
        words = "; ".join(filter(None, [f"{response.status_code} {words or response.reason}", hint]))
    unanswered = getattr(error, "request", None) if response is None else None
    if unanswered is not None:
        words = f"no answer of {urlsplit(unanswered.url).hostname} ({type(error).__name__})"
    return re.sub(r"(/\S*)\?\S+", r"\1", " ".join((words or str(error) or type(error).__name__).split()))


def _response_of(error: BaseException | None) -> Any:
    """Return the answer of Kaggle that an error is about, or that one before it; None where there is none."""
    while error is not None:
        if getattr(error, "response", None) is not None:
            return error.response  # type: ignore[attr-defined]
        error = error.__cause__ or error.__context__
    return None


def _message(response: Any) -> str:
    """Return Kaggle's words in the body of an error: {"message": ...}, {"error": ...} or the one in the other."""
    try:
        body = response.json()
        words = body.get("error") or body
        return str(words.get("message") or "") if isinstance(words, dict) else str(words)
    except (ValueError, AttributeError):
        return ""


@contextlib.contextmanager
def _printed() -> Iterator[io.StringIO]:
    """Yield what is printed meanwhile."""
    with io.StringIO() as printed, contextlib.redirect_stdout(printed):
        yield printed


if __name__ == "__main__":
    json.dump(answer_to(json.load(sys.stdin)), sys.stdout)
