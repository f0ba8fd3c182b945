"""The real kaggle client, run against a stand-in of Kaggle on this machine."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

from bundler.cli import main
from bundler.errors import BundlerError, ClientError, NoRoomError
from bundler.kaggle import client
from bundler.kaggle.submissions import (
    keep_scores,
    keep_submission,
    keep_uploaded,
    keep_version,
    read_kept,
    weights_in,
)
from bundler.metadata import METADATA_FILES, PLACEHOLDER, read_metadata, set_owner
from bundler.repository import Repository
from multihead.config.manifest import FORMAT
from multihead.config.task import task_dict
from tests.built_in import ANIMALS
from tests.conftest import HOUSE, clone
from tests.kaggle_standin import KEY, USER, Answer, Kaggle, refusal

COMPETITION = "bengaliai-cv19"
TRAIN, PREDICT, WEIGHTS = (f"{USER}/multihead-{name}" for name in ("train", "predict", "weights"))
WAY = [
    "push train",
    "status train --wait",
    "pull train",
    "stage trained",
    "push weights",
    "push predict",
    "status predict --wait",
    "submit",
    "status submission --wait",
]
MANIFEST = {
    "format": FORMAT,
    "images_per_second": 1234.5,
    "device": "Tesla T4",
    "model": {"backbone": "narrow"},
    "epoch": 3,
    "score": {"name": "R", "total": 0.5},
    "sha256": hashlib.sha256(b"weights").hexdigest(),
}
TRAINED = {"model.weights.h5": b"weights", "manifest.json": json.dumps(MANIFEST).encode(), "history.csv": b"epoch\n"}
OUTPUT = TRAINED | {"report/index.html": b"<!doctype html>"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone with an owner, which the commands work in; its kernels are not built yet."""
    folder = clone(tmp_path / "house")
    set_owner(folder, USER)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """The folder of a kernel with a source of each kind."""
    sources = {
        "dataset_sources": [f"{USER}/a-dataset"],
        "competition_sources": ["a-competition"],
        "kernel_sources": [f"{USER}/a-kernel"],
        "model_sources": [f"{USER}/a-model/keras/small/1"],
    }
    kinds = {"language": "python", "kernel_type": "script", "code_file": "train_kernel.py"}
    metadata = {"id": TRAIN, "title": "multihead train", **kinds, **sources}
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "train_kernel.py").write_text("print()\n")
    return tmp_path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset's folder with what belongs into it, and what does not."""
    folder = tmp_path / "dataset_meta"
    (folder / "a-folder").mkdir(parents=True)
    metadata = {"id": WEIGHTS, "title": "multihead weights", "licenses": [{"name": "CC0-1.0"}]}
    files = {**TRAINED, ".new-manifest.json": b"", ".DS_Store": b"", "Thumbs.db": b"", "a-folder/file": b""}
    for name, content in {**files, "dataset-metadata.json": json.dumps(metadata).encode()}.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_client_does_not_read_metadata_with_a_mark(kaggle: Kaggle, kernel: Path, dataset: Path) -> None:
    for push, path in (
        (client.push_kernel, kernel / "kernel-metadata.json"),
        (lambda folder: client.push_dataset(folder, "new"), dataset / "dataset-metadata.json"),
    ):
        path.write_text(path.read_text(), encoding="utf-8-sig")
        with pytest.raises(ClientError, match="Unexpected UTF-8 BOM"):
            push(path.parent)


def test_the_trials_of_a_train_kernel_are_pulled_each_into_its_folder_and_staged_under_its_name(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.ahead[TRAIN] = ["COMPLETE"]
    trials = ("study_fold-0", "study_fold-1")
    kaggle.output = {f"{trial}/{name}": data for trial in trials for name, data in TRAINED.items()}
    assert main(["pull", "train"], Repository(house)) == 0
    first, second, next_first, next_second = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in (first, second)] == [f"trained/{trial}" for trial in trials]
    for line, trial in zip((next_first, next_second), trials, strict=True):
        assert line == f"next: build_kernel.py stage trained/{trial} --name {trial}"
        assert main(line.partition("build_kernel.py ")[2].split(), Repository(house)) == 0
        assert (house / "dataset_meta" / f"{trial}.model.weights.h5").read_bytes() == b"weights"


