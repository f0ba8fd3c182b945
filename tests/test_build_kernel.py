"""The command line of the bundler, in copies of the repository."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from competition_files import write_test_tables

from bundler.build.image import LINE, read_image
from bundler.build.parts import IMAGE_FILE
from bundler.cli import main
from bundler.commands import build, dry_run, weights
from bundler.commands import rehearse as rehearsing
from bundler.commands.rehearse import AT_HOME, Machine, Request, rehearse_kernel
from bundler.errors import BundlerError, RehearsalError
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.rehearsal import Rehearsed
from bundler.rehearse.watched_run import Ended
from bundler.repository import OUTPUTS, Repository
from multihead.config import files
from multihead.config.files import SUBMISSION_FILE as SUBMISSION
from multihead.config.known_tasks import task_text
from multihead.config.task import task_dict
from tests.built_in import BENGALI
from tests.conftest import HOUSE, PYTHONPATH, clone
from tests.test_text_files import FORMS

KERNELS = ("kernel/train/train_kernel.py", "kernel/predict/predict_kernel.py")


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(folder / "build_kernel.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_python_without_the_packages_is_told_of_the_one_that_has_them() -> None:
    command = [sys.executable, "-S", "-E", str(HOUSE / "build_kernel.py"), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    line = r"error: No module named '(pydantic|annotated_types|packaging)'; \.venv/bin/python has what it needs\n"
    assert re.fullmatch(line, done.stderr)


def test_two_clones_build_the_same_bytes(tmp_path: Path) -> None:
    clones = [clone(tmp_path / name) for name in ("one", "another")]
    for age, path in enumerate(sorted(clones[1].rglob("*"))):
        os.utime(path, (1e9 + age, 1e9 + age))
    for folder in clones:
        assert run(folder).returncode == 0
    for name in KERNELS:
        built = [(folder / name).read_bytes() for folder in clones]
        assert built[0] == built[1]
        assert len(built[0]) < 1_000_000


UNENDING = """
import signal, sys
from pathlib import Path
from bundler import cli
from bundler.rehearse import watched_run
signal.signal(signal.SIGINT, signal.default_int_handler)
for ending in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(ending, signal.SIG_DFL)
sleep = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
command = [sys.executable, "-c", sleep]
cli.dry_run = lambda *_: watched_run.run(command, {}, Path.cwd(), Path("log.txt"), watched_run.Limits())
raise SystemExit(cli.main(["dry-run"]))
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_kernel_that_is_rehearsed_ends_with_the_command_that_is_told_to(tmp_path: Path, ending: int) -> None:
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", UNENDING]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        kernel = int(process.stdout.readline())
        try:
            os.kill(kernel, 0)
            process.send_signal(ending)
            time.sleep(0.002)
            process.send_signal(ending)  # as make and a terminal may
            assert process.wait(30) == 130
            with pytest.raises(ProcessLookupError):
                os.kill(kernel, 0)
        finally:
            for pid in (process.pid, kernel):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_weights_that_are_staged_under_a_name_are_to_be_named_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "stage", lambda *_: "narrow")
    assert main(["stage", str(tmp_path), "--name", "seed0"]) == 0
    assert capsys.readouterr().out == (
        "dataset_meta: narrow\nnext: put seed0 into ensemble of kernel/predict/settings.toml\n"
        "  or start trainings from it:\n"
        '  kernel/train/settings.toml, [run]: pretrained = "seed0.model.weights.h5"\n'
        '  kernel/train/kernel-metadata.json: "dataset_sources": ["OWNER/multihead-weights"], '
        "once that dataset is created\n"
        "next: build_kernel.py rehearse DATA; then push weights\n"
    )


