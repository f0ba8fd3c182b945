"""Rehearsals of small kernels that do one thing each, in a package of their own."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import BundlerError, RehearsalError
from bundler.rehearse import isolation, links, watched_run
from bundler.rehearse.inputs import Inputs, mount_point
from bundler.rehearse.isolated import Spec
from bundler.rehearse.links import ends_of_links, few_to_mount, walk
from bundler.rehearse.outputs import check_outputs, check_submission
from bundler.rehearse.projection import check_growth, check_time, growth_per_file, read_stages
from bundler.rehearse.rehearsal import Rehearsed, rehearse
from multihead.config import EVENTS_VARIABLE
from tests.rehearsing import GOOD, log_of, rehearsed, script_of
from tests.test_projection import HIDDEN


def ends_outside(folders: list[Path]) -> list[str]:
    return ends_of_links(walk(folders), folders)


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
    assert log_of(tmp_path).splitlines() == result.ended.log.splitlines() == [str(expected), "True [] Batch"]
    assert [f.name for f in result.working.iterdir()] == ["left.txt"]
    assert "left.txt 1 bytes" in str(result)


def test_home_is_out_of_sight(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    body = "import os, pathlib\nassert 'SECRET' not in os.environ\nassert not os.listdir(pathlib.Path.home())"
    rehearsed(tmp_path, inputs, body)


def test_what_kaggle_lacks_cannot_be_imported_though_it_is_installed_here(tmp_path: Path, inputs: Inputs) -> None:
    __import__("mypy")
    body = "import importlib\nimportlib.import_module('my' + 'py')"
    message = r"exit code 1: ModuleNotFoundError: No module named 'mypy' \(src/multihead/cli\.py, line 3\); .*_image"
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body)


def test_what_kaggle_has_and_this_machine_has_not_is_told(tmp_path: Path, inputs: Inputs) -> None:
    body = "from kaggle_secrets import UserSecretsClient"
    message = r"No module named 'kaggle_secrets' \(src/multihead/cli\.py, line 2\); Kaggle has it, \S+ has not"
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body)


def test_scikit_learn_scores_where_only_what_kaggle_has_can_be_imported(tmp_path: Path, inputs: Inputs) -> None:
    body = """
