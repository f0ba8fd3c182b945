"""Text as any editor saves it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bundler.errors import BundlerError
from bundler.text_files import text_of
from multihead.config import read_text, read_toml
from multihead.config.known_tasks import read_task
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError

TEXT = "# café ক\n[run]\nepochs = 3\n"
# How editors save a text
FORMS: Mapping[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode(),
    "marked": lambda text: text.encode("utf-8-sig"),
    "little-endian": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "big-endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "returns and feeds": lambda text: text.replace("\n", "\r\n").encode(),
    "returns": lambda text: text.replace("\n", "\r").encode(),
    "by PowerShell": lambda text: b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le"),
}
ODD = {  # no text, and what is said of it
    "of Latin-1": (b"[run]\r\n# caf\xe9\r\n", "byte 0xe9 in line 2"),
    "with old line ends": (b"[run]\r\r# caf\xe9\r", "byte 0xe9 in line 3"),
    "with a mark": (b"\xef\xbb\xbf[run]\n\xff", "byte 0xff in line 2"),
    "cut off": (b"\xff\xfe" + "[run]\n[".encode("utf-16-le")[:-1], "byte 0x5b in line 2"),
}


@pytest.mark.parametrize("form", FORMS)
def test_text_is_read_as_meant_however_an_editor_saved_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "some.txt").write_bytes(FORMS[form](TEXT))
    assert read_text(tmp_path / "some.txt") == TEXT


def test_a_mark_that_is_not_at_the_start_stays(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("a\ufeffb")
    assert read_text(tmp_path / "some.txt") == "a\ufeffb"


@pytest.mark.parametrize("form", ODD)
@pytest.mark.parametrize(
    ("read", "error"),
    [(read_settings, UserError), (read_task, UserError), (text_of, BundlerError)],
)
def test_text_of_another_encoding_is_one_line_that_says_where(
    tmp_path: Path, read: Callable[[Path], object], error: type[Exception], form: str
) -> None:
    path = tmp_path / "some.toml"
    content, where = ODD[form]
    path.write_bytes(content)
    with pytest.raises(error) as raised:
        read(path)
    assert str(raised.value) == f"{path}: not UTF-8 ({where})"


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    with pytest.raises(UserError) as raised:
        read_toml(path)
    assert str(raised.value) == f"{path}: cannot be read (No such file or directory)"
    with pytest.raises(BundlerError) as error:
        text_of(path)
    assert str(error.value) == f"{path}: No such file or directory"
