"""The way to a score, step by step, by the real kaggle client against a stand-in of Kaggle on this machine."""

import json
import re
from pathlib import Path

import pytest

from bundler.cli import main
from bundler.kaggle import client
from bundler.kaggle.kernels import Pushed, keep_pushed, last_pushed
from bundler.kaggle.submissions import keep_uploaded, keep_version, read_kept, weights_in
from bundler.metadata import METADATA_FILES, PLACEHOLDER, set_owner
from bundler.repository import KERNELS, Repository
from multihead.config.task import task_dict
from tests.at_kaggle import COMPETITION, MANIFEST, OUTPUT, PREDICT, TRAIN, TRAINED, WEIGHTS
from tests.built_in import ANIMALS
from tests.conftest import HOUSE
from tests.kaggle_standin import KEY, USER, Answer, Kaggle, refusal

IMAGE = "gcr.io/kaggle-gpu-images/python@sha256:4567"
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


def test_the_trials_of_a_train_kernel_are_pulled_each_into_its_folder_and_staged_under_its_name(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN] = [{"enableGpu": True}], ["COMPLETE"]
    trials = ("study_fold-0", "study_fold-1")
    kaggle.output = {f"{trial}/{name}": data for trial in trials for name, data in TRAINED.items()}
    assert main(["pull", "train"], Repository(owned_clone)) == 0
    files, first, second, pinned, next_first, next_second = capsys.readouterr().out.splitlines()
    assert files == f"{TRAIN}, its newest version: 6 files into trained/"
    assert pinned.startswith("kernel/predict/kernel-metadata.json: docker_image ")
    assert [line.partition(":")[0] for line in (first, second)] == [f"trained/{trial}" for trial in trials]
    for line, trial in zip((next_first, next_second), trials, strict=True):
        assert line == f"next: build_kernel.py stage trained/{trial} --name {trial}"
        assert main(line.partition("build_kernel.py ")[2].split(), Repository(owned_clone)) == 0
        assert (owned_clone / "dataset_meta" / f"{trial}.model.weights.h5").read_bytes() == b"weights"


