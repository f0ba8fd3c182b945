"""What is kept of submissions beside the predict kernel."""

import hashlib
from pathlib import Path

import pytest

from bundler.kaggle.competitions import Listed
from bundler.kaggle.submissions import keep_scores, keep_submission, keep_uploaded, keep_version, read_kept, weights_in
from bundler.repository import Repository
from tests.at_kaggle import COMPETITION, PREDICT, WEIGHTS
from tests.kaggle_standin import USER


def test_the_weights_of_a_version_are_those_of_its_ensemble_that_were_uploaded_before(owned_clone: Path) -> None:
    repository = Repository(owned_clone)

    def weights_of(version: int) -> dict[str, str]:
        keep_version(repository, version)
        return dict(read_kept(repository).versions[PREDICT][str(version)])

    assert weights_of(1) == {}
    for name in ("a", "b", "c"):
        (owned_clone / "dataset_meta" / f"{name}.model.weights.h5").write_text(name)
    (owned_clone / "dataset_meta" / ".new-d.model.weights.h5").write_text("half")
    keep_uploaded(repository, weights_in(owned_clone / "dataset_meta"))
    assert weights_of(2) == {}  # without an ensemble it needs weights without a name
    settings = owned_clone / "kernel" / "predict" / "settings.toml"
    settings.write_text(settings.read_text() + 'ensemble = ["a", "c"]\n')
    assert weights_of(3) == {name: hashlib.sha256(name.encode()).hexdigest() for name in "ac"}
    metadata = owned_clone / "kernel" / "predict" / "kernel-metadata.json"
    metadata.write_text(metadata.read_text().replace(WEIGHTS, f"{USER}/other-weights"))
    assert weights_of(4) == {}


def test_a_submission_that_kaggle_listed_late_or_not_is_found_by_its_message(
    owned_clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(owned_clone)
    keep_scores(repository, COMPETITION, [])
    assert not (owned_clone / "kernel" / "predict" / "submissions.json").exists()
    for version, message, ref in ((1, "same", "11"), (1, "same", ""), (2, "other", "")):
        keep_submission(repository, COMPETITION, version, message, ref)
    listed = [
        Listed("13", "of another kernel", "complete", "0.5", "", ""),
        Listed("12", "same", "complete", "0.6", "", ""),
        Listed("11", "same", "complete", "0.5", "", ""),
    ]
    keep_scores(repository, COMPETITION, listed)
    found = read_kept(repository).submissions
    assert [(one.ref, one.status, one.public, one.private) for one in found] == [
        ("11", "complete", 0.5, None),
        ("12", "complete", 0.6, None),
        ("", "pending", None, None),
    ]
    keep_scores(repository, "another-competition", listed)
    assert read_kept(repository).submissions == found
    path = owned_clone / "kernel" / "predict" / "submissions.json"
    path.write_text('{"submissions": [{}]}')
    capsys.readouterr()
    keep_version(repository, 3)
    out = capsys.readouterr().out
    assert out.startswith(f"not kept for multihead runs: {path}: not what push, submit and status leave")
    assert path.read_text() == '{"submissions": [{}]}'
