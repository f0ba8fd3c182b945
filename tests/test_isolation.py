"""What a rehearsed kernel can do to the machine of the person who rehearses it, at each level that a machine allows."""

import io
import itertools
import json
import os
import re
import subprocess
import sys
import time
import uuid
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import BundlerError, RehearsalError
from bundler.rehearse import isolated, isolation, sandbox
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.isolated import CANNOT, Spec
from bundler.rehearse.isolation import HIDDEN, OFFLINE, READ_ONLY, strictest
from bundler.rehearse.links import links_in
from bundler.rehearse.rehearsal import rehearse
from tests.conftest import HOUSE, PYTHONPATH
from tests.rehearsing import log_of, rehearsed, script_of

LEVELS = ["processes", "mounts", "network", "parent", "nothing"]  # the order in which they are tried
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="followed where there is /proc")

Allow = Callable[[str], None]


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Return what lets this machine allow one level and those below, and skips the test where it does not."""
    works = isolation._works

    def only(level: str) -> None:
        def pretend() -> None:
            tries = itertools.count()
            monkeypatch.setattr(
                isolation, "_works", lambda command: next(tries) >= LEVELS.index(level) and works(command)
            )

        pretend()
        spec = Spec(network=True, mounts=True, processes=True, root=str(tmp_path), working=str(tmp_path))
        found = strictest(spec, tmp_path / "probe.json")
        is_there = {
            "processes": found.is_supervised,
            "mounts": READ_ONLY in found.words,
            "network": OFFLINE in found.words,
            "parent": bool(found.command),
            "nothing": True,
        }
        if not is_there[level]:
            pytest.skip("this machine does not allow it")
        pretend()

    return only


def running(mark: str) -> list[str]:
    """Return the ids of the processes that have the mark in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in file.read_text() and "Z" not in file.with_name("stat").read_text().rpartition(")")[2].split()[0]:
                found.append(file.parent.name)
        except OSError:
            pass
    return found


DAEMONS = {
    "in the background": "os.system('setsid sh -c \"sleep 60; : {mark}\" &')",
    "in a session of its own": "subprocess.Popen(['sh', '-c', 'sleep 60; : {mark}'], start_new_session=True)",
    "twice forked": (
        "if not os.fork():\n    os.setsid()\n    if not os.fork():\n"
        "        os.execvp('sh', ['sh', '-c', 'sleep 60; : {mark}'])\n    os._exit(0)"
    ),
    "deaf": "subprocess.Popen([sys.executable, '-c', 'import signal, time; [signal.signal(s, signal.SIG_IGN) for s in "
    "(1, 2, 15)]; time.sleep(60) # {mark}'], start_new_session=True)",
}


@ON_LINUX
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("start", DAEMONS.values(), ids=DAEMONS.keys())
def test_nothing_outlives_a_rehearsal(tmp_path: Path, inputs: Inputs, allow: Allow, level: str, start: str) -> None:
    allow(level)
    mark = uuid.uuid4().hex
    wait = (
        "def is_there():\n"
        "    for file in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        try:\n"
        f"            if file.parent.name != str(os.getpid()) and {mark!r} in file.read_text():\n"
        "                return True\n"
        "        except OSError:\n            pass\n"
        "while not is_there():\n    time.sleep(0.01)"
    )
    rehearsed(tmp_path, inputs, f"import os, pathlib, subprocess, sys, time\n{start.format(mark=mark)}\n{wait}")
    assert running(mark) == []


@ON_LINUX
@pytest.mark.parametrize("level", ["processes", "parent"])
def test_nothing_outlives_a_rehearsal_that_is_killed(tmp_path: Path, inputs: Inputs, allow: Allow, level: str) -> None:
    allow(level)
    mark = uuid.uuid4().hex
    script = script_of(tmp_path, f"import time\nprint('begun', flush=True)\ntime.sleep(60)  # {mark}")
    code = (
        "import itertools, pathlib, sys\nfrom bundler.rehearse import isolation, rehearsal\n"
        "from bundler.rehearse.inputs import Inputs\n"
        f"works, tries = isolation._works, itertools.count()\n"
        f"isolation._works = lambda command: next(tries) >= {LEVELS.index(level)} and works(command)\n"
        "script, data, root = map(pathlib.Path, sys.argv[1:])\n"
        "rehearsal.rehearse(script, Inputs('c', data, {}), root)"
    )
    command = [sys.executable, "-c", code, str(script), str(inputs.data), str(tmp_path / mark)]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as rehearsing:
        assert rehearsing.stdout
        assert "begun" in rehearsing.stdout.readline()
        assert len(running(mark)) > 1
        rehearsing.kill()
    latest = time.monotonic() + 10
    while running(mark) and time.monotonic() < latest:
        time.sleep(0.05)
    assert running(mark) == []


