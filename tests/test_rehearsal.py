"""Rehearsals of small kernels that do one thing each, in a package of their own."""

import json
import socket
import time
from pathlib import Path

import pytest

from bundler import rehearsal
from bundler.bundle import build_script
from bundler.errors import BundlerError, RehearsalError
from bundler.rehearsal import Inputs, Rehearsed, check_submission, rehearse

GOOD = "print('working in', __import__('os').getcwd())"


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    data, weights = tmp_path / "data", tmp_path / "weights"
    data.mkdir()
    weights.mkdir()
    (data / "train.csv").write_text("data")
    (data / "truth.csv").write_text("secret")
    (weights / "manifest.json").write_text("weights")
    return Inputs("some-competition", data, {"somebody/some-weights": weights})


def script_of(folder: Path, body: str, **modules: str) -> Path:
    """Build the script of a package whose main has this body."""
    package = folder / "multihead"
    package.mkdir()
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    sources = {"__init__": "", "app": f"def main(argv):\n{lines}    return 0\n", **modules}
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    (folder / "settings.toml").touch()
    script = folder / "some_kernel.py"
    script.write_bytes(build_script(package, folder / "settings.toml", "train"))
    return script


def rehearsed(folder: Path, inputs: Inputs, body: str, mounts: str = "new", **modules: str) -> Rehearsed:
    return rehearse(script_of(folder, body, **modules), inputs, folder / "root", mounts)


def log_of(folder: Path) -> str:
    return (folder / "root" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("old", ["some-competition/train.csv", "some-weights/manifest.json"]),
        ("new", ["competitions/some-competition/train.csv", "datasets/somebody/some-weights/manifest.json"]),
    ],
)
def test_inputs_are_mounted_without_the_truth_and_working_is_empty(
    tmp_path: Path, inputs: Inputs, mounts: str, expected: list[str]
) -> None:
    body = (
        "import os, pathlib\n"
        "root = pathlib.Path(os.environ['KAGGLE_ROOT'])\n"
        "print(sorted(str(f.relative_to(root / 'input')) for f in (root / 'input').rglob('*') if f.is_file()))\n"
        "print(pathlib.Path.cwd() == root / 'working', os.listdir('.'), os.environ['KAGGLE_KERNEL_RUN_TYPE'])\n"
        "pathlib.Path('left.txt').write_text('x')"
    )
    result = rehearsed(tmp_path, inputs, body, mounts)
    assert log_of(tmp_path).splitlines() == [str(expected), "True [] Batch"]
    assert [f.name for f in result.working.iterdir()] == ["left.txt"]
    assert "left.txt 1 bytes" in str(result)


def test_home_is_out_of_sight(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    body = "import os, pathlib\nassert 'SECRET' not in os.environ\nassert not os.listdir(pathlib.Path.home())"
    rehearsed(tmp_path, inputs, body)


def test_what_kaggle_lacks_cannot_be_imported_though_it_is_installed_here(tmp_path: Path, inputs: Inputs) -> None:
    __import__("mypy")
    body = "import importlib\nimportlib.import_module('mypy')"
    with pytest.raises(
        RehearsalError, match=r"exit code 1: ModuleNotFoundError: No module named 'mypy'; .*kaggle_image"
    ):
        rehearsed(tmp_path, inputs, body)


def test_what_kaggle_lacks_is_hidden_from_spawned_processes_too(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import subprocess, sys\n"
        "told = subprocess.run([sys.executable, '-c', 'import mypy'], capture_output=True, text=True)\n"
        "assert told.returncode == 1 and 'mypy' in told.stderr\n"
        "import numpy, pandas, cv2, efficientnet\n"
        "assert '.whl' in efficientnet.__file__"
    )
    rehearsed(tmp_path, inputs, body)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("socket.create_connection(('kaggle.invalid', 80), 1)", "getaddrinfo kaggle.invalid"),
        ("socket.socket().connect(('192.0.2.1', 80))", "connect 192.0.2.1"),
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "sendto 192.0.2.1"),
        ("import urllib.request\n    urllib.request.urlopen('http://kaggle.invalid')", "getaddrinfo kaggle.invalid"),
    ],
)
def test_a_module_that_opens_a_socket_fails_even_if_it_swallows_the_error(
    tmp_path: Path, inputs: Inputs, statement: str, told: str
) -> None:
    talker = f"import socket\ntry:\n    {statement}\nexcept OSError:\n    pass\n"
    with pytest.raises(
        RehearsalError, match=rf"reached for the network \(socket\.{told} .*multihead/talker\.py, line \d+"
    ):
        rehearsed(tmp_path, inputs, "import multihead.talker", talker=talker)


def test_loopback_works(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 5).close()"
    )
    rehearsed(tmp_path, inputs, body)


def test_a_network_namespace_keeps_out_what_python_cannot_see(tmp_path: Path, inputs: Inputs) -> None:
    result = rehearsed(
        tmp_path, inputs, "import os\nprint(sorted(os.listdir('/proc/self/net')) and open('/proc/self/net/dev').read())"
    )
    if "namespace with loopback" not in result.network:
        pytest.skip("this machine allows no network namespace")
    interfaces = [line.split(":")[0].strip() for line in log_of(tmp_path).splitlines() if ":" in line]
    assert interfaces == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server:  # the host's loopback is another one
        port = server.getsockname()[1]
        folder = tmp_path / "second"
        folder.mkdir()
        body = f"import socket\nassert socket.socket().connect_ex(('127.0.0.1', {port})) != 0"
        rehearsed(folder, inputs, body)


