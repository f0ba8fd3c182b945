"""The real kaggle client, run against a stand-in of Kaggle on this machine."""

import json
import re
import sys
import venv
from pathlib import Path

import pytest

from bundler.errors import BundlerError, ClientError, NoRoomError
from bundler.kaggle import client, datasets, kernels
from bundler.metadata import read_metadata
from tests.at_kaggle import TRAIN, TRAINED, WEIGHTS
from tests.kaggle_standin import KEY, USER, Answer, Kaggle, refusal

TOO_LARGE = "The kernel source must be less than 1 megabytes in size."


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


def test_the_client_does_not_read_metadata_with_a_mark(either: Kaggle, kernel: Path, dataset: Path) -> None:
    for path in (kernel / "kernel-metadata.json", dataset / "dataset-metadata.json"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    with pytest.raises(ClientError, match="Unexpected UTF-8 BOM"):
        kernels.push_kernel(kernel)
    with pytest.raises(ClientError, match="Unexpected UTF-8 BOM"):
        datasets.push_dataset(dataset, "new")


@pytest.mark.parametrize(
    ("says", "room"),
    [
        ("Maximum batch GPU session count of 2 reached.", "Maximum batch GPU session count of 2 reached"),
        ("Maximum weekly GPU quota of 30.00 hours reached.", "Maximum weekly GPU quota of 30.00 hours reached"),
        ("Maximum GPU sessions reached.", "Maximum GPU sessions reached"),
    ],
)
def test_that_there_is_no_room_is_told_apart_from_a_refusal(kernel: Path, either: Kaggle, says: str, room: str) -> None:
    for answer in ((200, {"error": says}), refusal(429, says)):
        either.answers["SaveKernel"] = answer
        with pytest.raises(NoRoomError, match=f"^{re.escape(room)}$"):
            kernels.push_kernel(kernel)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"error": "Slug is taken."}), r"Slug is taken\."),
        ((400, {"error": {"code": 400, "message": TOO_LARGE}}), re.escape(TOO_LARGE)),
        ((400, {"error": "no object"}), "no object"),
        (refusal(401, "Unauthenticated"), r"401 Unauthenticated; log in with \.venv/bin/kaggle auth login"),
        (refusal(403, "You must accept this competition's rules"), "You must accept this competition's rules"),
        ((403, {}), r"403 Forbidden; are the competition's rules accepted on its page, .*"),
        (refusal(502, "Bad\ngateway"), "Bad gateway"),
        ((502, b"<html>"), "502 Bad Gateway"),
        ((200, {"url": "http://localhost"}), "Kaggle told no version"),
        ((200, b"<html>"), "Expecting value.*"),
    ],
)
def test_a_push_that_kaggle_refuses_fails_with_its_words(
    kernel: Path, either: Kaggle, answer: Answer, message: str
) -> None:
    either.answers["SaveKernel"] = answer
    with pytest.raises(BundlerError, match=f"^kaggle push: {message}$") as caught:
        kernels.push_kernel(kernel)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    pushed = kernels.last_pushed(kernel)
    assert pushed is None or pushed.version == 0


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("dataset", f"{USER}/a-dataset"),
        ("competition", "a-competition"),
        ("kernel", f"{USER}/a-kernel"),
        ("model", f"{USER}/a-model/keras/small/1"),
    ],
)
def test_a_push_that_loses_a_source_fails(kernel: Path, either: Kaggle, kind: str, source: str) -> None:
    either.unknown = {source}
    (kernel / kernels.PUSHED_FILE).write_text(json.dumps({"id": TRAIN, "version": 1}))
    with pytest.raises(
        BundlerError, match=f"^{TRAIN} version 1 was pushed and runs, but .* without {kind}_sources {source}: not known"
    ):
        kernels.push_kernel(kernel)
    assert not (kernel / kernels.PUSHED_FILE).exists()