HOLD = "import time; kept = bytearray(b'x') * 300_000_000; time.sleep(30)"
MEMORY = {
    "a daemon": f"subprocess.Popen([sys.executable, '-c', {HOLD!r}], start_new_session=True)",
    "a file in /dev/shm": (
        "file = open('/dev/shm/{mark}', 'wb')\n[file.write(million) for _ in range(300)]\nfile.close()"
    ),
    "shared memory that is closed": (
        "from multiprocessing import shared_memory, resource_tracker\n"
        "block = shared_memory.SharedMemory('{mark}', create=True, size=300_000_000)\n"
        "[block.buf.__setitem__(slice(i * 10**6, i * 10**6 + 10**6), million) for i in range(300)]\nblock.close()"
    ),
    "shared memory that is mapped": (
        "from multiprocessing import shared_memory\n"
        "block = shared_memory.SharedMemory('{mark}', create=True, size=300_000_000)\n"
        "[block.buf.__setitem__(slice(i * 10**6, i * 10**6 + 10**6), million) for i in range(300)]"
    ),
    "memfd_create": "handle = os.memfd_create('x')\n[os.write(handle, million) for _ in range(300)]",
    "a mapping without a file": (
        "import mmap\nkept = mmap.mmap(-1, 300_000_000)\n[kept.write(million) for _ in range(300)]"
    ),
}


@ON_LINUX
@pytest.mark.parametrize("level", ["processes", "network"])
@pytest.mark.parametrize("use", MEMORY.values(), ids=MEMORY.keys())
def test_all_memory_counts(tmp_path: Path, inputs: Inputs, allow: Allow, level: str, use: str) -> None:
    allow(level)
    mark = uuid.uuid4().hex
    body = f"import os, subprocess, sys, time\nmillion = b'x' * 10**6\n{use.format(mark=mark)}\ntime.sleep(30)"
    shared = Path("/dev/shm", mark)
    try:
        with pytest.raises(RehearsalError, match=r"had 0\.[23]\d GB of memory at second .*; at most 0\.25 GB"):
            rehearsed(tmp_path, inputs, body, memory_gb=0.25)
        assert not (level == "processes" and shared.exists())
    finally:
        shared.unlink(missing_ok=True)


@ON_LINUX
@pytest.mark.parametrize("level", ["processes", "network"])
def test_what_others_keep_in_shared_memory_is_left_alone(
    tmp_path: Path, inputs: Inputs, allow: Allow, level: str
) -> None:
    allow(level)
    shared = Path("/dev/shm", uuid.uuid4().hex)
    shared.write_bytes(b"x" * 300_000_000)
    try:
        result = rehearsed(tmp_path, inputs, "import time\ntime.sleep(0.5)", memory_gb=0.25)
        assert result.ended.peak_bytes < 100e6
        assert shared.stat().st_size == 300_000_000
    finally:
        shared.unlink()


@ON_LINUX
def test_what_is_only_mapped_from_a_file_is_no_memory(tmp_path: Path, inputs: Inputs) -> None:
    (inputs.data / "crops.npy").write_bytes(b"x" * 300_000_000)
    body = (
        "import mmap, os, pathlib, time\n"
        "file = next(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('crops.npy')).open('rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "print(sum(mapped[::4096]))\ntime.sleep(0.5)"
    )
    assert rehearsed(tmp_path, inputs, body, memory_gb=0.25).ended.peak_bytes < 100e6