def test_the_whole_way_to_a_score(
    house: Path, kaggle: Kaggle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.output = OUTPUT
    command, walked, printed = "push train", [], ""
    while command:
        assert main(command.split(), Repository(house)) == 0
        walked.append(command)
        printed = capsys.readouterr().out
        assert KEY not in printed
        command = printed.partition("next: build_kernel.py ")[2].strip().rpartition("then ")[2]
    assert walked == WAY
    assert printed.splitlines()[-1] == f"{COMPETITION}: {PREDICT} version 1: complete, public 0.9370, private 0.9041"
    (submission,) = read_kept(Repository(house)).submissions
    assert (submission.weights, submission.public) == ({"": MANIFEST["sha256"]}, 0.937)

    for name, saved, sources in zip(
        ("train", "predict"), kaggle.sent("SaveKernel"), ({}, {"datasetDataSources": [WEIGHTS]}), strict=True
    ):
        assert saved.pop("text").encode() == (house / "kernel" / name / f"{name}_kernel.py").read_bytes()
        assert saved == {
            "slug": f"{USER}/multihead-{name}",
            "newTitle": f"multihead {name}",
            "language": "python",
            "kernelType": "script",
            "isPrivate": True,
            "enableGpu": True,
            "enableTpu": False,
            "enableInternet": False,
            "machineShape": "NvidiaTeslaT4",
            "dockerImagePinningType": "original",
            "competitionDataSources": [COMPETITION],
            **sources,
        }
    assert {name: (house / "trained" / name).read_bytes() for name in OUTPUT} == OUTPUT
    assert kaggle.datasets == {WEIGHTS: [{name: TRAINED[name] for name in ("model.weights.h5", "manifest.json")}]}
    created = kaggle.sent("CreateDataset")[0]
    assert (created["isPrivate"], created["licenseName"]) == (True, "CC0-1.0")
    assert kaggle.sent("CreateCodeSubmission") == [
        {
            "competitionName": COMPETITION,
            "kernelOwner": USER,
            "kernelSlug": "multihead-predict",
            "kernelVersion": 1,
            "fileName": "submission.csv",
            "submissionDescription": f"{PREDICT} version 1",
        }
    ]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_what_was_submitted_is_kept_with_its_weights_and_its_scores(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    repository, sha256 = Repository(house), MANIFEST["sha256"]
    kaggle.kernels[PREDICT] = [{}]
    (house / "dataset_meta" / "model.weights.h5").write_bytes(TRAINED["model.weights.h5"])
    keep_uploaded(repository, weights_in(house / "dataset_meta"))
    keep_version(repository, 1)
    assert main(["submit", "--version", "1", "-m", "first"], repository) == 0
    (submission,) = read_kept(repository).submissions
    assert submission.weights == {"": sha256}
    assert (submission.kernel, submission.version, submission.message) == (PREDICT, 1, "first")
    assert (submission.ref, submission.status, submission.public) == ("1", "pending", None)
    assert main(["status", "submission"], repository) == 0
    assert read_kept(repository).submissions[0].status == "pending"
    assert main(["status", "submission", "--wait"], repository) == 0
    (submission,) = read_kept(repository).submissions
    assert (submission.status, submission.public, submission.private) == ("complete", 0.937, 0.9041)
    assert submission.weights == {"": sha256}
    kaggle.kernels[PREDICT].append({})
    capsys.readouterr()
    assert main(["submit", "--version", "2"], repository) == 0
    assert "its weights were not pushed from here" in capsys.readouterr().out
    assert [one.weights for one in read_kept(repository).submissions] == [{"": sha256}, {}]


def test_the_weights_of_a_version_are_those_of_its_ensemble_that_were_uploaded_before(house: Path) -> None:
    repository = Repository(house)

    def weights_of(version: int) -> dict[str, str]:
        keep_version(repository, version)
        return dict(read_kept(repository).versions[PREDICT][str(version)])

    assert weights_of(1) == {}
    for name in ("a", "b", "c"):
        (house / "dataset_meta" / f"{name}.model.weights.h5").write_text(name)
    (house / "dataset_meta" / ".new-d.model.weights.h5").write_text("half")
    keep_uploaded(repository, weights_in(house / "dataset_meta"))
    assert weights_of(2) == {}  # without an ensemble it needs weights without a name
    settings = house / "kernel" / "predict" / "settings.toml"
    settings.write_text(settings.read_text() + 'ensemble = ["a", "c"]\n')
    assert weights_of(3) == {name: hashlib.sha256(name.encode()).hexdigest() for name in "ac"}
    metadata = house / "kernel" / "predict" / "kernel-metadata.json"
    metadata.write_text(metadata.read_text().replace(WEIGHTS, f"{USER}/other-weights"))
    assert weights_of(4) == {}


def test_a_submission_that_kaggle_listed_late_or_not_is_found_by_its_message(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(house)
    keep_scores(repository, COMPETITION, [])
    assert not (house / "kernel" / "predict" / "submissions.json").exists()
    for version, message, ref in ((1, "same", "11"), (1, "same", ""), (2, "other", "")):
        keep_submission(repository, COMPETITION, version, message, ref)
    row = {"status": "SubmissionStatus.COMPLETE", "publicScore": "0.5", "privateScore": ""}
    listed = [
        {"ref": 13, "description": "of another kernel", **row},
        {"ref": 12, "description": "same", **row, "publicScore": "0.6"},
        {"ref": 11, "description": "same", **row},
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
    path = house / "kernel" / "predict" / "submissions.json"
    path.write_text('{"submissions": [{}]}')
    capsys.readouterr()
    keep_version(repository, 3)
    out = capsys.readouterr().out
    assert out.startswith(f"not kept for multihead runs: {path}: not what push, submit and status leave")
    assert path.read_text() == '{"submissions": [{}]}'


def test_the_readme_goes_the_same_way() -> None:
    section = (HOUSE / "README.md").read_text().partition("## From the competition to a score")[2].partition("\n## ")[0]
    commands = re.findall(r"^\.venv/bin/python build_kernel\.py (\w.*?)(?: -m .*)?$", section, re.MULTILINE)
    assert [command for command in commands if not command.startswith("rehearse data/bengali")] == WAY


@pytest.mark.parametrize(
    ("says", "room"),
    [
        ("Maximum batch GPU session count of 2 reached.", "Maximum batch GPU session count of 2 reached"),
        ("Maximum weekly GPU quota of 30.00 hours reached.", "Maximum weekly GPU quota of 30.00 hours reached"),
        ("Maximum GPU sessions reached.", "Maximum GPU sessions reached"),
    ],
)
def test_that_there_is_no_room_is_told_apart_from_a_refusal(kernel: Path, kaggle: Kaggle, says: str, room: str) -> None:
    for answer in ((200, {"error": says}), refusal(429, says)):
        kaggle.answers["SaveKernel"] = answer
        with pytest.raises(NoRoomError, match=f"^{re.escape(room)}$"):
            client.push_kernel(kernel)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"error": "Slug is taken."}), "Kernel push error: Slug is taken."),
        ((400, {"error": {"code": 400, "message": "too large"}}), "400 Client Error: .*; a script of a megabyte"),
        (refusal(401, "Unauthenticated"), "Authentication required to call the Kaggle API. .log in with .*auth login"),
        (refusal(403, "You must accept this competition's rules"), "You must accept this competition's rules"),
        ((403, {}), "403 Client Error: .*are the competition's rules accepted on its page"),
        ((200, {"url": "http://localhost"}), "Kernel version successfully pushed"),
        ((200, b"<html>"), "Expecting value"),
    ],
)
def test_a_push_that_kaggle_refuses_fails_with_its_words(
    kernel: Path, kaggle: Kaggle, answer: Answer, message: str
) -> None:
    kaggle.answers["SaveKernel"] = answer
    with pytest.raises(BundlerError, match=f"^kaggle kernels push: .*{message}") as caught:
        client.push_kernel(kernel)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert not (kernel / client.PUSHED_FILE).exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"{USER}/a-dataset", r"The following are not valid dataset sources .*\['some-body/a-dataset'\]"),
        ("a-competition", r"The following are not valid competition sources .*\['a-competition'\]"),
        (f"{USER}/a-kernel", r"The following are not valid kernel sources .*\['some-body/a-kernel'\]"),
        (f"{USER}/a-model/keras/small/1", "Kaggle has it without model_sources some-body/a-model/keras/small/1"),
    ],
)
def test_a_push_that_loses_a_source_fails(kernel: Path, kaggle: Kaggle, source: str, message: str) -> None:
    kaggle.unknown = {source}
    (kernel / client.PUSHED_FILE).write_text(json.dumps({"id": TRAIN, "version": 1}))
    with pytest.raises(BundlerError, match=f"^{TRAIN}: version 1 was pushed, but.* {message}"):
        client.push_kernel(kernel)
    assert not (kernel / client.PUSHED_FILE).exists()