def test_the_whole_way_to_a_score(
    owned_clone: Path, either: Kaggle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    either.output = OUTPUT | {"checkpoint.npz": b"large"}
    either.quota = {"gpuQuota": {"timeUsed": "36000s", "timeReserved": "0s", "totalTimeAllowed": "108000s"}}
    command, walked, printed = "push train", [], ""
    while command:
        assert main(command.split(), Repository(owned_clone)) == 0
        walked.append(command)
        printed = capsys.readouterr().out
        assert KEY not in printed
        hours = {"push train": "11.5", "push predict": "1.9"}.get(command)
        assert (
            hours is None
            or f"20.0 of 30.0 GPU hours left, new ones at an unknown time; this run may use {hours}\n" in printed
        )
        command = printed.partition("next: build_kernel.py ")[2].strip().rpartition("then ")[2]
    assert walked == WAY
    assert printed.splitlines()[-1] == (
        f"{COMPETITION}: {PREDICT} version 1 (submission 1): complete, public 0.9370, private 0.9041"
    )
    (submission,) = read_kept(Repository(owned_clone)).submissions
    assert (submission.weights, submission.public) == ({"": MANIFEST["sha256"]}, 0.937)

    of_predict = {"datasetDataSources": [WEIGHTS], "dockerImage": either.image}
    for name, saved, sources in zip(KERNELS, either.sent("SaveKernel"), ({}, of_predict), strict=True):
        assert saved.pop("text").encode() == (owned_clone / "kernel" / name / f"{name}_kernel.py").read_bytes()
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
    assert {name: (owned_clone / "trained" / name).read_bytes() for name in OUTPUT} == OUTPUT
    assert not (owned_clone / "trained" / "checkpoint.npz").exists()
    assert either.datasets == {WEIGHTS: [{name: TRAINED[name] for name in ("model.weights.h5", "manifest.json")}]}
    created = either.sent("CreateDataset")[0]
    assert (created["isPrivate"], created["licenseName"]) == (True, "CC0-1.0")
    assert either.sent("CreateCodeSubmission") == [
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
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    repository, sha256 = Repository(owned_clone), MANIFEST["sha256"]
    kaggle.kernels[PREDICT] = [{}]
    (owned_clone / "dataset_meta" / "model.weights.h5").write_bytes(TRAINED["model.weights.h5"])
    keep_uploaded(repository, weights_in(owned_clone / "dataset_meta"))
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


def test_the_readme_goes_the_same_way() -> None:
    section = (HOUSE / "README.md").read_text().partition("## From the competition to a score")[2].partition("\n## ")[0]
    commands = re.findall(r"^\.venv/bin/python build_kernel\.py (\w.*?)(?: -m .*)?$", section, re.MULTILINE)
    assert [command for command in commands if not command.startswith("rehearse data/bengali")] == WAY


def test_a_run_that_failed_is_told_with_kaggle_s_reason(
    owned_clone: Path, either: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    either.ahead[TRAIN], either.failure_message = ["ERROR"], "Your notebook tried\nto allocate more memory."
    lines = [f"line {number}\n" for number in range(100)]
    either.log = json.dumps([{"stream_name": "stdout", "time": 1.0, "data": line} for line in lines])
    heading = f"{TRAIN}, its newest version: the end of its log"
    message = f"{TRAIN}, its newest version: error: Your notebook tried to allocate more memory."
    for command in ("status train", "status train --wait", "pull train"):
        assert main(command.split(), Repository(owned_clone)) == 2
        printed = capsys.readouterr()
        assert printed.err == f"error: {message}\n"
        assert printed.out == f"{heading}\n{''.join(lines[-20:])}"
    either.log = "no JSON"
    assert main(["status", "train"], Repository(owned_clone)) == 2
    assert capsys.readouterr().out == f"{heading}\nno JSON\n"
    either.answers["ListKernelSessionOutput"] = refusal(502, "Bad gateway")
    assert main(["status", "train"], Repository(owned_clone)) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{heading}\nkaggle log: Bad gateway\n", f"error: {message}\n")


def test_the_log_of_a_run_that_failed_is_that_of_its_version(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN], kaggle.failed = [{}] * 3, ["COMPLETE"], {TRAIN: {1, 2}}
    kaggle.log = "log of version {version}"
    keep_pushed(owned_clone / "kernel" / "train", Pushed(TRAIN, 2))
    for option, version in (([], 2), (["--version", "1"], 1)):
        for command in ("status", "pull"):
            assert main([command, "train", *option], Repository(owned_clone)) == 2
            printed = capsys.readouterr()
            assert printed.out == f"{TRAIN} version {version}: the end of its log\nlog of version {version}\n"
            assert printed.err == f"error: {TRAIN} version {version}: error\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("status weights --version 7", "--version is of a kernel, and weights is none"),
        ("status submission --version 1", "--version is of a kernel, and submission is none"),
        ("status train --version 0", "0: expected a version of the kernel, 1 or more"),
        ("pull train --version -3", "expected"),
        ("submit --version v2", "v2: expected a version of the kernel, 1 or more"),
    ],
)
def test_a_version_is_a_number_of_a_kernel(
    owned_clone: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        main(command.split(), Repository(owned_clone))
    assert message in capsys.readouterr().err


def test_a_run_that_goes_on_is_to_be_asked_again(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN] = [{}, {}], ["RUNNING"]
    keep_pushed(owned_clone / "kernel" / "train", Pushed(TRAIN, 2))
    assert main(["status", "train"], Repository(owned_clone)) == 0
    assert capsys.readouterr().out == f"{TRAIN} version 2: running\nnext: build_kernel.py status train --wait\n"
    assert main(["pull", "train"], Repository(owned_clone)) == 2
    assert f"error: {TRAIN} version 2: running; its output is there once it is complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "answers", "message"),
    [
        ({"history.csv": b""}, {}, r"its output holds no model\.weights\.h5; of what is wanted it holds history\.csv"),
        (TRAINED, {"download": (404, {})}, r"kaggle output: 404 Not Found"),
        (TRAINED | {"model.weights.h5": b"others"}, {}, r"model\.weights\.h5: not the file that manifest\.json"),
    ],
)
def test_an_output_that_is_not_whole_is_not_taken(
    owned_clone: Path,
    kaggle: Kaggle,
    capsys: pytest.CaptureFixture[str],
    output: dict[str, bytes],
    answers: dict[str, Answer],
    message: str,
) -> None:
    kaggle.ahead[TRAIN], kaggle.output, kaggle.answers = ["COMPLETE"], output, answers
    assert main(["pull", "train"], Repository(owned_clone)) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("version", "answers", "message"),
    [
        (3, {}, "kaggle submit: Could not find provided notebook"),
        (
            1,
            {"CreateCodeSubmission": refusal(403, "Your team has no submissions left")},
            "Your team has no submissions",
        ),
        (1, {"CreateCodeSubmission": (200, {"message": "Later"})}, f"Later; {COMPETITION} has no new submission"),
    ],
)
def test_a_submission_that_kaggle_refuses_fails_with_its_words(
    owned_clone: Path,
    kaggle: Kaggle,
    capsys: pytest.CaptureFixture[str],
    version: int,
    answers: dict[str, Answer],
    message: str,
) -> None:
    kaggle.kernels[PREDICT], kaggle.answers = [{}], answers
    assert main(["submit", "--version", str(version)], Repository(owned_clone)) == 2
    assert message in capsys.readouterr().err