def test_a_kernel_that_is_saved_without_a_run_is_not_what_is_asked_for_afterwards(
    kernel: Path, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels.push_kernel(kernel) == kernels.Run(TRAIN, 1)
    assert kernels.push_kernel(kernel, runs=False) == kernels.Run(TRAIN, 2)
    assert [sent.get("kernelExecutionType") for sent in kaggle.sent("SaveKernel")] == [None, "QUICK_SAVE"]
    assert kernels.last_pushed(kernel) == kernels.Pushed(TRAIN, 1)


def test_a_kernel_that_is_saved_without_one_of_its_sources_leaves_the_run_that_counts(
    kernel: Path, kaggle: Kaggle
) -> None:
    kernels.push_kernel(kernel)
    kaggle.unknown = {"a-competition"}
    with pytest.raises(BundlerError, match=f"^{TRAIN} version 2 was saved, but .* without competition_sources a-comp"):
        kernels.push_kernel(kernel, runs=False)
    assert kernels.last_pushed(kernel) == kernels.Pushed(TRAIN, 1)


@pytest.mark.parametrize("seconds", [180.0, 0.01])
def test_a_push_without_an_answer_is_of_no_known_version(
    kernel: Path, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    kernels.push_kernel(kernel)
    kaggle.answers["SaveKernel"] = refusal(502, "Bad gateway")
    with monkeypatch.context() as patch:
        patch.setattr(client.ask, "__defaults__", (seconds,))
        with pytest.raises(ClientError, match=r"Bad gateway|no answer within 0\.01 seconds"):
            kernels.push_kernel(kernel)
    assert kernels.last_pushed(kernel) == kernels.Pushed(TRAIN, 0)


@pytest.mark.parametrize(
    "answer", [(200, {"error": "Slug is taken."}), refusal(400, "too large"), refusal(429, "later")]
)
def test_after_a_push_that_was_refused_the_one_before_counts(kernel: Path, kaggle: Kaggle, answer: Answer) -> None:
    kernels.push_kernel(kernel)
    kaggle.answers["SaveKernel"] = answer
    with pytest.raises(BundlerError):
        kernels.push_kernel(kernel)
    assert kernels.last_pushed(kernel) == kernels.Pushed(TRAIN, 1)


@pytest.mark.parametrize("key", ["dataset_sources", "title"])
def test_what_the_client_cannot_read_is_not_told_as_another_fault(kernel: Path, kaggle: Kaggle, key: str) -> None:
    path = kernel / "kernel-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: 7}))
    with pytest.raises(ClientError, match="int"):
        kernels.push_kernel(kernel)


def test_the_client_before_cannot_save_without_a_run(either: Kaggle, kernel: Path) -> None:
    if sys.executable == client.PYTHON:
        pytest.skip("the newest one can")
    with pytest.raises(BundlerError, match=r"^kaggle push: this client cannot save without running; 2\.2\.5 can$"):
        kernels.push_kernel(kernel, runs=False)
    assert not either.kernels


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


def test_a_push_is_remembered_for_its_own_kernel(kernel: Path, either: Kaggle) -> None:
    either.kernels[TRAIN] = [{}, {}]
    assert str(kernels.push_kernel(kernel)) == f"{TRAIN} version 3"
    assert kernels.last_pushed(kernel) == kernels.Pushed(TRAIN, 3)
    metadata = read_metadata(kernel / "kernel-metadata.json") | {"id": "another/multihead-train"}
    (kernel / "kernel-metadata.json").write_text(json.dumps(metadata))
    assert kernels.last_pushed(kernel) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": "some-body/multihead-train", "version": 1, "what": 2}'])
def test_a_push_whose_memory_is_damaged_is_not_remembered(kernel: Path, text: str) -> None:
    (kernel / kernels.PUSHED_FILE).write_text(text)
    assert kernels.last_pushed(kernel) is None


def test_each_question_is_of_the_version_that_it_names(kernel: Path, kaggle: Kaggle, tmp_path: Path) -> None:
    for _ in range(2):
        kernels.push_kernel(kernel)
    kaggle.ahead[TRAIN], kaggle.failed, kaggle.output = ["COMPLETE"], {TRAIN: {1}}, {"history.csv": b"epoch\n"}
    with pytest.raises(kernels.RunFailedError, match=f"^{TRAIN} version 1: error$"):
        kernels.kernel_status(kernels.Run(TRAIN, 1))
    assert kernels.kernel_status(kernels.Run(TRAIN, 2)) == client.Status(True, "complete")
    assert kernels.kernel_status(kernels.Run(TRAIN)) == client.Status(True, "complete")
    assert kernels.machine_of(kernels.Run(TRAIN, 2)) == (kaggle.image, False)
    kernels.pull_output(kernels.Run(TRAIN, 2), tmp_path / "out", ["history.csv"], [])
    kernels.kernel_log(kernels.Run(TRAIN, 2))
    for request in ("GetKernel", "ListKernelSessionOutput"):
        assert {sent["versionLabel"] for sent in kaggle.sent(request)} == {"v2"}
    assert [kernels.is_known(kernels.Run(TRAIN, version)) for version in (1, 2, 3)] == [True, True, False]
    assert not kernels.is_known(kernels.Run(f"{USER}/another"))
    kaggle.answers["GetKernelSessionStatus"] = refusal(502, "Bad gateway")
    with pytest.raises(ClientError, match=r"^kaggle status: Bad gateway$"):
        kernels.is_known(kernels.Run(TRAIN, 1))


def test_a_client_that_drops_the_version_says_so(
    kernel: Path, either: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    client._warn.cache_clear()
    kernels.push_kernel(kernel)
    kernels.kernel_status(kernels.Run(TRAIN, 1))
    kernels.kernel_status(kernels.Run(TRAIN))
    line = "warning: this client tells of the newest version of a kernel; 2.2.5 tells of the one that is named\n"
    assert capsys.readouterr().out == ("" if sys.executable == client.PYTHON else line)


def test_only_what_is_wanted_of_an_output_is_downloaded(kernel: Path, either: Kaggle, tmp_path: Path) -> None:
    kernels.push_kernel(kernel)
    either.ahead[TRAIN], wanted = ["COMPLETE"], ["history.csv", "report"]
    names = ("history.csv", "report/index.html", "a/history.csv", "a/report/b/c.png")
    others = ("checkpoint.npz", "my-history.csv", "history.csv.gz", "a/b/history.csv", "reports/index.html")
    either.output = dict.fromkeys([*names, *others], b"content")
    came = kernels.pull_output(kernels.Run(TRAIN, 1), tmp_path / "out", wanted, [["history.csv"]])
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in came) == sorted(names)
    assert {path for path in (tmp_path / "out").rglob("*") if path.is_file()} - {*came} == {
        tmp_path / "out" / "multihead-train.log"
    }


def test_what_is_left_of_the_week_does_not_count_what_runs_now(either: Kaggle) -> None:
    hours = {"timeUsed": "36000s", "timeReserved": "9000s", "totalTimeAllowed": "108000s"}
    either.quota = {"quotaRefreshTime": "2026-12-05T00:00:00Z", "gpuQuota": hours}
    assert str(kernels.gpu_quota()) == "17.5 of 30.0 GPU hours left, new ones at 2026-12-05 00:00 UTC"
    either.quota["gpuQuota"] = {"totalTimeAllowed": "108000s"}
    assert kernels.gpu_quota()[:2] == (30.0, 30.0)
    either.quota = {"quotaRefreshTime": "2026-12-05T00:00:00Z"}
    with pytest.raises(BundlerError, match=r"^kaggle quota: Kaggle tells of no GPU quota$"):
        kernels.gpu_quota()


def test_a_new_version_of_the_weights_is_awaited_though_the_one_before_is_ready(
    dataset: Path, either: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    either.datasets[WEIGHTS], either.ahead[WEIGHTS] = [{}], ["READY"]
    either.dataset_states = ["READY", "READY", "READY"]
    datasets.push_dataset(dataset, "-- a better one")
    assert either.datasets[WEIGHTS] == [{}, TRAINED]
    assert either.sent("CreateDatasetVersion")[0]["body"]["versionNotes"] == "-- a better one"
    assert capsys.readouterr().out.splitlines()[1:] == [f"{WEIGHTS}: still version 1", f"{WEIGHTS}: ready"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"CreateDataset": (200, {"status": "error", "error": "No such licence"})},
            "^kaggle new dataset: No such licence$",
        ),
        ({"StartBlobUpload": refusal(403, "Quota exceeded")}, "^kaggle new dataset: Quota exceeded$"),
        (
            {"upload": (400, {})},
            r"Upload unsuccessful: history\.csv, manifest\.json, .*|kaggle new dataset: .*\.(csv|h5|json)",
        ),
        ({"GetDatasetStatus": refusal(401, "Unauthenticated")}, "^kaggle dataset status: 401 Unauthenticated; log in"),
        ({"GetDatasetStatus": refusal(502, "Bad gateway")}, "^kaggle dataset status: Bad gateway$"),
    ],
)
def test_a_dataset_that_kaggle_refuses_fails_with_its_words(
    dataset: Path, either: Kaggle, answers: dict[str, Answer], message: str
) -> None:
    either.answers = answers
    with pytest.raises(BundlerError, match=message):
        datasets.push_dataset(dataset, "")