def test_a_push_is_remembered_though_kaggle_could_not_be_asked_afterwards(
    kernel: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.answers["GetKernel"] = refusal(502, "Bad gateway")
    with pytest.raises(ClientError, match=r"^kaggle kernels pull: .*Bad gateway"):
        client.push_kernel(kernel)
    assert capsys.readouterr().out == f"{TRAIN}: version 1: Kaggle runs it\n"
    assert client.pushed_version(kernel) == 1


@pytest.mark.parametrize(
    ("key", "source", "listed", "is_there"),
    [
        ("dataset_sources", "me/weights/2", "me/weights", True),
        ("dataset_sources", "me/weights", "me/weights/2", True),
        ("dataset_sources", "me/weights", "me/weights-2", False),
        ("kernel_sources", "me/train", "code/me/train", True),
        ("model_sources", "me/model/keras/small/1", "me/model/keras/small/2", False),
        ("competition_sources", "bengaliai-cv19", "bengaliai-cv19", True),
    ],
)
def test_a_source_is_found_however_kaggle_lists_it(key: str, source: str, listed: str, is_there: bool) -> None:
    assert client._has({key: [listed]}, key, source) is is_there


def test_waiting_outlives_a_question_that_fails_but_not_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0)
    answers: list[client.Status | ClientError] = []

    def ask() -> client.Status:
        answer = answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return answer

    running, lost = client.Status(False, "running"), ClientError("no connection")
    answers += [running, lost, lost, running, client.Status(True, "complete")]
    client.wait_for(TRAIN, ask, 1)
    lines = ["running", "no connection", "running", "complete"]
    assert capsys.readouterr().out.splitlines() == [f"{TRAIN}: {words}" for words in lines]
    failing: list[list[client.Status | ClientError]] = [[lost], [running, *[lost] * client.MAX_FAILURES]]
    for answers[:] in failing:
        with pytest.raises(ClientError, match="no connection"):
            client.wait_for(TRAIN, ask, 1)