def test_the_owner_is_written_into_all_metadata(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    done = run(folder, "--owner", "some-body")
    assert done.returncode == 0
    texts = [f.read_text() for f in folder.rglob("*-metadata.json")]
    assert len(texts) == 3
    assert not any("OWNER" in text for text in texts)
    assert sum(text.count('"some-body/') for text in texts) == 4
    assert all(json.loads(text) for text in texts)


def test_a_rehearsal_is_of_what_the_sources_say_now(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    assert run(folder).returncode == 0
    (folder / "kernel" / "predict" / "settings.toml").write_text("[run]\nbatch_sise = 256\n")
    lay_out(tmp_path / "data")
    done = run(folder, "rehearse", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "batch_sise is not known" in done.stderr


def test_a_folder_without_a_competition_is_a_mistake_before_anything_is_emptied(tmp_path: Path) -> None:
    folder, out, data = clone(tmp_path / "clone"), tmp_path / "out", tmp_path / "data"
    (out / "working").mkdir(parents=True)
    (out / ".rehearsal").touch()
    data.mkdir()
    done = run(folder, "rehearse", str(data), "--weights", str(data), "--out", str(out))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {data}: not the files of bengali, it holds no test_image_data_*.parquet and no sample_submission.csv\n"
    )
    assert (out / "working").is_dir()


def test_a_module_that_kaggle_could_not_import_stops_the_build_with_nothing_written(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    module = folder / "src" / "multihead" / "scoring" / "metrics.py"
    module.write_text(module.read_text() + "\nimport onnxruntime\n")
    done = run(folder)
    assert done.returncode == 2
    assert "multihead/scoring/metrics.py, line" in done.stderr
    assert "onnxruntime is not in Kaggle's image" in done.stderr
    assert not (folder / KERNELS[0]).exists()


def test_settings_that_kaggle_would_trip_over_stop_the_build(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "kernel" / "train" / "settings.toml").write_text("[run]\nepoch = 30\n")
    done = run(folder)
    assert done.returncode == 2
    assert "kernel/train/settings.toml: epoch is not known; did you mean epochs?" in done.stderr
    assert not list(folder.glob("kernel/*/*_kernel.py"))


def test_the_check_prints_each_finding_and_the_build_refuses_them_together(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    done = run(folder, "check")
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, "no findings", "")
    assert "  before push train: kernel/train/kernel-metadata.json: id = " in done.stdout
    for name in ("train", "predict"):
        path = folder / "kernel" / name / "kernel-metadata.json"
        path.write_text(path.read_text().replace('"enable_internet": false', '"enable_internet": true'))
    done = run(folder, "check")
    findings = done.stdout.splitlines()
    assert (done.returncode, len(findings), done.stderr) == (1, 2, "")
    assert all("kernel-metadata.json: enable_internet = true: expected false" in finding for finding in findings)
    done = run(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["error: 2 things that Kaggle would not take:", *(f"  {f}" for f in findings)]
    assert not list(folder.glob("kernel/*/*_kernel.py"))


def test_the_age_of_the_image_is_told_by_the_check_alone_and_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(clone(tmp_path / "clone"))
    listed = read_image(IMAGE_FILE).listed
    built = []
    for days, is_told in ((1, False), (1000, True)):
        day = type("Day", (date,), {"today": classmethod(lambda _, days=days: listed + timedelta(days))})
        monkeypatch.setattr(build, "date", day)
        assert main([], repository) == 0
        assert "as listed" not in capsys.readouterr().out
        assert main(["check"], repository) == 0
        assert (f"note: Kaggle's image as listed {days} days ago" in capsys.readouterr().out) is is_told
        built.append([(repository.root / name).read_bytes() for name in KERNELS])
    assert built[0] == built[1]


def test_the_image_is_refreshed_from_what_the_line_prints_in_a_kernel(tmp_path: Path) -> None:
    folder, listing = clone(tmp_path / "clone"), tmp_path / "listing.json"
    assert LINE in run(folder, "refresh-image").stdout.splitlines()
    packages = {f"package{i}": "1" for i in range(500)}
    printed = {"listed": "2026-11-02", "python": "3.13", "versions": packages, "imports": {"a": ["package1"]}}
    listing.write_text(json.dumps(printed | {"modules": ["kaggle_secrets"]}))
    done = run(folder, "refresh-image", str(listing))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "bundler/build/kaggle_image.toml: 2 import names of 500 distributions, listed on 2026-11-02 "
    )
    assert read_image(folder / "bundler" / "build" / "kaggle_image.toml").names == {"a", "kaggle_secrets"}


def build_nothing(monkeypatch: pytest.MonkeyPatch, instead: Callable[[Repository], None] = lambda _: None) -> None:
    for command in (dry_run, rehearsing):
        monkeypatch.setattr(command, "build", instead)


def lay_out(folder: Path) -> None:
    """Make a competition's folder of empty files."""
    folder.mkdir(exist_ok=True)
    for name in ("train.csv", "sample_submission.csv", "train_image_data_0.parquet", "test_image_data_0.parquet"):
        (folder / name).touch()


def test_a_dry_run_takes_a_relative_folder(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    seen: list[Path] = []

    def stop(_: Repository, name: str, request: Request, *rest: object) -> None:
        seen.append(request.data)
        raise BundlerError("enough")

    monkeypatch.setattr(dry_run, "rehearse_kernel", stop)
    assert main(["dry-run", "data"], Repository(house)) == 2
    assert seen == [tmp_path / "data"]


def test_a_dry_run_has_a_dataset_for_a_train_kernel_that_starts_from_one(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path / "data")

    def stop(_: Repository, name: str, request: Request, *rest: object) -> None:
        assert request.weights
        assert (name, request.weights.is_dir()) == ("train", True)
        raise BundlerError("enough")

    monkeypatch.setattr(dry_run, "rehearse_kernel", stop)
    assert main(["dry-run", str(tmp_path / "data")], Repository(house)) == 2


def test_a_rehearsal_takes_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path)
    (tmp_path / "mine.toml").touch()
    seen: list[list[str]] = []
    texts: list[str] = []

    def stop(_: Path, inputs: object, out: Path, mounts: str, arguments: list[str], *limits: float) -> None:
        assert limits == (29, 0.5)
        seen.append(arguments)
        texts.extend(Path(arguments[1]).with_name(name).read_text() for name in ("mine.toml", "task.toml"))
        raise BundlerError("enough")

    monkeypatch.chdir(tmp_path)
    build_nothing(monkeypatch)
    monkeypatch.setattr(rehearsing, "rehearse", stop)
    more = ["--set", "epochs=1", "--timeout", "0.5"]
    assert main(["rehearse", str(tmp_path), "--kernel", "train", "--settings", "mine.toml", *more]) == 2
    assert [arguments[2:] for arguments in seen] == [[*AT_HOME, "--set", "epochs=1"]]
    assert texts == ["", task_text("bengali")]  # as a built script has them beside each other


def test_a_rehearsal_of_a_training_brings_along_the_task_that_is_set(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        (tmp_path / "data" / name).touch()
    texts: list[str] = []

    def stop(_: Path, __: Inputs, ___: Path, ____: str, arguments: list[str], *limits: float) -> None:
        texts.extend(Path(arguments[1]).with_name(name).read_text() for name in ("settings.toml", "task.toml"))
        raise BundlerError("enough")

    monkeypatch.setattr(rehearsing, "rehearse", stop)
    command = ["rehearse", str(tmp_path / "data"), "--kernel", "train", "--set", "task=digit-recognizer"]
    assert main(command, Repository(house)) == 2
    assert texts == [(house / "kernel" / "train" / "settings.toml").read_text(), task_text("digit-recognizer")]


@pytest.mark.parametrize("source", ["alessiocorrado99/animals10", "alessiocorrado99/animals10/2"])
def test_a_task_s_own_dataset_is_not_mounted_as_weights_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    image = tmp_path / "raw-img" / "cane" / "1.jpeg"
    image.parent.mkdir(parents=True)
    image.touch()
    metadata = tmp_path / "kernel" / "train" / "kernel-metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(json.dumps({"id": "a/train", "dataset_sources": [source, "me/weights/3"]}))
    seen: list[Inputs] = []

    def stop(_: Path, inputs: Inputs, *rest: object) -> None:
        seen.append(inputs)
        raise BundlerError("enough")

    monkeypatch.setattr(rehearsing, "rehearse", stop)
    (tmp_path / "dataset_meta").mkdir()
    (tmp_path / "dataset_meta" / "dataset-metadata.json").write_text('{"id": "me/weights"}')
    (tmp_path / "kernel" / "train" / "settings.toml").write_text('[model]\ntask = "animals10"\n')
    with pytest.raises(BundlerError, match="enough"):
        rehearse_kernel(Repository(tmp_path), "train", Request(tmp_path), tmp_path / "out", Machine())
    own = {("dataset_sources", "me/weights/3"): tmp_path / "dataset_meta"}
    assert seen == [Inputs("alessiocorrado99/animals10", tmp_path, {}, own)]


def attach(house: Path, kernel: str, **sources: list[str]) -> None:
    path = house / "kernel" / kernel / "kernel-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sources))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which the commands of this process work, without building; nothing is staged there."""
    folder = clone(tmp_path / "house")
    build_nothing(monkeypatch)
    return folder


ALL_KINDS = {
    "dataset_sources": ["OWNER/multihead-weights", "me/more/2"],
    "kernel_sources": ["me/multihead-train"],
    "model_sources": ["me/letters/keras/b1/2"],
}


def mounted_by(house: Path, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Inputs | None:
    """Return what a rehearsal would mount, None where it is refused before."""
    seen: list[Inputs] = []

    def stop(_: Path, inputs: Inputs, *rest: object) -> None:
        seen.append(inputs)
        raise BundlerError("enough")

    monkeypatch.setattr(rehearsing, "rehearse", stop)
    assert main(["rehearse", *arguments], Repository(house)) == 2
    return seen[0] if seen else None


def test_each_source_is_mounted_from_its_own_folder_and_what_is_not_is_said(
    house: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(house, "predict", competition_sources=["bengaliai-cv19", "another"], **ALL_KINDS)
    (house / "dataset_meta" / "model.weights.h5").touch()
    for name in ("model", "trained"):
        (tmp_path / name).mkdir()
    trained = tmp_path / "trained"
    arguments = ["--mount", f"me/letters/keras/b1={tmp_path / 'model'}", "--mount", f"me/multihead-train={trained}"]
    inputs = mounted_by(house, [str(drawn), *arguments], monkeypatch)
    model = ("model_sources", "me/letters/keras/b1/2")
    others = {("dataset_sources", "OWNER/multihead-weights"): house / "dataset_meta"}
    others |= {("kernel_sources", "me/multihead-train"): trained, model: tmp_path / "model"}
    assert inputs == Inputs("bengaliai-cv19", drawn, {}, others)
    message = "  not mounted, though Kaggle would: another, me/more/2 (rehearse --mount SOURCE=FOLDER)\n"
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--mount", "me/other=DIR"],
            "--mount me/other: HOUSE/kernel/predict/kernel-metadata.json attaches bengaliai-cv19, "
            "OWNER/multihead-weights, me/more/2, me/multihead-train, me/letters/keras/b1/2",
        ),
        (["--mount", "me/more/3=DIR"], "--mount me/more/3: HOUSE/kernel/predict/kernel-metadata.json attaches"),
        (["--mount", "me/more=DIR/gone"], "DIR/gone: not a folder to mount as me/more/2"),
        (["--mount", "bengaliai-cv19=DIR"], "--mount bengaliai-cv19: DATA is mounted there"),
        (["--mount", "me/more=DIR", "--mount", "me/more=DIR"], "--mount: a source is named twice"),
        (
            ["--kernel", "train", "--weights", "DIR"],
            "--weights: the train kernel does not attach OWNER/multihead-weights, or --mount names another folder",
        ),
    ],
)
def test_a_mount_that_kaggle_would_not_make_is_refused(
    house: Path,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    attach(house, "predict", **ALL_KINDS)
    (tmp_path / "dir").mkdir()
    places = {"DIR": tmp_path / "dir", "HOUSE": house, "DATA": drawn}
    for name, place in places.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
        message = message.replace(name, str(place))
    assert mounted_by(house, [str(drawn), *arguments], monkeypatch) is None
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["DATA", "--out", "OUT", "--weights", "OUT/working"],
        ["DATA", "--out", "OUT", "--mount", "me/more=OUT/working"],
        ["DATA", "--out", "OUT", "--settings", "OUT/mine.toml"],
        ["DATA", "--out", "OUT", "--settings", "LINK"],
        ["OUT/repeated", "--out", "OUT", "--rows", "16000"],
        ["OUT/repeated", "--out", "OUT"],
        ["DATA", "--out", "DATA/train/out"],
        ["DATA", "--out", "WEIGHTS/out", "--weights", "WEIGHTS"],
    ],
)
def test_a_rehearsal_that_would_empty_or_change_what_it_reads_is_refused_before_anything_is_built(
    house: Path,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    build_nothing(monkeypatch, lambda _: pytest.fail("it was built"))
    attach(house, "predict", **ALL_KINDS)
    data, out, weights = tmp_path / "data", tmp_path / "out", tmp_path / "weights"
    for folder in (data, out / "repeated"):
        shutil.copytree(drawn, folder)
    for folder in (out / "working", weights):
        folder.mkdir()
        (folder / "model.weights.h5").touch()
    for name in (".rehearsal", "mine.toml"):
        (out / name).touch()
    (tmp_path / "link.toml").symlink_to(out / "mine.toml")
    before = sorted(tmp_path.rglob("*"))
    places = {"DATA": data, "OUT": out, "WEIGHTS": weights, "LINK": tmp_path / "link.toml"}
    for name, place in places.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
    assert mounted_by(house, arguments, monkeypatch) is None
    error = capsys.readouterr().err
    assert error.startswith("error: --out: ")
    assert error.endswith("; name another folder\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_readme_s_folders_of_a_rehearsal_do_not_stand_in_each_other_s_way(
    house: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry = house / "dry-run"
    shutil.copytree(drawn, dry / "competition")
    for folder in (dry / "dataset_meta", dry / "rehearsal-train" / "working"):
        folder.mkdir(parents=True)
        (folder / "model.weights.h5").touch()
        assert mounted_by(house, [str(dry / "competition"), "--weights", str(folder)], monkeypatch)


@pytest.mark.parametrize("data", [".", "train", "train/working", "predict", "dataset_meta", "../link"])
def test_a_dry_run_of_what_it_would_empty_is_refused(
    house: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    build_nothing(monkeypatch, lambda _: pytest.fail("it was built"))
    folder = house / "dry-run" / data.replace("../link", "train/working")
    shutil.copytree(drawn, folder)
    (house / "link").symlink_to(folder)
    before = sorted(house.rglob("*"))
    assert main(["dry-run", str(house / "dry-run" / data)], Repository(house)) == 2
    assert capsys.readouterr().err.startswith("error: dry-run: ")
    assert sorted(house.rglob("*")) == before


def test_a_dry_run_s_weights_are_where_the_predict_kernel_looks_for_them(
    house: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(house, "predict", dataset_sources=[], kernel_sources=["me/multihead-train"])
    seen: list[Request] = []

    def stop(_: Repository, request: Request, *rest: object) -> str:
        seen.append(request)
        raise BundlerError("enough")

    ended = Ended(0, 9.0, 10**9, "all", [], "", "at second 9.0", None)
    trained = Rehearsed(tmp_path, ended, tmp_path / "events.jsonl", "none")
    monkeypatch.setattr(dry_run, "rehearse_kernel", lambda *_: trained)
    monkeypatch.setattr(dry_run, "stage", lambda *_: "narrow")
    monkeypatch.setattr(dry_run, "rehearse_predict", stop)
    assert main(["dry-run", str(drawn)], Repository(house)) == 2
    assert [request.mounts for request in seen] == [{"me/multihead-train": house / "dry-run" / "dataset_meta"}]


@pytest.mark.parametrize("is_link", [True, False])
def test_a_dry_run_never_draws_over_what_somebody_put_there(
    house: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_link: bool
) -> None:
    place = house / "dry-run" / "competition"
    mine = tmp_path / "mine" if is_link else place
    mine.mkdir(parents=True)
    (mine / "train.csv").write_text("mine")
    if is_link:
        place.parent.mkdir()
        place.symlink_to(mine)
    assert main(["dry-run"], Repository(house)) == 2
    assert f"{place}: holds files that no rehearsal made" in capsys.readouterr().err
    assert (mine / "train.csv").read_text() == "mine"


def test_only_wide_parquet_is_repeated(tmp_path: Path, kernel: "Kernel", capsys: pytest.CaptureFixture[str]) -> None:
    task = task_dict(BENGALI) | {"name": "leaves", "reader": "image files", "test_files": "test/*.parquet"}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "manifest.json").write_text(json.dumps({"task": task}))
    (tmp_path / "data" / "test").mkdir(parents=True)
    for name in ("sample_submission.csv", "test/a.parquet"):
        (tmp_path / "data" / name).touch()
    assert rehearsed(tmp_path / "data", tmp_path, "--rows", "16000") == 2
    assert capsys.readouterr().err == "error: --rows: repeats the test files of bengali, not those of leaves\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["stage", "nowhere"],
        ["--owner", "a/b"],
        ["--owner", ""],
        ["dry-run", "nowhere"],
        ["dry-run", "src"],
        ["refresh-image", "nowhere"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_files_that_a_kernel_may_leave_are_those_that_the_package_writes() -> None:
    written = (files.WEIGHTS_FILE, files.MANIFEST_FILE, files.HISTORY_FILE, files.CHECKPOINT_FILE)
    assert OUTPUTS["train"] == (*written, files.OUT_OF_FOLD_FILE, files.REPORT_FOLDER)
    assert OUTPUTS["predict"] == (files.SUBMISSION_FILE, files.PREDICTIONS_FILE)


class Kernel:
    """Stands in for the rehearsed predict kernel: what it would be given, and what it would leave and say."""

    def __init__(self) -> None:
        self.seconds, self.file_bytes, self.left = 26.67, [1e9] * 4, [SUBMISSION]
        self.inputs: Inputs | None = None
        self.memory_gb: object = None
        self.arguments: object = None

    def rehearse(self, _: Path, inputs: Inputs, out: Path, *others: object) -> Rehearsed:
        self.inputs, (_mounts, self.arguments, self.memory_gb, _minutes) = inputs, others
        working = out / "working"
        working.mkdir(parents=True)
        sample = (inputs.data / "sample_submission.csv").read_text()
        images = sample.count("\n") // 3
        for name in self.left:
            (working / name).write_text(sample)
        stages: dict[str, object] = {"read_images": images, "files": 4, "read_seconds": self.seconds}
        stages |= {"network_images": images, "network_seconds": 8.0, "device": "Tesla T4", "images_per_second": 3000.0}
        (out / "events.jsonl").write_text(json.dumps({"event": "stages"} | stages) + "\n")
        ended = Ended(0, 9.0, 10**9, "all", self.file_bytes, "", "at second 9.0", None)
        return Rehearsed(working, ended, out / "events.jsonl", "none")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    stand_in = Kernel()
    build_nothing(monkeypatch)
    monkeypatch.setattr(rehearsing, "rehearse", stand_in.rehearse)
    monkeypatch.setattr(rehearsing, "run_python", lay_out_tables)
    return stand_in


def lay_out_tables(_: Repository, arguments: Sequence[str]) -> None:
    """Leave of the test set that the command would write only its tables, which take no time."""
    folder, rows = Path(arguments[2]), int(arguments[4])
    folder.mkdir(parents=True)
    write_test_tables(folder, [f"Test_{i}" for i in range(rows)])
    (folder / "test_image_data_0.parquet").touch()


def rehearsed(data: Path, folder: Path, *arguments: str) -> int:
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights" / "model.weights.h5").touch()
    weights, out = str(folder / "weights"), str(folder / "out")
    return main(["rehearse", str(data), "--weights", weights, "--out", out, *arguments])


def test_a_good_rehearsal_ends_with_the_table_and_the_submission(
    drawn: Path, tmp_path: Path, kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rehearsed(drawn, tmp_path, "--rows", "16000", "--memory", "13.5") == 0
    assert kernel.memory_gb == 13.5
    assert kernel.arguments == [
        *("--set", "require_gpu=false"),
        *("--set", "precision=auto"),
        *("--set", "xla=auto"),
        *("--set", "time_budget_minutes=0"),  # of the GPU; what it would take there is projected
    ]
    assert kernel.inputs
    assert kernel.inputs.data == tmp_path / "out" / "repeated"
    captured = capsys.readouterr()
    assert not captured.err
    assert captured.out.splitlines()[-9:] == [
        "  wall time       9 s",
        "  peak memory     1.00 GB (all)",
        "  internet        none",
        f"  left behind     submission.csv {(tmp_path / 'out' / 'working' / SUBMISSION).stat().st_size:,} bytes",
        "  with each file  +0 MB",
        "  read and crop   16,000 images in 26.7 s here, 600 a second; 211,042 take 5.9 minutes",
        "  network         16,000 images in 8.0 s here, 2,000 a second; "
        "211,042 take 1.2 minutes on the Tesla T4 that it was trained on",
        "  hidden test     5.9 of 115 minutes",
        f"submission: {tmp_path / 'out' / 'working' / SUBMISSION} (48000 rows)",
    ]
    assert not (tmp_path / "out" / "repeated").exists()


def test_without_weights_nothing_is_laid_out_nor_rehearsed(
    drawn: Path, tmp_path: Path, kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "._model.weights.h5").touch()
    weights = str(tmp_path / "weights")
    assert main(["rehearse", str(drawn), "--weights", weights, "--out", str(tmp_path / "out"), "--rows", "16000"]) == 2
    hint = "build_kernel.py stage FOLDER, --weights FOLDER or --mount SOURCE=FOLDER"
    assert capsys.readouterr().err == f"error: {weights}: no weights there; {hint}\n"
    assert not (tmp_path / "out").exists()
    assert kernel.inputs is None


def test_the_competition_s_own_test_files_are_taken_without_rows(drawn: Path, tmp_path: Path, kernel: Kernel) -> None:
    assert rehearsed(drawn, tmp_path) == 0
    assert kernel.inputs
    assert kernel.inputs.data == drawn
    assert kernel.memory_gb == 29


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"seconds": 640.0}, "reading and cropping is too slow: 25 images a second, so 141 minutes"),
        ({"file_bytes": [1e9, 1.2e9, 1.4e9, 1.4e9]}, "memory grows with the rows: by 0.20 GB with each file of 4,000"),
        ({"left": [SUBMISSION, "crops.npy"]}, "crops.npy in the working folder"),
        ({"left": []}, "no submission.csv in the working folder"),
    ],
)
def test_a_fault_of_the_rehearsal_is_one_line_and_exit_code_1(
    drawn: Path,
    tmp_path: Path,
    kernel: Kernel,
    capsys: pytest.CaptureFixture[str],
    fault: dict[str, object],
    message: str,
) -> None:
    for name, value in fault.items():
        setattr(kernel, name, value)
    assert rehearsed(drawn, tmp_path, "--rows", "16000") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("form", ["plain", "by PowerShell"])
def test_the_time_budget_is_that_of_the_settings_and_of_set(
    drawn: Path, tmp_path: Path, kernel: Kernel, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    kernel.seconds = 320.0  # 70 minutes for the hidden test
    assert rehearsed(drawn, tmp_path, "--rows", "16000", "--set", "time_budget_minutes=60") == 1
    assert "so 70 minutes for the hidden test's 211,042; time_budget_minutes is 60" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out" / "working")
    mine = tmp_path / "mine.toml"
    mine.write_bytes(FORMS[form]("[run]\ntime_budget_minutes = 90\n"))
    assert rehearsed(drawn, tmp_path, "--rows", "16000", "--settings", str(mine)) == 0
    assert "  hidden test     70.3 of 90 minutes" in capsys.readouterr().out


def test_rows_that_the_disk_has_no_room_for_are_a_mistake_of_one_line(
    drawn: Path, tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9 * 10**9, 4 * 10**9, 5 * 10**9))
    assert rehearsed(drawn, tmp_path, "--rows", "211042") == 2
    message = f"error: --rows 211042: may take 6.8 GB in {tmp_path / 'out'}, where 5.0 GB are free\n"
    assert capsys.readouterr().err == message


def test_rows_are_never_laid_out_in_a_folder_that_no_rehearsal_made(
    drawn: Path, tmp_path: Path, kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "out" / "repeated" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert rehearsed(drawn, tmp_path, "--rows", "16000") == 2
    assert "holds files that no rehearsal made" in capsys.readouterr().err
    assert mine.exists()


@pytest.mark.parametrize("arguments", [["--kernel", "train", "--rows", "8"], ["--rows", "3"], ["--memory", "0"]])
def test_options_that_make_no_sense_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["rehearse", ".", *arguments])
    assert "error: " in capsys.readouterr().err


def test_memory_that_runs_out_ends_the_command_with_exit_code_1(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rehearse(*_: object) -> None:
        raise RehearsalError("predict_kernel.py had 29.10 GB of memory at second 3.0")

    build_nothing(monkeypatch)
    monkeypatch.setattr(rehearsing, "rehearse", rehearse)
    assert rehearsed(drawn, tmp_path) == 1
    assert capsys.readouterr().err == "error: predict_kernel.py had 29.10 GB of memory at second 3.0\n"