def test_a_version_that_kaggle_refuses_fails_with_its_words(dataset: Path, either: Kaggle) -> None:
    either.datasets[WEIGHTS], either.ahead[WEIGHTS] = [{}], ["READY"]
    either.answers["CreateDatasetVersion"] = (200, {"status": "error", "error": "Too many files"})
    with pytest.raises(BundlerError, match=r"^kaggle new dataset: Too many files$"):
        datasets.push_dataset(dataset, "")


def test_a_dataset_whose_tags_are_not_taken_is_made(dataset: Path, kaggle: Kaggle) -> None:
    kaggle.datasets[WEIGHTS], kaggle.ahead[WEIGHTS] = [{}], ["READY"]
    kaggle.answers["CreateDatasetVersion"] = (200, {"status": "", "invalidTags": ["graphemes"]})
    with pytest.raises(BundlerError, match=f"^{WEIGHTS}: still version 1 after 0 hours$"):  # the stand-in made none
        datasets.push_dataset(dataset, "", hours=0)


def test_a_new_dataset_is_awaited_though_its_number_is_not_known(dataset: Path, either: Kaggle) -> None:
    either.answers["GetDataset"] = refusal(404, "Dataset not found")
    datasets.push_dataset(dataset, "")
    assert either.datasets[WEIGHTS] == [TRAINED]