def test_an_exception_is_a_failure_that_shows_module_and_line(tmp_path: Path, inputs: Inputs) -> None:
    with pytest.raises(RehearsalError, match=r"some_kernel\.py ended with exit code 1: ValueError: wrong") as error:
        rehearsed(tmp_path, inputs, "import multihead.wrong", wrong="\n\nraise ValueError('wrong')\n")
    assert 'src/multihead/wrong.py", line 3' in log_of(tmp_path)
    assert "log.txt" in str(error.value)


def test_a_killed_process_is_a_failure(tmp_path: Path, inputs: Inputs) -> None:
    with pytest.raises(RehearsalError, match="exit code -9"):
        rehearsed(tmp_path, inputs, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


def test_writing_into_the_inputs_is_a_failure(tmp_path: Path, inputs: Inputs) -> None:
    body = "import pathlib, os\nnext(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv')).write_text('changed')"
    with pytest.raises(RehearsalError, match=r"changed its inputs|Read-only file system"):
        rehearsed(tmp_path, inputs, body)


@pytest.mark.parametrize("act", ["(mount / 'cache.npy').write_text('x')", "(mount / 'train.csv').unlink()"])
def test_adding_to_the_inputs_or_taking_from_them_is_a_failure(tmp_path: Path, inputs: Inputs, act: str) -> None:
    body = f"import pathlib, os\nmount = next(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv')).parent\n{act}"
    with pytest.raises(RehearsalError, match=r"changed its inputs|Read-only file system"):
        rehearsed(tmp_path, inputs, body)


def test_without_namespaces_the_same_faults_are_found(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_works", lambda _: False)
    body = "import pathlib, os\nnext(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv')).write_text('changed')"
    with pytest.raises(RehearsalError, match="changed its inputs"):
        rehearsed(tmp_path, inputs, body)
    folder = tmp_path / "second"
    folder.mkdir()
    with pytest.raises(RehearsalError, match=r"connect 192\.0\.2\.1"):
        rehearsed(folder, inputs, "import socket\nsocket.socket().connect(('192.0.2.1', 80))")


def test_a_folder_that_no_rehearsal_made_is_never_emptied(tmp_path: Path, inputs: Inputs) -> None:
    script = script_of(tmp_path, GOOD)
    with pytest.raises(BundlerError, match="data: holds files that no rehearsal made"):
        rehearse(script, inputs, inputs.data)
    assert (inputs.data / "train.csv").exists()
    for _ in range(2):
        rehearse(script, inputs, tmp_path / "root")


def test_a_sandbox_that_cannot_be_set_up_is_a_failure(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "dumps", lambda _: "not json")
    with pytest.raises(RehearsalError, match="the sandbox could not be set up"):
        rehearsed(tmp_path, inputs, GOOD)


def test_what_the_kernel_leaves_running_does_not_hold_the_rehearsal_up(tmp_path: Path, inputs: Inputs) -> None:
    started = time.monotonic()
    rehearsed(tmp_path, inputs, "import subprocess\nsubprocess.Popen(['sleep', '60'])")
    assert time.monotonic() - started < 30


def test_this_machine_s_own_name_may_be_looked_up(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import socket\n"
        "try:\n    socket.gethostbyname(socket.gethostname())\nexcept OSError:\n    pass\n"
        "socket.getfqdn()"
    )
    rehearsed(tmp_path, inputs, body)


def test_an_unknown_form_of_mount_and_missing_folders_are_mistakes(tmp_path: Path, inputs: Inputs) -> None:
    script = script_of(tmp_path, GOOD)
    with pytest.raises(BundlerError, match="'newest' is not known; one of old, new"):
        rehearse(script, inputs, tmp_path / "root", "newest")
    with pytest.raises(BundlerError, match="nowhere: not a folder"):
        rehearse(script, Inputs("c", tmp_path / "nowhere", {}), tmp_path / "root")
    with pytest.raises(BundlerError, match="gone: not a folder to mount as me/weights"):
        rehearse(script, Inputs("c", inputs.data, {"me/weights": tmp_path / "gone"}), tmp_path / "root")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "Submission CSV Not Found"),
        ("row_id,target\na,1\n", "1 rows; sample_submission.csv has 2"),
        ("id,target\na,1\nb,2\n", "header id,target; sample_submission.csv has row_id,target"),
        ("row_id,target\nb,1\na,2\n", r"line 2: b,1; expected a,<class>"),
        ("row_id,target\na,1\nb,\n", r"line 3: b,; expected b,<class>"),
        ("row_id,target\na,1\nb,1.0\n", r"line 3: b,1\.0; expected b,<class>"),
        ("row_id,target\na,1,2\nb,1\n", r"line 2: a,1,2; expected a,<class>"),
    ],
)
def test_a_submission_that_kaggle_would_refuse_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("row_id,target\na,0\nb,0\n")
    if text is not None:
        (tmp_path / "submission.csv").write_text(text)
    with pytest.raises(RehearsalError, match=told):
        check_submission(tmp_path / "submission.csv", sample)


def test_a_good_submission_is_counted(tmp_path: Path) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("row_id,target\na,0\nb,0\n")
    (tmp_path / "submission.csv").write_text("row_id,target\na,7\nb,12\n")
    assert check_submission(tmp_path / "submission.csv", sample) == 2
