"""What a kernel is made of, whatever its form: settings, task, the package's files, the wheels that Kaggle lacks."""

import ast
import base64
import codecs
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bundler.build.attached_wheels import Attached, attached_wheels, modules_in
from bundler.build.imports import check_imports, read_kaggle
from bundler.build.package_files import read_package
from bundler.errors import BundlerError
from bundler.text_files import text_of
from multihead.config import read_toml
from multihead.config.files import TASK_FILE
from multihead.config.known_tasks import task_text
from multihead.config.settings_file import read_settings

MAX_BYTES = 1_000_000  # Kaggle's server refuses more, and the client hides why
BASE64_COLUMNS = 100

IMAGE_FILE = Path(__file__).with_name("kaggle_image.toml").resolve()
WHEELS_FOLDER = Path(__file__).with_name("wheels").resolve()


class Parts(NamedTuple):
    """The parts of a kernel that runs `command`.

    settings, task: the texts of both files; the task is None where there is none. files: {path below the package's
    parent: content}. wheels: {file name: content}. licences: of the wheels, in a line each. attached: the wheels that
    do not travel, None where there are none.
    """

    command: str
    settings: str
    task: str | None
    files: Mapping[str, bytes]
    wheels: Mapping[str, bytes]
    licences: Mapping[str, str]
    attached: Attached | None


def read_parts(package: Path, settings: Path, command: str, wheels: Path, dataset: Path) -> Parts:
    """Return the parts of the kernel that runs `command` of the package with these settings.

    package: the folder multihead/. settings: the file; the task that it trains on comes along, and to predict, where
    the manifest of the weights has theirs, a task.toml beside it. wheels: a folder of wheels with their SHA256SUMS and
    licences. dataset: the folder of the wheels that the settings ask for. Raises BundlerError for a module that cannot
    run on Kaggle, or a wheel that is not the one listed.
    """
    text, task = text_of(settings), _task_text(settings, command)
    attached = attached_wheels(dataset, read_toml(settings).get("run", {}).get("wheels", ()), IMAGE_FILE)
    files, wheel_bytes = read_importable(package, wheels, attached.paths if attached else ())
    return Parts(
        command=command,
        settings=text,
        task=task,
        files={path: _without_mark(path, data) for path, data in files.items()},
        wheels=wheel_bytes,
        licences={name: _licence(wheels, name) for name in wheel_bytes},
        attached=attached,
    )


def read_importable(
    package: Path, wheels: Path = WHEELS_FOLDER, attached: Iterable[Path] = ()
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the package's files and the wheels that travel; BundlerError where one could not be imported on Kaggle.

    attached: wheels that do not travel, and which the kernel installs.
    """
    files, wheel_bytes = read_package(package), read_wheels(wheels)
    inside = modules_in(map(io.BytesIO, wheel_bytes.values())) | modules_in(attached)
    check_imports(files, inside, read_kaggle(IMAGE_FILE))
    return files, wheel_bytes


def read_wheels(folder: Path) -> dict[str, bytes]:
    """Return {file name: bytes} of the wheels in SHA256SUMS, each proved to be the one listed there."""
    wheels = {}
    for line in text_of(folder / "SHA256SUMS").splitlines():
        expected, name = line.split()
        try:
            wheels[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BundlerError(f"{folder / name}: listed in SHA256SUMS, but {error.strerror}") from error
        found = hashlib.sha256(wheels[name]).hexdigest()
        if found != expected:
            raise BundlerError(f"{folder / name}: SHA-256 is {found}, SHA256SUMS says {expected}")
    return dict(sorted(wheels.items()))


def check_size(form: str, size: int, sizes: Mapping[str, int]) -> None:
    """Raise BundlerError where Kaggle would refuse a kernel's source for its size.

    form: what the source is. size: the bytes that count. sizes: {name: bytes} of its parts, of which the largest are
    named.
    """
    if size >= MAX_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        raise BundlerError(
            f"the {form} has {size:,} bytes, Kaggle takes fewer than {MAX_BYTES:,}; "
            f"largest: {', '.join(f'{on_one_line(name)} {sizes[name]:,}' for name in largest)}"
        )


def literal(text: str) -> str:
    """Return Python source of an expression that is `text`, readable where a raw string can hold it."""
    for quotes in ("'''", '"""'):
        raw = f"r{quotes}{text}{quotes}"
        if "\r" not in text and "\0" not in text and _evaluates_to(raw, text):
            return raw
    return quoted_lines(text)


def quoted_lines(text: str) -> str:
    """Return Python source of an expression that is `text`, a string a line."""
    return "(\n" + "".join(f"    {line!r}\n" for line in text.splitlines(keepends=True)) + ")"


def base64_literal(data: bytes) -> str:
    """Return Python source of a string that is the base64 of the data."""
    text = base64.b64encode(data).decode("ascii")
    lines = (text[i : i + BASE64_COLUMNS] for i in range(0, len(text), BASE64_COLUMNS))
    return '"""\n' + "\n".join(lines) + '\n"""'


def as_text(data: bytes) -> str | None:
    """Return what bytes say in UTF-8, or None where they are no text."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def on_one_line(name: str) -> str:
    """Return a name as it is, or as a Python literal where it would break or confuse a line."""
    return name if name.isprintable() else repr(name)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _task_text(settings: Path, command: str) -> str | None:
    if command != "predict":  # it takes its task from the manifest
        return task_text(read_settings(settings).task.name, settings)
    beside = settings.with_name(TASK_FILE)
    return text_of(beside) if beside.is_file() else None


def _without_mark(path: str, data: bytes) -> bytes:
    return data.removeprefix(codecs.BOM_UTF8) if path.endswith(".py") else data


def _evaluates_to(source: str, text: str) -> bool:
    try:
        return bool(ast.literal_eval(source) == text)
    except (SyntaxError, ValueError):
        return False


def _licence(folder: Path, wheel: str) -> str:
    """Return the copyright line and the licence's name, from the full text beside a wheel."""
    text = text_of(folder / ("-".join(wheel.split("-")[:2]) + ".LICENSE"))
    copyright_line = re.search(r"Copyright .*\d{4}.*", text)
    name = re.search(r"(MIT|Apache|BSD) License", text)
    if not copyright_line or not name:
        raise BundlerError(f"{folder}: the licence of {wheel} names no copyright or no known licence")
    return f"{copyright_line[0].strip()} {name[0]}; full text in the wheel"