def test_a_push_is_remembered_for_its_own_kernel(kernel: Path, kaggle: Kaggle) -> None:
    kaggle.kernels[TRAIN] = [{}, {}]
    assert client.push_kernel(kernel) == f"{TRAIN}: version 3 pushed"
    assert client.pushed_version(kernel) == 3
    metadata = read_metadata(kernel / "kernel-metadata.json") | {"id": "another/multihead-train"}
    (kernel / "kernel-metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(
        BundlerError,
        match=r"^another/multihead-train: not pushed from here; build_kernel\.py push",
    ):
        client.pushed_version(kernel)


def test_a_new_version_of_the_weights_is_awaited_though_the_one_before_is_ready(
    dataset: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.datasets[WEIGHTS], kaggle.ahead[WEIGHTS] = [{}], ["READY"]
    kaggle.dataset_states = ["READY", "READY", "READY"]
    client.push_dataset(dataset, "-- a better one")
    assert kaggle.datasets[WEIGHTS] == [{}, TRAINED]
    assert kaggle.sent("CreateDatasetVersion")[0]["body"]["versionNotes"] == "-- a better one"
    assert capsys.readouterr().out.splitlines()[1:] == [f"{WEIGHTS}: still version 1", f"{WEIGHTS}: ready"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"CreateDataset": (200, {"status": "error", "error": "No such licence"})}, "creation error: No such licence"),
        ({"StartBlobUpload": refusal(403, "Quota exceeded")}, "kaggle datasets create: Quota exceeded"),
        ({"upload": (400, {})}, r"Upload unsuccessful: history\.csv, manifest\.json, model\.weights\.h5; Kaggle may"),
        ({"StartBlobUpload": refusal(401, "Unauthenticated")}, "kaggle datasets create: Authentication required"),
    ],
)
def test_a_dataset_that_kaggle_refuses_fails_with_its_words(
    dataset: Path, kaggle: Kaggle, answers: dict[str, Answer], message: str
) -> None:
    kaggle.answers = answers
    with pytest.raises(BundlerError, match=message):
        client.push_dataset(dataset, "")


