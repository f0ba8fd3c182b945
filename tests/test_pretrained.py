import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import keras
import pytest
from keras.src import applications
from keras.src.utils import file_utils

from bundler.cli import main
from bundler.commands import weights
from bundler.errors import BundlerError
from bundler.kaggle.pretrained import KERAS_FILES, KINDS, Pretrained, fetch, published
from bundler.repository import Repository
from multihead.config.backbones import APPLICATIONS
from tests.conftest import clone

CONTENT = bytes(range(256)) * 9000


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT as /whole.h5, half of it as /cut.h5, and nothing else; counts what is asked for."""

    requested: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requested.append(self.path)
        if self.path not in ("/whole.h5", "/cut.h5"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole.h5" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "*")
    Server.requested.clear()
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_is_fetched_once_and_is_the_one_published(tmp_path: Path, address: str, kind: str) -> None:
    file = Pretrained("b0.h5", f"{address}/whole.h5", hashlib.new(kind, CONTENT).hexdigest())
    for _ in range(2):
        assert fetch(file, tmp_path).read_bytes() == CONTENT
    (tmp_path / "plain").touch()
    assert (tmp_path / "b0.h5").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert Server.requested == ["/whole.h5"]


@pytest.mark.parametrize(
    ("path", "checksum", "message"),
    [
        ("/whole.h5", "0" * 64, r"/whole\.h5: not the file that was published, its sha256 is another$"),
        ("/cut.h5", hashlib.sha256(CONTENT).hexdigest(), r"/cut\.h5: .*IncompleteRead"),
        ("/gone.h5", "0" * 64, "Not Found"),
    ],
)
def test_what_is_not_the_published_file_leaves_the_one_before(
    tmp_path: Path, address: str, path: str, checksum: str, message: str
) -> None:
    (tmp_path / "b0.h5").write_bytes(b"before")
    with pytest.raises(BundlerError, match=message):
        fetch(Pretrained("b0.h5", address + path, checksum), tmp_path)
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("b0.h5", b"before")]


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundlerError, match=r"127\.0\.0\.1:9/b0\.h5: .*refused"):
        fetch(Pretrained("b0.h5", "http://127.0.0.1:9/b0.h5", "0" * 64), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_backbone_s_file_is_known(kind: str) -> None:
    for number in range(8):
        file = published(kind, f"b{number}")
        assert file.address.startswith("https://")
        assert file.name.startswith(f"efficientnet-b{number}_")
        assert file.name.endswith("notop.h5")
        assert len(file.checksum) in (32, 64)


def test_the_files_of_keras_applications_are_those_of_its_source() -> None:
    assert set(KERAS_FILES) == set(APPLICATIONS) - {"mobilenet", "mobilenetv2"}
    sources = "".join(f.read_text(encoding="utf-8") for f in Path(applications.__file__).parent.glob("*.py"))
    for path, checksum in KERAS_FILES.values():
        assert f'"{checksum}"' in sources
        assert f"{path.split('/')[0]}/" in sources


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("vgg19", "resnet50", "resnet50v2", "inceptionv3", "inceptionresnetv2", "xception", "mobilenetv3-small"),
        *("densenet121", "nasnet-mobile", "efficientnetv2-b1", "efficientnetv2-s", "convnext-tiny"),
    ],
)
def test_keras_itself_would_fetch_the_same_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class AskedError(Exception):
        pass

    def get_file(_: str, origin: str, *, file_hash: str, **__: object) -> None:
        raise AskedError(origin, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    file = published("imagenet", name)
    with pytest.raises(AskedError) as raised:
        getattr(keras.applications, APPLICATIONS[name].builder)(include_top=False, input_shape=(224, 224, 3))
    assert raised.value.args == (file.address, file.checksum)


def test_an_unknown_backbone_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch-weights", "noisy-student", "b9"]) == 2
    assert "noisy-student b9: no such weights; one of efficientnet-b0, " in capsys.readouterr().err
    assert main(["fetch-weights", "imagenet", "mobilenet"]) == 2  # whose checksum nobody published
    assert "imagenet mobilenet: no such weights; one of efficientnet-b0, " in capsys.readouterr().err


def test_the_command_says_what_to_write_next(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Pretrained("b0.h5", f"{address}/whole.h5", hashlib.md5(CONTENT).hexdigest())
    monkeypatch.setattr(weights, "published", lambda *_: file)
    assert main(["fetch-weights", "noisy-student", "b0"], Repository(clone(tmp_path / "house"))) == 0
    assert (tmp_path / "house" / "dataset_meta" / "b0.h5").read_bytes() == CONTENT
    printed = capsys.readouterr().out
    assert 'pretrained = "b0.h5"' in printed
    assert "dataset_sources" in printed