def test_a_submission_that_failed_is_told_with_kaggle_s_reason(
    owned_clone: Path, either: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    either.submissions, either.ahead["submission"] = [{"ref": 1, "description": "first"}], ["ERROR"]
    assert main(["status", "submission"], Repository(owned_clone)) == 2
    page = f"https://www.kaggle.com/competitions/{COMPETITION}/submissions"
    assert capsys.readouterr().err == f"error: {COMPETITION}: first (submission 1): error: {page} may say why\n"
    either.submissions[0]["errorDescription"] = "Evaluation Exception:\nSubmission must have 418 rows"
    for command in ("status submission", "status submission --wait"):
        assert main(command.split(), Repository(owned_clone)) == 2
        reason = "Evaluation Exception: Submission must have 418 rows"
        assert capsys.readouterr().err == f"error: {COMPETITION}: first (submission 1): error: {reason}\n"


def test_the_submission_that_is_asked_for_is_the_last_one_from_here_not_a_team_mate_s(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.kernels[PREDICT], kaggle.submission_states = [{}], ["COMPLETE"]
    assert main(["submit", "--version", "1", "-m", "mine"], Repository(owned_clone)) == 0
    kaggle.submissions.insert(0, {"ref": 7, "description": "a mate's", "status": "PENDING"})
    capsys.readouterr()
    assert main(["status", "submission"], Repository(owned_clone)) == 0
    assert (
        capsys.readouterr().out
        == f"{COMPETITION}: mine (submission 1): pending\nnext: build_kernel.py status submission --wait\n"
    )
    kaggle.submissions.pop()
    assert main(["status", "submission"], Repository(owned_clone)) == 2
    assert capsys.readouterr().err == f"error: {COMPETITION}: Kaggle lists no submission 1\n"


def test_of_a_task_whose_files_come_from_a_dataset_the_predictions_are_pulled(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    task = json.dumps({"task": task_dict(ANIMALS)})
    (owned_clone / "dataset_meta" / "manifest.json").write_text(task)
    kaggle.ahead[PREDICT], kaggle.output = ["COMPLETE"], {"predictions.csv": b"id,label\n1,cat\n"}
    assert main(["status", "predict"], Repository(owned_clone)) == 0
    assert capsys.readouterr().out == f"{PREDICT}, its newest version: complete\nnext: build_kernel.py pull predict\n"
    assert main(["pull", "predict"], Repository(owned_clone)) == 0
    assert capsys.readouterr().out == f"{PREDICT}, its newest version: predicted/predictions.csv\n"
    assert (owned_clone / "predicted" / "predictions.csv").read_bytes() == kaggle.output["predictions.csv"]
    for command in ("submit --version 1", "status submission"):
        assert main(command.split(), Repository(owned_clone)) == 2
        message = "error: animals10: of no competition to submit to; build_kernel.py pull predict\n"
        assert capsys.readouterr().err == message
    kaggle.output = {"other.csv": b""}
    assert main(["pull", "predict"], Repository(owned_clone)) == 2
    assert (
        "its output holds no submission.csv or predictions.csv; of what is wanted it holds nothing"
        in capsys.readouterr().err
    )


def test_what_was_never_pushed_is_not_submitted(owned_clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit"], Repository(owned_clone)) == 2
    assert f"{PREDICT}: its last push has no known version; build_kernel.py push predict, or submit --version N" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, f"docker_image {IMAGE}, in which {TRAIN} version 2 trained"),
        ({"docker_image": None}, f"docker_image {IMAGE}, in which {TRAIN} version 2 trained"),
        ({"docker_image": "gcr.io/older"}, f"docker_image {IMAGE}, in which {TRAIN} version 2 trained"),
        ({"docker_image": IMAGE}, ""),
        (
            {"enable_gpu": False},
            f"not pinned to the image of {TRAIN} version 2; it has a GPU, and enable_gpu says otherwise here",
        ),
        (
            {"docker_image_pinning_type": "latest"},
            f"not pinned to the image of {TRAIN} version 2; docker_image_pinning_type is",
        ),
    ],
)
def test_predicting_is_pinned_to_the_image_of_the_training(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str], change: dict[str, object], said: str
) -> None:
    path, folder = owned_clone / "kernel" / "predict" / "kernel-metadata.json", owned_clone / "kernel" / "train"
    before = json.loads(path.read_text()) | change
    path.write_text(json.dumps(before, indent=4))
    keep_pushed(folder, Pushed(TRAIN, 2))
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN] = [{}, {"enableGpu": True}], ["COMPLETE"]
    kaggle.output, kaggle.image = TRAINED, IMAGE
    assert main(["pull", "train"], Repository(owned_clone)) == 0
    printed = capsys.readouterr().out
    assert f"kernel/predict/kernel-metadata.json: {said}" in printed if said else "docker_image" not in printed
    is_pinned = said.startswith("docker_image")
    assert json.loads(path.read_text()) == (before | {"docker_image": IMAGE} if is_pinned else before)
    assert last_pushed(folder) == Pushed(TRAIN, 2, IMAGE)
    assert not is_pinned or main(["check"], Repository(owned_clone)) == 0