HARMS = {
    "move into it": "shutil.move('made.csv', home / 'new.csv')",
    "rename into it": "os.rename('made.csv', home / 'new.csv')",
    "move out of it": "shutil.move(home / 'data.csv', 'data.csv')",
    "link into it": "os.symlink('made.csv', home / 'new.csv')",
    "link out of it": "os.link(home / 'data.csv', 'data.csv')",
    "truncate": "os.truncate(home / 'data.csv', 0)",
    "delete": "os.remove(home / 'data.csv')",
    "delete a folder": "shutil.rmtree(home / 'folder')",
    "remove a folder": "os.rmdir(home / 'empty')",
    "change rights": "os.chmod(home / 'data.csv', 0)",
    "change times": "os.utime(home / 'data.csv', (0, 0))",
    "a database": "import sqlite3; sqlite3.connect(home / 'new.db').execute('create table t (x)')",
    "read": "(home / 'data.csv').read_text()",
    "write": "(home / 'data.csv').write_text('changed')",
    "append": "(home / 'data.csv').open('a').write('changed')",
    "make": "(home / 'new.csv').write_text('x')",
    "make a folder": "(home / 'new').mkdir()",
    "list": "os.listdir(home)",
    "glob": "list(home.glob('*'))",
    "pandas": "import pandas; pandas.read_csv(home / 'data.csv')",
    "a child": "subprocess.run([sys.executable, '-c', f'open({str(home / \"data.csv\")!r})'])",
    "a link in the working folder": "os.symlink(home / 'data.csv', 'link'); open('link').read()",
    "two slashes": "open('/' + str(home / 'data.csv')).read()",
    "by /proc": "open('/proc/self/root' + str(home / 'data.csv')).read()",
    "by a relative path": "open(os.path.relpath(home / 'data.csv')).read()",
    "by the working folder's links": ("os.symlink(home.parent / 'data', 'lk'); open('lk/../person/data.csv').read()"),
    "by /proc and the working folder": "open('/proc/self/cwd/../../person/data.csv').read()",
    "a database by its address": "import sqlite3; sqlite3.connect(f'file:{home}/data.csv', uri=True)",
    "start a program": "subprocess.run([home / 'folder' / 'file'])",
    "a name that is no text": "open(os.fsencode(home) + b'/\\xff.csv')",
    "a name of two lines": "open(home / 'two\\nlines.csv')",
    "without a handle left": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); (home / 'data.csv').read_text()"
    ),
    "with its handles closed": (
        "os.closerange(3, 200); file = open('sub0.csv', 'w'); open('sub1.csv', 'w'); (home / 'data.csv').read_text()"
    ),
    "by a folder's handle": "os.remove('person/data.csv', dir_fd=os.open(home.parent, os.O_RDONLY))",
}


def person_s(folder: Path) -> Path:
    home = folder / "person"
    (home / "folder").mkdir(parents=True)
    (home / "empty").mkdir()
    (home / "folder" / "file").touch()
    (home / "data.csv").write_text("a\n1\n")
    (home / "two\nlines.csv").touch()
    Path(os.fsdecode(os.fsencode(home) + b"/\xff.csv")).touch()
    return home