def test_a_version_that_kaggle_refuses_fails_with_its_words(dataset: Path, kaggle: Kaggle) -> None:
    kaggle.datasets[WEIGHTS], kaggle.ahead[WEIGHTS] = [{}], ["READY"]
    kaggle.answers["CreateDatasetVersion"] = (200, {"status": "error", "error": "Too many files"})
    with pytest.raises(
        BundlerError, match=r"^kaggle datasets version: Dataset version creation error: Too many files$"
    ):
        client.push_dataset(dataset, "")


@pytest.mark.parametrize(
    ("state", "message"), [("FAILED", "failed; Kaggle could not process"), ("BLOBS_RECEIVED", "received after 0 hours")]
)
def test_a_dataset_that_does_not_become_ready_fails(dataset: Path, kaggle: Kaggle, state: str, message: str) -> None:
    kaggle.dataset_states = [state]
    with pytest.raises(BundlerError, match=f"^{WEIGHTS}: .*{message}"):
        client.push_dataset(dataset, "", hours=0)


def test_a_dataset_folder_without_files_is_not_pushed(dataset: Path) -> None:
    for name in TRAINED:
        (dataset / name).unlink()
    with pytest.raises(BundlerError, match="dataset_meta: holds nothing to push"):
        client.push_dataset(dataset, "")


def test_a_run_that_failed_is_told_with_kaggle_s_reason(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.ahead[TRAIN], kaggle.failure_message = ["ERROR"], "Your notebook tried\nto allocate more memory."
    assert main(["status", "train"], Repository(house)) == 2
    message = (
        f"{TRAIN}: error: Your notebook tried to allocate more memory.; its log: .venv/bin/kaggle kernels logs {TRAIN}"
    )
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_run_that_goes_on_is_to_be_asked_again(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.ahead[TRAIN] = ["RUNNING"]
    assert main(["status", "train"], Repository(house)) == 0
    assert capsys.readouterr().out == f"{TRAIN}: running\nnext: build_kernel.py status train --wait\n"
    assert main(["pull", "train"], Repository(house)) == 2
    assert f"error: {TRAIN}: running; its output is there once it is complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "answers", "message"),
    [
        ({"history.csv": b""}, {}, r"its output holds no model\.weights\.h5; it holds history\.csv"),
        (TRAINED, {"download": (404, {})}, r"manifest\.json: not a manifest of weights"),
        (TRAINED | {"model.weights.h5": b"others"}, {}, r"model\.weights\.h5: not the file that manifest\.json"),
    ],
)
def test_an_output_that_is_not_whole_is_not_taken(
    house: Path,
    kaggle: Kaggle,
    capsys: pytest.CaptureFixture[str],
    output: dict[str, bytes],
    answers: dict[str, Answer],
    message: str,
) -> None:
    kaggle.ahead[TRAIN], kaggle.output, kaggle.answers = ["COMPLETE"], output, answers
    assert main(["pull", "train"], Repository(house)) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("version", "answers", "message"),
    [
        (3, {}, "kaggle competitions submit: Could not find provided notebook"),
        (
            1,
            {"CreateCodeSubmission": refusal(403, "Your team has no submissions left")},
            "Your team has no submissions",
        ),
        (1, {"CreateCodeSubmission": (200, {"message": "Later"})}, f"Later; {COMPETITION} lists no new submission"),
    ],
)
def test_a_submission_that_kaggle_refuses_fails_with_its_words(
    house: Path,
    kaggle: Kaggle,
    capsys: pytest.CaptureFixture[str],
    version: int,
    answers: dict[str, Answer],
    message: str,
) -> None:
    kaggle.kernels[PREDICT], kaggle.answers = [{}], answers
    assert main(["submit", "--version", str(version)], Repository(house)) == 2
    assert message in capsys.readouterr().err