import numpy as np
from sklearn import metrics
truth, sure = np.array([0, 1, 1, 0]), np.array([0.1, 0.4, 0.8, 0.3])
print(metrics.roc_auc_score(truth, sure), metrics.average_precision_score(truth, sure))
print(metrics.f1_score(truth, truth), metrics.cohen_kappa_score(truth, truth, weights="quadratic"))
print(metrics.log_loss(truth, truth) < 1e-9, metrics.root_mean_squared_error(truth, truth))"""
    rehearsed(tmp_path, inputs, body)
    assert log_of(tmp_path).splitlines() == ["1.0 1.0", "1.0 1.0", "True 0.0"]


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
    ("statement", "call"),
    [
        ("socket.create_connection(('kaggle.invalid', 80), 1)", "getaddrinfo kaggle.invalid"),
        ("socket.socket().connect(('192.0.2.1', 80))", "connect 192.0.2.1"),
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "sendto 192.0.2.1"),
        ("import urllib.request\n    urllib.request.urlopen('http://kaggle.invalid')", "getaddrinfo kaggle.invalid"),
    ],
)
def test_a_module_that_opens_a_socket_fails_even_if_it_swallows_the_error(
    tmp_path: Path, inputs: Inputs, statement: str, call: str
) -> None:
    talker = f"import socket\ntry:\n    {statement}\nexcept OSError:\n    pass\n"
    with pytest.raises(
        RehearsalError, match=rf"reached for the network \(socket\.{call} .*multihead/talker\.py, line \d+"
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
    if "namespace with loopback" not in result.offline:
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


@pytest.mark.parametrize(
    ("kills", "why"),
    [([3, 4], "this machine's memory was full"), ([3, 3], "as the OOM killer"), ([None] * 2, "as the")],
)
def test_a_kill_is_told_as_one(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, kills: list[int | None], why: str
) -> None:
    monkeypatch.setattr(watched_run, "oom_kills", iter(kills).__next__)
    body = "import os, signal\nprint('begun')\nos.kill(os.getpid(), signal.SIGKILL)"
    message = rf"was killed \(SIGKILL, {why}.*at second [\d.]+, line 1 of its log \(begun\); its peak was [\d.]+ GB"
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body)


HOLD = "kept = bytearray(b'x') * 400_000_000\ntime.sleep(60)"


@pytest.mark.parametrize(
    "where",
    [
        HOLD,
        f"subprocess.run([sys.executable, '-c', {'import time' + chr(10) + HOLD!r}])",
        f"subprocess.Popen([sys.executable, '-c', {'import time' + chr(10) + HOLD!r}], start_new_session=True).wait()",
    ],
    ids=["itself", "its child", "its child in a session of its own"],
)
def test_a_kernel_with_more_memory_than_kaggle_has_is_ended_at_once(tmp_path: Path, inputs: Inputs, where: str) -> None:
    body = f"import subprocess, sys, time\nprint('reading')\n{where}"
    started = time.monotonic()
    message = (
        r"some_kernel\.py had 0\.\d+ GB of memory at second [\d.]+, line 1 of its log \(reading\); "
        r"at most 0\.3 GB \(--memory\)"
    )
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body, memory_gb=0.3)
    while [path for path in Path("/proc").glob("[0-9]*/cmdline") if "400_000_000" in _text_of(path)]:
        assert time.monotonic() - started < 30


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_the_peak_is_that_of_all_processes_together(tmp_path: Path, inputs: Inputs) -> None:
    hold = "kept = bytearray(b'x') * 100_000_000; import time; time.sleep(1.5)"
    body = f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {hold!r}])\n{hold}\nchild.wait()"
    result = rehearsed(tmp_path, inputs, body)
    assert 200e6 < result.ended.peak_bytes < 400e6
    assert "peak memory     0.2" in str(result)
    assert "GB (all its processes" in str(result)


def test_a_path_of_home_that_the_script_names_is_found_before_it_runs(tmp_path: Path, inputs: Inputs) -> None:
    body = f"DATA = {str(Path.home() / 'data')!r}\nprint('ran')"
    message = rf"^src/multihead/cli\.py, line 2: names {Path.home()}, a folder of this machine only \(DATA = "
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body)
    assert not (tmp_path / "root").exists()


HOMES = "import pathlib\nhome = pathlib.Path('/'.join(['', *{parts!r}]))\n"


def test_inputs_rehearsal_and_python_may_lie_at_home(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("linked")
    (inputs.data / "linked.csv").symlink_to(elsewhere)
    body = (
        "import os, pathlib, tempfile\n"
        "files = [f for f in pathlib.Path(os.environ['KAGGLE_ROOT'], 'input').rglob('*') if f.is_file()]\n"
        "assert sorted(f.read_text() for f in files) == ['data', 'linked', 'weights']\n"
        "assert [f.resolve().read_text() for f in files]\n"
        "tempfile.TemporaryFile().close()\n"
        "pathlib.Path(os.environ['KAGGLE_ROOT']).parent.joinpath('not there').exists()\n"
        "import numpy, pandas, polars, cv2"
    )
    rehearsed(tmp_path, inputs, body)


def test_what_is_nowhere_is_only_not_found(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    parts = (tmp_path / "person" / ".config").parts[1:]
    rehearsed(tmp_path, inputs, f"{HOMES.format(parts=parts)}try:\n    home.read_text()\nexcept OSError:\n    pass")


TELL = (  # as the package's own runtime/events.py does
    "import json, os\n"
    "def tell(event, **values):\n"
    f"    with open(os.environ['{EVENTS_VARIABLE}'], 'a') as file:\n"
    "        print(json.dumps({'event': event, **values}), file=file)\n"
)
STAGES = (
    f"{TELL}tell('stages', read_images=16000, files=4, read_seconds=SECONDS, network_images=16000, network_seconds=9.0,"
    " device='', images_per_second=0.0)"
)
LEAK = (
    f"{TELL}import time\nkept = []\n"
    "for file in range(4):\n"
    "    kept.append(bytearray(b'x') * BYTES)\n"
    "    tell('file predicted')\n"
    "    time.sleep(1)"
)


def check_memory(result: Rehearsed) -> None:
    stages = read_stages(result.events, HIDDEN)
    check_growth(growth_per_file(result.ended.file_bytes, stages), stages)


@pytest.mark.parametrize(
    ("body", "check", "message"),
    [
        (
            "open('submission.csv', 'w').close()\nopen('crops.npy', 'w').close()\nimport os; os.mkdir('cache')",
            lambda result: check_outputs(result.working, ["submission.csv"]),
            r"^cache, crops\.npy in the working folder, where everything .*; expected only submission\.csv$",
        ),
        (
            STAGES.replace("SECONDS", "800"),
            lambda result: check_time(read_stages(result.events, HIDDEN), 115),
            r"^reading and cropping is too slow: 20 images a second, so 176 minutes .*; time_budget_minutes is 115$",
        ),
        (
            LEAK.replace("BYTES", "4000 * 137 * 236") + "\n" + STAGES.replace("SECONDS", "1"),
            check_memory,
            r"^memory grows with the rows: by 0\.1[23] GB with each file of 4,000 images; is a file's content kept\?$",
        ),
        (
            "open('submission.csv', 'w').write('row_id,target\\nTest_1,0\\nTest_0,0\\n')",
            lambda result: check_submission(
                result.working / "submission.csv", result.working.parent.parent / "sample.csv"
            ),
            r"submission\.csv, line 2: Test_1,0; expected Test_0,<class>$",
        ),
    ],
    ids=["files left", "slow reading", "memory that grows", "a submission that does not match"],
)
def test_what_a_run_left_and_said_is_checked(
    tmp_path: Path, inputs: Inputs, body: str, check: Callable[[Rehearsed], object], message: str
) -> None:
    (tmp_path / "sample.csv").write_text("row_id,target\nTest_0,0\nTest_1,0\n")
    result = rehearsed(tmp_path, inputs, body)
    with pytest.raises(RehearsalError, match=message):
        check(result)


def test_a_kernel_without_any_of_these_faults_passes(tmp_path: Path, inputs: Inputs) -> None:
    (tmp_path / "sample.csv").write_text("row_id,target\nTest_0,0\n")
    body = (
        f"{LEAK.replace('BYTES', '0')}\n{STAGES.replace('SECONDS', '1')}\n"
        "open('submission.csv', 'w').write('row_id,target\\nTest_0,0\\n')"
    )
    result = rehearsed(tmp_path, inputs, body)
    check_outputs(result.working, ["submission.csv"])
    check_time(read_stages(result.events, HIDDEN), 115)
    assert len(result.ended.file_bytes) == 4
    growth = growth_per_file(result.ended.file_bytes, read_stages(result.events, HIDDEN))
    assert growth is not None
    assert abs(growth) < 5e6
    check_memory(result)
    assert check_submission(result.working / "submission.csv", tmp_path / "sample.csv") == 1


def test_a_line_printed_in_parts_is_one_line(
    tmp_path: Path, inputs: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsed(
        tmp_path,
        inputs,
        "import time\nprint('one', end='', flush=True)\ntime.sleep(0.5)\nprint(' line')\nprint('x', end='')",
    )
    assert "  one line\n  x\n" in capsys.readouterr().out


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
    monkeypatch.setattr(isolation, "_works", lambda _: False)
    body = "import pathlib, os\nnext(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv')).write_text('changed')"
    with pytest.raises(RehearsalError, match="changed its inputs"):
        rehearsed(tmp_path, inputs, body)
    folder = tmp_path / "second"
    folder.mkdir()
    with pytest.raises(RehearsalError, match=r"connect 192\.0\.2\.1"):
        rehearsed(folder, inputs, "import socket\nsocket.socket().connect(('192.0.2.1', 80))")


def test_a_folder_that_no_rehearsal_made_is_never_emptied(tmp_path: Path, inputs: Inputs) -> None:
    script = script_of(tmp_path, GOOD)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").touch()
    with pytest.raises(BundlerError, match="other: holds files that no rehearsal made"):
        rehearse(script, inputs, other)
    assert (other / "mine.txt").exists()
    for _ in range(2):
        rehearse(script, inputs, tmp_path / "root")


@pytest.mark.parametrize(
    "form",
    [
        "itself",
        "above it",
        "in it",
        "a link to it",
        "a link in it",
        "in a linked folder",
        "a relay in it",
        "named by it",
    ],
)
def test_a_rehearsal_never_empties_what_it_reads(tmp_path: Path, inputs: Inputs, form: str) -> None:
    script, out = script_of(tmp_path, GOOD), tmp_path / "elsewhere" / "out"
    rehearse(script, inputs, out)
    kept = out / "working" / "manifest.json"
    kept.write_text("weights of an earlier rehearsal")
    weights = {
        "itself": out / "working",
        "above it": out / "working",
        "in it": out.parent,
        "a link to it": tmp_path / "link",
        "a link in it": tmp_path / "links",
        "in a linked folder": tmp_path / "links",
        "a relay in it": tmp_path / "relayed",
        "named by it": out / "elsewhere",
    }[form]
    for relay in (out / "relay", out / "elsewhere"):  # what is emptied holds a link that the input goes through
        relay.symlink_to(tmp_path / "weights")
    (tmp_path / "relayed").mkdir()
    (tmp_path / "relayed" / "all").symlink_to(out / "relay")
    (tmp_path / "link").symlink_to(out / "working")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(out.parent if form == "in a linked folder" else kept)
    root = out / "working" if form == "itself" else out
    (root / ".rehearsal").touch()
    reason = "is written to, but lies in" if form.startswith("in ") else "is emptied, but holds"
    with pytest.raises(BundlerError, match=f"^out: {root} {reason} ") as error:
        rehearse(script, Inputs("c", inputs.data, {"me/weights": weights}), root)
    assert "\n" not in str(error.value)
    assert kept.read_text() == "weights of an earlier rehearsal"


def link_photographs(folder: Path, data: Path) -> Path:
    """Keep a photograph elsewhere, and link it into the data in every way; return it."""
    elsewhere = folder / "elsewhere"
    (elsewhere / "deeper").mkdir(parents=True)
    photograph = elsewhere / "deeper" / "1.jpg"
    photograph.write_text("photograph")
    (folder / "relay").symlink_to(elsewhere / "deeper")
    (data / "file.jpg").symlink_to(photograph)
    (data / "folder").symlink_to(elsewhere)
    (data / "chain").symlink_to(folder / "relay")
    (data / "sub").mkdir()
    (data / "sub" / "nested.jpg").symlink_to("../../elsewhere/deeper/1.jpg")
    return photograph


def can_mount(folder: Path) -> bool:
    """Tell whether this machine allows a run file systems of its own."""
    spec = Spec(network=True, mounts=True, processes=False, root=str(folder), working=str(folder))
    return isolation.READ_ONLY in isolation.strictest(spec, folder / "spec.json").words


LINKED = ["file.jpg", "folder/deeper/1.jpg", "chain/1.jpg", "sub/nested.jpg"]
HARMS = {
    "write": "path.write_text('changed')",
    "change as if nothing had been": "before = path.stat()\nfile = path.resolve()\nfile.write_text('photograpH')\n"
    "os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))",
    "delete": "path.resolve().unlink()",
    "replace": "new = path.resolve().with_name('new')\nnew.write_text('photograph')\nnew.replace(path.resolve())",
    "allow all": "path.chmod(0o666)",
}


@pytest.mark.parametrize("has_namespaces", [True, False])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
@pytest.mark.parametrize("link", LINKED)
def test_what_a_link_leads_to_is_kept_or_its_change_is_found(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, link: str, harm: str, has_namespaces: bool
) -> None:
    if not has_namespaces:
        monkeypatch.setattr(isolation, "_works", lambda _: False)
    photograph = link_photographs(tmp_path, inputs.data)
    body = (
        f"import os, pathlib\npath = next(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv')).parent / {link!r}"
    )
    attempt = harm.replace("\n", "\n    ")
    with pytest.raises(RehearsalError, match=r"changed its inputs \(.*\), or something|Read-only file system") as error:
        rehearsed(
            tmp_path, inputs, f"{body}\ntry:\n    {attempt}\nexcept OSError as error:\n    raise SystemExit(error)"
        )
    if "Read-only" in str(error.value):
        assert photograph.read_text() == "photograph"
    elif has_namespaces and can_mount(tmp_path):
        raise AssertionError("it was changed, though it could have been mounted read-only")


def test_many_links_need_few_mounts_and_the_folder_above_them_may_be_the_rehearsal_s(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photographs").mkdir()
    for number in range(300):
        photograph = tmp_path / "photographs" / f"{number}.jpg"
        photograph.touch()
        (inputs.data / photograph.name).symlink_to(photograph)
    loose = tmp_path / "loose.jpg"
    loose.touch()
    (inputs.data / "loose.jpg").symlink_to(loose)
    assert few_to_mount(ends_outside(inputs.folders)) == [str(loose), str(tmp_path / "photographs")]
    monkeypatch.setattr(links, "MANY", 1)
    assert few_to_mount(ends_outside(inputs.folders)) == [str(tmp_path)]
    body = (
        "import os, pathlib\nroot = pathlib.Path(os.environ['KAGGLE_ROOT'])\n"
        "assert len(list(root.rglob('*.jpg'))) == 301\n"
        "(root / 'working' / 'left.txt').write_text('x')\n"
        "(root.parent / 'loose.jpg').write_text('changed')"
    )
    with pytest.raises(RehearsalError, match=r"changed its inputs|Read-only file system"):
        rehearsed(tmp_path, inputs, body)
    assert (tmp_path / "root" / "working" / "left.txt").exists()


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
    both = {"me/weights": inputs.data, "you/weights": inputs.data}
    with pytest.raises(BundlerError, match=r"^you/weights: would be mounted at weights, another source at weights as"):
        rehearse(script, Inputs("c", inputs.data, both), tmp_path / "root", "old")


def test_no_source_is_mounted_into_another_which_is_a_person_s_folder(tmp_path: Path, inputs: Inputs) -> None:
    (inputs.data / "keras").mkdir()
    model = {("model_sources", "me/letters/Keras/b1/2"): tmp_path / "weights"}
    nested = Inputs("letters", inputs.data, {}, model)
    with pytest.raises(BundlerError, match=r"would be mounted at letters/keras/b1/2, another source at letters as"):
        rehearse(script_of(tmp_path, GOOD), nested, tmp_path / "root", "old")
    assert list((inputs.data / "keras").iterdir()) == []
    assert mount_point("model_sources", "me/letters/TensorFlow2/b1/2", "new") == "models/me/letters/tensorflow2/b1/2"


def test_a_link_that_leads_nowhere_or_in_a_circle_is_passed_over(tmp_path: Path, inputs: Inputs) -> None:
    (inputs.data / "sub").mkdir()
    for folder in (inputs.data, inputs.data / "sub"):
        (folder / "circle").symlink_to("circle")
    (inputs.data / "sub" / "no folder").symlink_to(inputs.data / "train.csv" / "x")
    (inputs.data / "sub" / "unrelated").mkdir()
    rehearsed(tmp_path, inputs, GOOD)
    assert ends_outside([inputs.data]) == []


def test_very_many_links_open_neither_home_nor_what_a_process_writes_to(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MANY", 5)
    home = tmp_path / "person"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "secret").write_text("x")
    for number in range(9):
        (home / f"{number}.jpg").touch()
        (inputs.data / f"{number}.jpg").symlink_to(home / f"{number}.jpg")
    assert few_to_mount(ends_outside([inputs.data])) == [str(home / f"{number}.jpg") for number in range(9)]
    body = f"{HOMES.format(parts=home.parts[1:])}(home / '3.jpg').read_text()\n(home / 'secret').read_text()"
    with pytest.raises(RehearsalError, match=r"reached for a path of this machine only \(.*secret"):
        rehearsed(tmp_path, inputs, body)


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("old", ["another/1", "letters/keras/b1/2/1", "some-competition/1", "train/1", "weights/1"]),
        (
            "new",
            [
                "competitions/another/1",
                "competitions/some-competition/1",
                "datasets/me/weights/1",
                "models/me/letters/keras/b1/2/1",
                "notebooks/me/train/1",
            ],
        ),
    ],
)
def test_every_kind_of_source_is_mounted_where_kaggle_does(tmp_path: Path, mounts: str, expected: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1").touch()
    others = {
        ("competition_sources", "another"): folder,
        ("dataset_sources", "me/weights/7"): folder,
        ("kernel_sources", "me/train"): folder,
        ("model_sources", "me/letters/keras/b1/2"): folder,
    }
    body = (
        "import os, pathlib\nroot = pathlib.Path(os.environ['KAGGLE_ROOT'], 'input')\n"
        "print(sorted(str(f.relative_to(root)) for f in root.rglob('*') if f.is_file()))"
    )
    rehearsed(tmp_path, Inputs("some-competition", folder, {}, others), body, mounts)
    assert log_of(tmp_path).strip() == str(expected)