def all_of(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def reaching(home: Path, act: str) -> str:
    """Return a module that does something at home and swallows what comes of it."""
    return (
        "import os, pathlib, shutil, subprocess, sys\nopen('made.csv', 'w').close()\n"
        f"home = pathlib.Path('/'.join(['', *{home.parts[1:]!r}]))\ntry:\n    {act}\n"
        "except Exception as error:\n    print(error)\nimport time\ntime.sleep(30)\n"
    )


@pytest.mark.parametrize("level", ["processes", "mounts", "nothing"])
@pytest.mark.parametrize("act", HARMS.values(), ids=HARMS.keys())
def test_home_is_neither_read_nor_changed_and_whatever_tries_ends_the_run(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, allow: Allow, level: str, act: str
) -> None:
    allow(level)
    home = person_s(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    before, started = all_of(home), time.monotonic()
    place = r"[^ ]*/person[^ ]*( lines\.csv)?( in src/multihead/reader\.py, line 5)?"
    message = (
        rf"^some_kernel\.py reached for a path of this machine only \({place}\); Kaggle has no such file, at second "
    )
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, "import multihead.reader", reader=reaching(home, act))
    assert time.monotonic() - started < 10
    assert all_of(home) == before


UNSEEN = {
    "another program": "print(subprocess.run(['cat', home / 'data.csv'], capture_output=True, text=True))",
    "another program that writes": "subprocess.run(['touch', home / 'new'])",
    "an isolated Python": (
        "subprocess.run([sys.executable, '-I', '-c', f'print(open({str(home / \"data.csv\")!r}).read())'])"
    ),
    "a library's own reader": "import polars; print(polars.read_csv(str(home / 'data.csv')))",
    "a library's own writer": "import cv2, numpy; cv2.imwrite(str(home / 'new.png'), numpy.zeros((2, 2)))",
    "a look whether it is there": "print('found' if (home / 'data.csv').exists() else 'not found')",
    "a pipe": "os.mkfifo(home / 'pipe')",
    "a socket": "import socket; socket.socket(socket.AF_UNIX).bind(str(home / 's'))",
    "a database that another attaches": (
        "import sqlite3; sqlite3.connect(':memory:').execute(f'attach \"{home}/y.db\" as y')"
    ),
    "a file below a folder's handle": (
        "print(os.read(os.open('person/data.csv', 0, dir_fd=os.open(home.parent, 0)), 99))"
    ),
}


@pytest.mark.parametrize("act", UNSEEN.values(), ids=UNSEEN.keys())
def test_what_python_does_not_see_finds_no_home_where_that_can_be_hidden(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, allow: Allow, act: str
) -> None:
    allow("mounts")
    home = person_s(tmp_path)
    (home / "data.csv").write_text("column\nfound\n")
    monkeypatch.setenv("HOME", str(home))
    before = all_of(home)
    reader = reaching(home, act).replace("time.sleep(30)", "")
    result = rehearsed(tmp_path, inputs, "import multihead.reader", reader=reader)
    assert HIDDEN in result.offline
    assert "\nfound" not in result.ended.log
    assert all_of(home) == before


def test_inputs_at_home_are_found_over_every_link_on_the_way(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = person_s(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    (home / "disk").mkdir()
    (home / "disk" / "1.jpg").write_text("photograph")
    (home / "short").symlink_to("disk")
    (home / "relay.jpg").symlink_to(home / "short" / "1.jpg")
    (inputs.data / "over a relay.jpg").symlink_to(home / "relay.jpg")
    (inputs.data / "over a folder").symlink_to(home / "short")
    (inputs.data / "sub").mkdir()
    (inputs.data / "sub" / "relative.jpg").symlink_to("../../person/short/../short/1.jpg")
    body = (
        "import os, pathlib\nroot = pathlib.Path(os.environ['KAGGLE_ROOT'], 'input')\n"
        "places = [pathlib.Path(f, n) for f, _, names in os.walk(root, followlinks=True) for n in names]\n"
        "print(sorted(place.name for place in places if place.read_text() == 'photograph'))"
    )
    result = rehearsed(tmp_path, inputs, body)
    assert result.ended.log.strip() == "['1.jpg', 'over a relay.jpg', 'relative.jpg']"


def test_no_link_is_followed_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert links_in(str(tmp_path / "a" / "x")).keys() >= {str(tmp_path / "a"), str(tmp_path / "b")}


@pytest.mark.parametrize("level", ["processes", "mounts"])
@pytest.mark.parametrize(
    "act",
    [
        "umount {data}",
        "mount -o remount,bind,rw {data}",
        "umount {home}",
        "unshare --user --map-root-user --mount umount {home}",
    ],
)
def test_a_mount_cannot_be_taken_back(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, allow: Allow, level: str, act: str
) -> None:
    allow(level)
    home = person_s(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    parts = act.format(data=inputs.data, home="@").split()
    body = (
        "import os, pathlib, subprocess\n"
        f"home = '/'.join(['', *{home.parts[1:]!r}])\n"
        f"print('failed' if subprocess.run([part.replace('@', home) for part in {parts!r}]).returncode else 'done')\n"
        "file = next(pathlib.Path(os.environ['KAGGLE_ROOT']).rglob('train.csv'))\n"
        "try:\n    file.write_text('changed')\nexcept OSError as error:\n    print(error.strerror)"
    )
    assert rehearsed(tmp_path, inputs, body).ended.log.splitlines()[-2:] == ["failed", "Read-only file system"]
    assert (inputs.data / "train.csv").read_text() == "data"


OFFLINE_ACTS = {
    "by name": "socket.create_connection(('kaggle.invalid', 80), 1)",
    "a name for an address": "socket.getnameinfo(('192.0.2.1', 80), 0)",
    "without its environment": "os.environ.clear() or socket.create_connection(('192.0.2.1', 80), 1)",
    "in a child": "subprocess.run([sys.executable, '-c', 'import socket; socket.gethostbyname(\"kaggle.invalid\")'])",
    "in a fork": "os.fork() or socket.gethostbyname('kaggle.invalid')",
}


@pytest.mark.parametrize("level", ["processes", "nothing"])
@pytest.mark.parametrize("act", OFFLINE_ACTS.values(), ids=OFFLINE_ACTS.keys())
def test_what_reaches_for_the_network_ends_the_run_at_once(
    tmp_path: Path, inputs: Inputs, allow: Allow, level: str, act: str
) -> None:
    allow(level)
    talker = (
        f"import os, socket, subprocess, sys, time\nprint(time.time(), flush=True)\n"
        f"try:\n    {act}\nexcept OSError:\n    pass\ntime.sleep(30)"
    )
    with pytest.raises(RehearsalError, match=r"^some_kernel\.py reached for the network \(socket\..*, at second "):
        rehearsed(tmp_path, inputs, "import multihead.talker", talker=talker)
    assert time.time() - float(log_of(tmp_path).split()[0]) < 10


UNREPORTED = {
    "another program": "subprocess.run(['getent', 'hosts', 'kaggle.com'], check=True)",
    "an isolated Python": "subprocess.run([sys.executable, '-I', '-c', {code!r}], check=True)",
    "without an environment": "subprocess.run([sys.executable, '-c', {code!r}], env={{}}, check=True)",
}


@pytest.mark.parametrize("act", UNREPORTED.values(), ids=UNREPORTED.keys())
def test_what_python_does_not_see_is_offline_all_the_same(
    tmp_path: Path, inputs: Inputs, allow: Allow, act: str
) -> None:
    allow("network")
    code = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    body = (
        f"import subprocess, sys\ntry:\n    {act.format(code=code)}\n"
        "except subprocess.CalledProcessError:\n    print('no network')"
    )
    assert rehearsed(tmp_path, inputs, body).ended.log.splitlines()[-1] == "no network"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", r"was ended by SIGTERM at second .*, line 1 of its log \(begun\)"),
        ("os.abort()", "was ended by SIGABRT"),
        ("ctypes.string_at(0)", "was ended by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"was killed \(SIGKILL"),
        ("os._exit(7)", r"ended with exit code 7: begun \(all of it"),
        ("raise ValueError('bad \\udcff')", r"exit code 1: ValueError: bad .udcff \("),
        ("raise ValueError('x' * 10**6)", r"exit code 1: ValueError: x{280,300}\.\.\. \("),
        ("raise ValueError('\\n\\nfirst')", r"exit code 1: ValueError: first \("),
        ("sys.exit('no data')", r"ended with exit code 1: no data \("),
    ],
    ids=["SIGTERM", "SIGABRT", "SIGSEGV", "SIGKILL", "_exit", "bad text", "long text", "late text", "exit"],
)
def test_an_end_is_told_by_its_name(
    tmp_path: Path, inputs: Inputs, allow: Allow, level: str, act: str, message: str
) -> None:
    allow(level)
    body = f"import ctypes, os, signal, sys\nprint('begun', flush=True)\n{act}"
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body)


RAISES = {
    "at exit more is said": (
        "import atexit\natexit.register(print, 'bye, all fine')\nraise ValueError('wrong')",
        r"ValueError: wrong \(src/multihead/bad\.py, line 3\) \(all",
    ),
    "a group": (
        "raise ExceptionGroup('two', [ValueError('first'), KeyError('second')])",
        r"ExceptionGroup: two \(2 sub-exceptions\): ValueError: first \(src/multihead/bad\.py, line 1\)",
    ),
    "from another": (
        "try:\n    {}['x']\nexcept KeyError as error:\n    raise RuntimeError('no column x') from error",
        r"RuntimeError: no column x \(src/multihead/bad\.py, line 4\)",
    ),
    "of several lines": ("raise ValueError('first\\nsecond\\nthird')", r"exit code 1: ValueError: first second \("),
    "in a library": (
        "import json\njson.loads('{')",
        r"JSONDecodeError: Expecting .* \(src/multihead/bad\.py, line 2\)",
    ),
    "bad syntax": ("exec('1 +')", r"SyntaxError: invalid syntax \(src/multihead/bad\.py, line 1\)"),
    "after a handled one": (
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n"
        "raise SystemExit('error: no data')",
        r"exit code 1: error: no data \(all",
    ),
}


@pytest.mark.parametrize(("source", "message"), RAISES.values(), ids=RAISES.keys())
def test_the_exception_is_told_and_not_what_was_said_last(
    tmp_path: Path, inputs: Inputs, source: str, message: str
) -> None:
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, "import multihead.bad", bad=source)


def test_a_run_without_an_end_is_ended(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nprint('waiting', flush=True)"
    )
    message = r"had not ended after 0\.05 minutes \(--timeout\), at second \d+\.\d, line 1 of its log \(waiting\)$"
    with pytest.raises(RehearsalError, match=message):
        rehearsed(tmp_path, inputs, body, minutes=0.05)


REMOVED = {
    "working": "os.chdir('/'); shutil.rmtree(root / 'working')",
    "tmp": "shutil.rmtree(root / 'tmp')",
    "log": "(root / 'log.txt').unlink()",
    "input": "shutil.rmtree(root / 'input')",
    "all": "shutil.rmtree(root, ignore_errors=True)",
}


@pytest.mark.parametrize("level", ["processes", "nothing"])
@pytest.mark.parametrize("part", REMOVED)
def test_whatever_of_its_own_a_kernel_removes_there_is_one_line(
    tmp_path: Path, inputs: Inputs, allow: Allow, level: str, part: str
) -> None:
    allow(level)
    body = f"import os, pathlib, shutil\nroot = pathlib.Path(os.environ['KAGGLE_ROOT'])\n{REMOVED[part]}\nprint('done')"
    if part in ("tmp", "log"):
        assert rehearsed(tmp_path, inputs, body).ended.log.strip() == "done"
    else:
        with pytest.raises(RehearsalError, match=r"^some_kernel\.py (removed|changed|ended) .*$"):
            rehearsed(tmp_path, inputs, body)
    assert (inputs.data / "train.csv").read_text() == "data"


FINDER = """
import importlib.machinery, importlib.util, pathlib, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        place = pathlib.Path(__file__).with_name("elsewhere") / f"{name}.py"
        return importlib.util.spec_from_file_location(name, place) if place.is_file() else None
sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize("line", ["{elsewhere}", "import finder"], ids=["a folder in sys.path", "a finder"])
def test_what_is_installed_by_a_link_to_home_is_not_found(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """As pip install -e does, in either of its ways."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = next((tmp_path / "venv").rglob("site-packages"))
    elsewhere = packages / "elsewhere" if "finder" in line else tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").touch()
    (packages / "finder.py").write_text(FINDER)
    (packages / "mine.pth").write_text(line.format(elsewhere=elsewhere))
    subprocess.run([python, "-c", "import mine"], check=True)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RehearsalError, match="No module named 'mine'"):
        rehearsed(tmp_path, inputs, "import importlib\nimportlib.import_module('mi' + 'ne')")


MISSED = {
    "metadata": "import importlib.metadata\nprint('found', importlib.metadata.version('mypy'))",
    "an isolated Python": "subprocess.run([sys.executable, '-I', '-c', 'import mypy; print(\"found\")'])",
    "modules": "import pkgutil\nprint(*('found' for module in pkgutil.iter_modules() if module.name == 'mypy'))",
    "other folders": "print((root.parent / 'elsewhere.txt').read_text())",
    "the truth": "print((next(root.rglob('train.csv')).resolve().parent / 'truth.csv').read_text())",
}


@pytest.mark.parametrize("act", MISSED.values(), ids=MISSED.keys())
def test_what_the_table_says_is_missed(tmp_path: Path, inputs: Inputs, act: str) -> None:
    (tmp_path / "elsewhere.txt").write_text("found")
    (inputs.data / "truth.csv").write_text("found")
    body = f"import os, pathlib, subprocess, sys\nroot = pathlib.Path(os.environ['KAGGLE_ROOT'])\n{act}"
    assert "found" in rehearsed(tmp_path, inputs, body).ended.log


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python lacks it too")
def test_a_module_that_kaggle_s_python_has_no_more_is_not_there(tmp_path: Path, inputs: Inputs) -> None:
    with pytest.raises(RehearsalError, match="No module named 'imp'"):
        rehearsed(tmp_path, inputs, "import importlib\nimportlib.import_module('im' + 'p')")


@ON_LINUX
def test_what_cannot_be_set_up_is_one_line(tmp_path: Path) -> None:
    spec = Spec(network=True, mounts=True, processes=True, root=str(tmp_path / "nowhere"), working=str(tmp_path))
    (tmp_path / "spec.json").write_text(json.dumps(spec._asdict()))
    command = [sys.executable, "-I", "-S", str(isolated.__file__), str(tmp_path / "spec.json"), "true"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == CANNOT
    assert ended.stderr.startswith("isolated: ")
    assert ended.stderr.count("\n") == 1


def test_the_page_on_the_rehearsal_names_tests_that_there_are() -> None:
    named = re.findall(r"`(test_\w+)`", (HOUSE / "docs" / "rehearsal.md").read_text(encoding="utf-8"))
    sources = "".join(file.read_text(encoding="utf-8") for file in (HOUSE / "tests").glob("test_*.py"))
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in sources] == []


INNOCENT = {
    "signals to its group": (
        "import os, signal\nfor number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):\n"
        "    signal.signal(number, signal.SIG_IGN)\n    os.killpg(0, number)"
    ),
    "setuptools": "import setuptools, pkg_resources",
    "loopback by its other names": (
        "import socket\nserver = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "port = server.getsockname()[1]\n"
        "for host in ('::ffff:127.0.0.1', '127.0.0.1', '::1', '127.1'):\n"
        "    socket.create_connection((host, port), 5).close()\n"
        "for host in ('LOCALHOST', 'localhost.', socket.gethostname().upper()):\n"
        "    try:\n        socket.gethostbyname(host)\n    except OSError:\n        pass"
    ),
    "sockets of the file system": (
        "import os, socket\nserver = socket.socket(socket.AF_UNIX)\nserver.bind(os.environ['TMPDIR'] + '/s')\n"
        "server.listen()\nsocket.socket(socket.AF_UNIX).connect(server.getsockname())"
    ),
    "letters of any script": "print('é বাং')",
}


@pytest.mark.parametrize("level", ["processes", "nothing"])
@pytest.mark.parametrize("act", INNOCENT.values(), ids=INNOCENT.keys())
def test_what_runs_on_kaggle_runs_here(tmp_path: Path, inputs: Inputs, allow: Allow, level: str, act: str) -> None:
    allow(level)
    rehearsed(tmp_path, inputs, act)


def test_letters_that_the_terminal_cannot_show_are_replaced(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))
    assert rehearsed(tmp_path, inputs, "print('বাং')").ended.log == "বাং\n"
    sys.stdout.flush()
    assert shown.getvalue() == b"  ???\n"
    monkeypatch.setattr(sys, "stdout", None)  # as where it was closed
    again = tmp_path / "again"
    again.mkdir()
    script = script_of(again, "print('x')")
    assert rehearse(script, inputs, tmp_path / "root").ended.log == "x\n"