def test_a_new_version_whose_number_kaggle_does_not_tell_is_taken_as_it_says(dataset: Path, kaggle: Kaggle) -> None:
    kaggle.datasets[WEIGHTS], kaggle.ahead[WEIGHTS] = [{}], ["READY"]
    kaggle.answers["GetDataset"] = (200, {"ref": WEIGHTS})
    datasets.push_dataset(dataset, "")
    assert kaggle.datasets[WEIGHTS] == [{}, TRAINED]


def test_an_address_that_is_signed_is_not_printed(kernel: Path, either: Kaggle, tmp_path: Path) -> None:
    kernels.push_kernel(kernel)
    either.ahead[TRAIN], run = ["COMPLETE"], kernels.Run(TRAIN, 1)
    address = "http://localhost/bucket/history.csv?X-Goog-Signature=SIGNED"
    either.answers["ListKernelSessionOutput"] = (200, {"files": [{"fileName": "history.csv", "url": address}]})
    either.answers["download"] = (403, b"<html>")
    with pytest.raises(BundlerError) as forbidden:
        kernels.pull_output(run, tmp_path / "out", ["history.csv"], [["history.csv"]])
    either.answers["ListKernelSessionOutput"][1]["files"][0]["url"] = address.replace("http://", "http://[::1]:9/")
    with pytest.raises(BundlerError) as unreachable:
        kernels.pull_output(run, tmp_path / "out", ["history.csv"], [["history.csv"]])
    for error in (forbidden, unreachable):
        assert "SIGNED" not in str(error.value)
        assert "rules" not in str(error.value)


@pytest.mark.parametrize(
    ("state", "message"), [("FAILED", "failed; Kaggle could not process"), ("BLOBS_RECEIVED", "received after 0 hours")]
)
def test_a_dataset_that_does_not_become_ready_fails(dataset: Path, either: Kaggle, state: str, message: str) -> None:
    either.dataset_states = [state]
    with pytest.raises(BundlerError, match=f"^{WEIGHTS}: .*{message}"):
        datasets.push_dataset(dataset, "", hours=0)


def test_a_dataset_folder_without_files_is_not_pushed(dataset: Path) -> None:
    for name in TRAINED:
        (dataset / name).unlink()
    with pytest.raises(BundlerError, match="dataset_meta: holds nothing to push"):
        datasets.push_dataset(dataset, "")


def test_without_a_client_it_says_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(client, "PYTHON", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(
        BundlerError, match=r"^kaggle status: .*/bare/bin/python has no kaggle client \(.*\); \.venv/bin/python has it$"
    ):
        kernels.kernel_status(kernels.Run(TRAIN))


def test_a_client_that_breaks_down_is_told_by_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first >&2\necho out of memory >&2\nexit 137\n")
    broken.chmod(0o755)
    monkeypatch.setattr(client, "PYTHON", str(broken))
    with pytest.raises(ClientError, match=r"^kaggle quota: out of memory$"):
        kernels.gpu_quota()


def test_nobody_s_credentials_are_told_as_such(either: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(
        BundlerError, match=r"^kaggle quota: nobody is logged in; log in with \.venv/bin/kaggle auth login$"
    ):
        kernels.gpu_quota()
    assert not either.sent("GetAcceleratorQuotaStatistics")


def test_a_client_that_gets_no_answer_is_ended(kaggle: Kaggle) -> None:
    with pytest.raises(ClientError, match=r"^kaggle status: no answer within 0\.01 seconds$"):
        client.ask("status", 0.01, kernel=TRAIN)