def test_a_submission_that_failed_is_told_with_where_kaggle_says_why(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.submissions, kaggle.ahead["submission"] = [{"ref": 1, "description": "first"}], ["ERROR"]
    assert main(["status", "submission"], Repository(house)) == 2
    error = capsys.readouterr().err
    assert (
        error == f"error: first: error; why stands on https://www.kaggle.com/competitions/{COMPETITION}/submissions\n"
    )


def test_of_a_task_whose_files_come_from_a_dataset_the_predictions_are_pulled(
    house: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    task = json.dumps({"task": task_dict(ANIMALS)})
    (house / "dataset_meta" / "manifest.json").write_text(task)
    kaggle.ahead[PREDICT], kaggle.output = ["COMPLETE"], {"predictions.csv": b"id,label\n1,cat\n"}
    assert main(["status", "predict"], Repository(house)) == 0
    assert capsys.readouterr().out == f"{PREDICT}: complete\nnext: build_kernel.py pull predict\n"
    assert main(["pull", "predict"], Repository(house)) == 0
    assert capsys.readouterr().out == "predicted: predictions.csv\n"
    assert (house / "predicted" / "predictions.csv").read_bytes() == kaggle.output["predictions.csv"]
    for command in ("submit --version 1", "status submission"):
        assert main(command.split(), Repository(house)) == 2
        message = "error: animals10: of no competition to submit to; build_kernel.py pull predict\n"
        assert capsys.readouterr().err == message
    kaggle.output = {"other.csv": b""}
    assert main(["pull", "predict"], Repository(house)) == 2
    assert "its output holds no submission.csv or predictions.csv; it holds other.csv" in capsys.readouterr().err


def test_what_was_never_pushed_is_not_submitted(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit"], Repository(house)) == 2
    assert "some-body/multihead-predict: not pushed from here; build_kernel.py push predict, or submit --version N" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["push train", "push weights", "status predict", "pull train", "submit"])
def test_nothing_is_asked_of_kaggle_without_an_owner(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(client, "run_client", lambda *_: pytest.fail("Kaggle was asked"))
    set_owner(house, PLACEHOLDER)
    assert main(command.split(), Repository(house)) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: {METADATA_FILES[0]}: id OWNER/multihead-train has no owner yet; build_kernel.py --owner"
    )
    assert error.count("\n") == 1


def test_a_mistake_in_the_settings_is_not_pushed(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "run_client", lambda *_: pytest.fail("Kaggle was asked"))
    (house / "kernel" / "train" / "settings.toml").write_text("[run]\nepoch = 30\n")
    assert main(["push", "predict"], Repository(house)) == 2
    assert "epoch is not known" in capsys.readouterr().err


def test_without_a_client_it_says_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundlerError, match=r"kaggle: not found beside .*/python nor on PATH; \.venv/bin/python has it"):
        client.run_client(["kernels", "status"])


def test_a_client_that_gets_no_answer_is_ended(kaggle: Kaggle) -> None:
    with pytest.raises(BundlerError, match=r"^kaggle kernels status: no answer within 0\.01 seconds$"):
        client.run_client(["kernels", "status", TRAIN], seconds=0.01)