def test_a_training_whose_image_is_not_known_is_pulled_all_the_same(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN], kaggle.output = [{}] * 3, ["COMPLETE"], TRAINED
    kaggle.answers["GetKernel"] = refusal(502, "Bad gateway")
    assert main(["pull", "train", "--version", "3"], Repository(owned_clone)) == 0
    assert f"{TRAIN} version 3: its image is not known (kaggle metadata: Bad gateway); predicting is not" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('{"id": "%s", "enable_gpu": true}\n', '{"id": "%s", "enable_gpu": true,\n  "docker_image": "IMAGE"\n}\n'),
        ('{\r\n "id": "%s",\r\n "enable_gpu": true,\r\n "docker_image" : null\r\n}', None),
        ('{"id": "%s", "enable_gpu": true, "docker_image": false}', ""),
        ('{"id": "%s", "enable_gpu": true, "more": {"docker_image": "its own"}}', ""),
        ('{"id": "%s", "enable_gpu": true, "docker_image": "a", "docker_image": "b"}', ""),
    ],
)
def test_the_image_is_written_without_touching_what_else_stands_there(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str], text: str, becomes: str | None
) -> None:
    path, before = owned_clone / "kernel" / "predict" / "kernel-metadata.json", text.replace("%s", PREDICT).encode()
    path.write_bytes(before)
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN], kaggle.output = [{"enableGpu": True}], ["COMPLETE"], TRAINED
    assert main(["pull", "train"], Repository(owned_clone)) == 0
    by_hand = f'not pinned to the image of {TRAIN}, its newest version; put in "docker_image": "{kaggle.image}" by hand'
    assert (by_hand in capsys.readouterr().out) is (becomes == "")
    if becomes is None:
        assert path.read_bytes() == before.replace(
            b'"docker_image" : null', f'"docker_image": "{kaggle.image}"'.encode()
        )
    else:
        assert path.read_text() == (becomes.replace("%s", PREDICT).replace("IMAGE", kaggle.image) or before.decode())


