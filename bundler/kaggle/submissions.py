"""Which weights were submitted, and what the leaderboard says of them: submissions.json beside the predict kernel.

Kaggle tells of a submission its kernel's version, and of no version the weights that it predicts with. So it is kept
here what is known: the SHA-256 of the weights as `push weights` uploaded them; of them those that the predict kernel's
settings, or a study's ensemble beside the weights, named when a version of it was pushed, for Kaggle mounts the dataset
as it is then; and each submission of such a version. What was pushed from elsewhere has no weights here.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bundler.errors import BundlerError
from bundler.kaggle.competitions import Listed
from bundler.metadata import read_metadata
from bundler.repository import Repository
from multihead.config import UserError, whole_file
from multihead.config.files import WEIGHTS_FILE, is_left_by_system
from multihead.config.manifest import sha256_of
from multihead.config.settings_file import read_settings

SUBMISSIONS_FILE = "submissions.json"

Weights = Mapping[str, str]  # the SHA-256 of each by its name in the ensemble, "" where there is none


@dataclass
class Submission:
    """A kernel's version that was submitted. weights: none where they are not known.

    date: of the submission, in UTC. ref: what Kaggle calls it, "" until it lists it. status: Kaggle's word, lower case.
    public, private: what the leaderboard says; None until it does.
    """

    competition: str
    kernel: str
    version: int
    message: str
    date: str
    weights: Weights
    ref: str = ""
    status: str = "pending"
    public: float | None = None
    private: float | None = None


@dataclass
class Kept:
    """What SUBMISSIONS_FILE holds.

    uploaded: the weights of each dataset; members: the names in the study's ensemble beside them. versions: the weights
    of each kernel's versions.
    """

    uploaded: dict[str, Weights] = field(default_factory=dict)
    members: dict[str, Sequence[str]] = field(default_factory=dict)
    versions: dict[str, dict[str, Weights]] = field(default_factory=dict)
    submissions: list[Submission] = field(default_factory=list)


def read_kept(repository: Repository) -> Kept:
    """Return what is kept; nothing where there is no file. Raises BundlerError for a damaged one."""
    path = _path(repository)
    try:
        kept = Kept(**json.loads(path.read_bytes()))
        kept.submissions = [Submission(**values) for values in kept.submissions]  # type: ignore[arg-type]
    except FileNotFoundError:
        return Kept()
    except (OSError, ValueError, TypeError) as error:
        raise BundlerError(f"{path}: not what push, submit and status leave ({error}); mend or delete it") from error
    return kept


def weights_in(dataset: Path) -> dict[str, str]:
    """Return the SHA-256 of each weights file in the dataset's folder."""
    files = sorted(path for path in dataset.glob(f"*{WEIGHTS_FILE}") if not is_left_by_system(path.name))
    return {path.name.removesuffix(WEIGHTS_FILE).removesuffix("."): sha256_of(path) for path in files}


def keep_uploaded(repository: Repository, weights: Weights, members: Sequence[str] = ()) -> None:
    """Keep which weights were uploaded, and which of them the study's ensemble beside them names."""

    def change(kept: Kept) -> None:
        kept.uploaded[repository.dataset_id] = weights
        kept.members[repository.dataset_id] = members

    _change(repository, change)


def keep_version(repository: Repository, version: int) -> None:
    """Keep which weights a version of the predict kernel, which was pushed just now, predicts with."""

    def change(kept: Kept) -> None:
        uploaded: Weights = {}
        if repository.dataset_id in read_metadata(repository.metadata("predict")).get("dataset_sources", []):
            uploaded = kept.uploaded.get(repository.dataset_id, {})
        named = read_settings(repository.settings("predict")).run.ensemble
        names = named or kept.members.get(repository.dataset_id) or [""]
        known = {name: uploaded[name] for name in names if name in uploaded}
        versions = kept.versions.setdefault(repository.kernel_id("predict"), {})
        versions[str(version)] = known if len(known) == len(names) else {}

    _change(repository, change)


def keep_submission(repository: Repository, competition: str, version: int, message: str, ref: str) -> None:
    """Keep a submission that was made just now, and say so where its weights are not known."""

    def change(kept: Kept) -> None:
        kernel = repository.kernel_id("predict")
        weights = kept.versions.get(kernel, {}).get(str(version), {})
        date = datetime.now(UTC).isoformat(timespec="seconds")
        kept.submissions.append(Submission(competition, kernel, version, message, date, weights, ref))
        if not weights:
            print("its weights were not pushed from here: multihead runs cannot tell whose score it is")

    _change(repository, change)


def keep_scores(repository: Repository, competition: str, listed: Sequence[Listed]) -> None:
    """Keep what Kaggle lists of the submissions that were made from here. listed: the newest first."""

    def change(kept: Kept) -> None:
        own = [submission for submission in kept.submissions if submission.competition == competition]
        for submission in reversed(own):
            taken = {other.ref for other in own if other is not submission}
            row = next((row for row in listed if _is_of(row, submission, taken)), None)
            if row:
                submission.ref, submission.status = row.ref, row.status
                submission.public, submission.private = _score(row.public), _score(row.private)

    if _path(repository).exists():
        _change(repository, change)


def last_ref(repository: Repository, competition: str) -> str:
    """Return what Kaggle calls the last submission from here to a competition, "" where that is not known."""
    with suppress(BundlerError):
        own = [one.ref for one in read_kept(repository).submissions if one.competition == competition]
        return own[-1] if own else ""
    return ""


def _path(repository: Repository) -> Path:
    return repository.kernel("predict") / SUBMISSIONS_FILE


def _change(repository: Repository, change: Callable[[Kept], None]) -> None:
    """Change what is kept; a fault is a line, for what it is about has happened at Kaggle already."""
    try:
        kept = read_kept(repository)
        change(kept)
        with whole_file(_path(repository)) as new:
            new.write_text(json.dumps(asdict(kept), indent=1) + "\n", encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"not kept for multihead runs: {error}")


def _is_of(row: Listed, submission: Submission, taken: Collection[str]) -> bool:
    """Tell whether a listed submission is this one: by its ref, or by its message where it was listed late."""
    is_unknown = not submission.ref and row.ref not in taken
    return row.ref == submission.ref or (is_unknown and row.description == submission.message)


def _score(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    return None