@ON_LINUX
def test_what_forked_processes_share_counts_once_though_they_end(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import os, time\nkept = bytearray(b'x') * 200_000_000\nfor _ in range(8):\n"
        "    children = []\n    for number in range(8):\n        pid = os.fork()\n        if not pid:\n"
        "            time.sleep(0.2 + number / 100)\n            os._exit(0)\n        children.append(pid)\n"
        "    for child in children:\n        os.waitpid(child, 0)"
    )
    assert 200e6 < rehearsed(tmp_path, inputs, body).ended.peak_bytes < 260e6


def test_a_folder_in_which_the_sandbox_could_not_be_found_is_refused(tmp_path: Path, inputs: Inputs) -> None:
    script = script_of(tmp_path, "print('x')")
    with pytest.raises(BundlerError, match=r"col:on/root: holds ':', which parts folders"):
        rehearse(script, inputs, tmp_path / "col:on" / "root")


def test_without_its_sandbox_a_run_is_no_rehearsal(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "__file__", os.devnull)
    with pytest.raises(RehearsalError, match="ran, but the sandbox was not set up"):
        rehearsed(tmp_path, inputs, "print('x')")


def test_a_home_that_inputs_hold_is_not_said_to_be_hidden(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(inputs.data))
    assert HIDDEN not in rehearsed(tmp_path, inputs, "print('x')").offline