def test_the_image_of_another_version_is_not_kept_as_that_of_the_last_push(owned_clone: Path, kaggle: Kaggle) -> None:
    folder = owned_clone / "kernel" / "train"
    keep_pushed(folder, Pushed(TRAIN, 2))
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN], kaggle.output = [{}, {}], ["COMPLETE"], TRAINED
    assert main(["pull", "train", "--version", "1"], Repository(owned_clone)) == 0
    assert last_pushed(folder) == Pushed(TRAIN, 2)


def test_the_checkpoint_comes_where_it_is_asked_for(owned_clone: Path, kaggle: Kaggle) -> None:
    kaggle.kernels[TRAIN], kaggle.ahead[TRAIN], kaggle.output = (
        [{}],
        ["COMPLETE"],
        OUTPUT | {"checkpoint.npz": b"large"},
    )
    for option, is_there in (([], False), (["--checkpoint"], True)):
        assert main(["pull", "train", *option], Repository(owned_clone)) == 0
        assert (owned_clone / "trained" / "checkpoint.npz").exists() is is_there


def test_a_push_that_may_use_more_than_is_left_says_so_and_one_whose_quota_is_unknown_goes_on(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.quota = {"gpuQuota": {"timeUsed": "72000s", "timeReserved": "0s", "totalTimeAllowed": "108000s"}}
    assert main(["push", "train"], Repository(owned_clone)) == 0
    assert "10.0 of 30.0 GPU hours left, new ones at an unknown time; this run may use 11.5: more than are left\n" in (
        capsys.readouterr().out
    )
    reasons = ((2, "", "Not found"), (3, "tpuQuota", "Kaggle tells of no GPU quota"))
    for version, other, reason in reasons:
        kaggle.quota = {other: {}} if other else {}
        assert main(["push", "train"], Repository(owned_clone)) == 0
        printed = capsys.readouterr().out
        assert f"the week's GPU hours are not known (kaggle quota: {reason}); this run may use 11.5\n" in printed
        assert f"{TRAIN} version {version} pushed\n" in printed


def test_a_kernel_is_saved_for_others_to_read_without_a_run(
    owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", "predict", "--no-run"], Repository(owned_clone)) == 0
    printed = capsys.readouterr().out
    page = f"https://www.kaggle.com/code/{PREDICT}"
    assert printed.endswith(f"{PREDICT} version 1 saved, not run; private or public, as is_private says: {page}\n")
    assert "GPU hours" not in printed
    assert [sent["kernelExecutionType"] for sent in kaggle.sent("SaveKernel")] == ["QUICK_SAVE"]
    with pytest.raises(SystemExit):
        main(["push", "weights", "--no-run"], Repository(owned_clone))
    assert "--no-run is for a kernel" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["push train", "push weights", "status predict", "pull train", "submit"])
def test_nothing_is_asked_of_kaggle_without_an_owner(
    owned_clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(client, "ask", lambda *_, **__: pytest.fail("Kaggle was asked"))
    set_owner(owned_clone, PLACEHOLDER)
    assert main(command.split(), Repository(owned_clone)) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: {METADATA_FILES[0]}: id OWNER/multihead-train has no owner yet; build_kernel.py --owner"
    )
    assert error.count("\n") == 1


def test_a_mistake_in_the_settings_is_not_pushed(
    owned_clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ask", lambda *_, **__: pytest.fail("Kaggle was asked"))
    (owned_clone / "kernel" / "train" / "settings.toml").write_text("[run]\nepoch = 30\n")
    assert main(["push", "predict"], Repository(owned_clone)) == 2
    assert "epoch is not known" in capsys.readouterr().err
