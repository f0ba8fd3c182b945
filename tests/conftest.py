import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bundler.kaggle import client
from bundler.metadata import set_owner
from bundler.rehearse.inputs import Inputs

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sample_competition import draw_competition

from multihead.runtime import background
from tests.kaggle_standin import USER, Kaggle, environment, serving
from tests.project_copy import house, owned, quick  # noqa: F401 - fixtures, for the tests of the preflight

# How long an example takes says nothing where other tests run beside it
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

HOUSE = Path(__file__).resolve().parent.parent
PYTHONPATH = os.pathsep.join([str(HOUSE), str(HOUSE / "src")])  # for a process that imports bundler
CLIENTS = {"2.2.5": Path(sys.executable), "2.2.4": Path(sys.executable).parent.parent / "old-client" / "bin" / "python"}
SHARED = HOUSE.parent / "shared" / "data" / "make_competition.py"


@pytest.fixture(autouse=True)
def nothing_reads_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for the threads that a test leaves behind, before its patches are undone: commands end the process then.

    The end of pytest would abort it in the middle of polars, and the next test would share its time with them.
    """
    yield
    latest = time.monotonic() + 60
    while background.is_busy() and time.monotonic() < latest:
        wait(list(background._begun), 1)
    assert not background.is_busy(), "a thread reads on"


@pytest.fixture(autouse=True)
def devices_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what a command in this process has set for its network: Keras's precision, the environment."""
    for name in ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if not os.environ[name]:
            monkeypatch.delenv(name)
    keras = sys.modules.get("keras")
    before = keras.config.dtype_policy() if keras else "float32"
    yield
    if keras := sys.modules.get("keras"):
        keras.config.set_dtype_policy(before)


def clone(folder: Path) -> Path:
    """Copy what building and the dry run need, as a fresh clone has it."""
    for part in ("src", "bundler", "kernel", "dataset_meta", "demo"):
        ignore = shutil.ignore_patterns("__pycache__", "*_kernel.*", "*.h5", "*manifest.json")
        shutil.copytree(HOUSE / part, folder / part, ignore=ignore)
    shutil.copy(HOUSE / "build_kernel.py", folder)
    return folder


@pytest.fixture
def owned_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone with an owner, which the commands work in; its kernels are not built yet."""
    folder = clone(tmp_path / "house")
    set_owner(folder, USER)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def handler_of_python() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=CLIENTS)
def either(request: pytest.FixtureRequest, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> Kaggle:
    """A Kaggle that is asked by the client in requirements.txt, and by the one before it."""
    python = CLIENTS[request.param]
    if not python.exists():
        pytest.skip(f"no kaggle client {request.param} in {python.parent.parent.name}; make test puts one there")
    monkeypatch.setattr(client, "PYTHON", str(python))
    return kaggle


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A Kaggle that holds nothing yet; the client is led there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0)
    with serving() as server:
        for name, value in environment(server.server_port, home).items():
            monkeypatch.setenv(name, value)
        yield server.kaggle


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn competition: 4 train shards of 48 images, 4 test shards of 3."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_competition(folder, rows=48, test_rows=3, seed=0)
    return folder


@pytest.fixture(scope="session")
def bengali(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images as the competition serves them: 400 train images, its 12 public test images."""
    if not SHARED.is_file():
        pytest.skip("the competition's images are not on this machine")
    folder = tmp_path_factory.mktemp("bengali")
    command = [sys.executable, str(SHARED), "bengali", str(folder), "--rows-per-shard", "100"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    data, weights = tmp_path / "data", tmp_path / "weights"
    data.mkdir()
    weights.mkdir()
    (data / "train.csv").write_text("data")
    (data / "truth.csv").write_text("secret")
    (weights / "manifest.json").write_text("weights")
    return Inputs("some-competition", data, {"somebody/some-weights": weights})
