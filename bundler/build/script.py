"""A package to one script.

The script is plain text: a header, the settings as they stand in settings.toml, every module and every other file of
the package whole and unchanged, the wheels that Kaggle's image lacks, and a start that unpacks them and calls
multihead.cli.main. The same sources give the same bytes on any machine and any day.
"""

import ast
import base64
import codecs
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bundler.build.attached_wheels import START, Attached, attached_wheels, modules_in, script_part
from bundler.build.imports import PACKAGE, check_imports, read_kaggle
from bundler.build.package_files import read_package
from bundler.errors import BundlerError
from bundler.repository import HERE
from bundler.text_files import text_of
from multihead.config import read_toml
from multihead.config.files import TASK_FILE
from multihead.config.known_tasks import task_text
from multihead.config.settings_file import read_settings

MAX_SCRIPT_BYTES = 1_000_000  # Kaggle's server refuses more, and the client hides why
BASE64_COLUMNS = 100

IMAGE_FILE = Path(__file__).with_name("kaggle_image.toml").resolve()
WHEELS_FOLDER = Path(__file__).with_name("wheels").resolve()


def build_script(
    package: Path, settings: Path, command: str, wheels: Path = WHEELS_FOLDER, dataset: Path = HERE.dataset
) -> bytes:
    """Return the script that runs `command` of the package with these settings.

    package: the folder multihead/. settings: the file; the task that it trains on comes along, and to predict, where
    the manifest of the weights has theirs, a task.toml beside it. wheels: a folder of wheels with their SHA256SUMS and
    licences. dataset: the folder of the wheels that the settings ask for, where the script does not carry them. Raises
    BundlerError for a module that cannot run on Kaggle, a wheel that is not the one listed, or a script that Kaggle
    would refuse for its size.
    """
    of_settings = _settings_parts(settings, command)
    attached = attached_wheels(dataset, read_toml(settings).get("run", {}).get("wheels", ()), IMAGE_FILE)
    files, wheel_bytes = read_importable(package, wheels, attached.paths if attached else ())
    files = {path: data.removeprefix(codecs.BOM_UTF8) if path.endswith(".py") else data for path, data in files.items()}
    parts = {
        "the header": _header(command, files, wheel_bytes, wheels),
        **of_settings,
        **_file_parts(files),
        "wheels": "\nWHEELS = {}  # base64\n",
        **{name: f"\nWHEELS[{name!r}] = {_base64(wheel)}\n" for name, wheel in wheel_bytes.items()},
        "attached wheels": script_part(attached) if attached else "",
        "the start": _start(command, attached),
    }
    script = "".join(parts.values()).encode("utf-8")
    _check_size(script, parts)
    return script


def read_importable(
    package: Path, wheels: Path = WHEELS_FOLDER, attached: Iterable[Path] = ()
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the package's files and the wheels that travel; BundlerError where one could not be imported on Kaggle.

    attached: wheels that do not travel, and which the kernel installs.
    """
    files, wheel_bytes = read_package(package), read_wheels(wheels)
    inside = {name: data for wheel in wheel_bytes.values() for name, data in _files_in(wheel).items()}
    check_imports(files, inside | modules_in(attached), read_kaggle(IMAGE_FILE))
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


def literal(text: str) -> str:
    """Return Python source of an expression that is `text`, readable where a raw string can hold it."""
    for quotes in ("'''", '"""'):
        raw = f"r{quotes}{text}{quotes}"
        if "\r" not in text and "\0" not in text and _evaluates_to(raw, text):
            return raw
    return "(\n" + "".join(f"    {line!r}\n" for line in text.splitlines(keepends=True)) + ")"


def _evaluates_to(source: str, text: str) -> bool:
    try:
        return bool(ast.literal_eval(source) == text)
    except (SyntaxError, ValueError):
        return False


def _files_in(wheel: bytes) -> dict[str, bytes]:
    """Return {path: content} of what a wheel has to import."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = [name for name in archive.namelist() if not name.partition("/")[0].endswith((".dist-info", ".data"))]
        return {name: archive.read(name) for name in names if not name.endswith("/")}


def _header(command: str, files: dict[str, bytes], wheels: dict[str, bytes], folder: Path) -> str:
    lines = [
        f"{PACKAGE} {command}: one self-contained script for a Kaggle kernel without internet.",
        "",
        "Generated by build_kernel.py from src/, bundler/build/wheels/ and the kernel's settings.toml. To change the",
        "code, change it there and run `python build_kernel.py`. Only SETTINGS and TASK are meant to be edited here.",
        "",
        "SHA-256 of what is inside:",
        *(f"  {hashlib.sha256(data).hexdigest()}  {_on_one_line(name)}" for name, data in (files | wheels).items()),
        "",
        "Licences of the wheels:",
        *(f"  {name}: {_licence(folder, name)}" for name in wheels),
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _licence(folder: Path, wheel: str) -> str:
    """Return the copyright line and the licence's name, from the full text beside a wheel."""
    text = text_of(folder / ("-".join(wheel.split("-")[:2]) + ".LICENSE"))
    copyright_line = re.search(r"Copyright .*\d{4}.*", text)
    name = re.search(r"(MIT|Apache|BSD) License", text)
    if not copyright_line or not name:
        raise BundlerError(f"{folder}: the licence of {wheel} names no copyright or no known licence")
    return f"{copyright_line[0].strip()} {name[0]}; full text in the wheel"


def _on_one_line(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _settings_parts(settings: Path, command: str) -> dict[str, str]:
    """Return {name: part} of the settings and of the task."""
    text, task = text_of(settings), "None"
    if command != "predict":  # it takes its task from the manifest
        task = literal(task_text(read_settings(settings).task.name, settings))
    elif settings.with_name(TASK_FILE).is_file():
        task = literal(text_of(settings.with_name(TASK_FILE)))
    return {settings.name: f"\nSETTINGS = {literal(text)}\n", TASK_FILE: f"\nTASK = {task}\n"}


def _file_parts(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return {path: part} of the package's files: modules, then text as it stands, then bytes."""
    texts = {path: text for path, data in files.items() if (text := _as_text(data)) is not None}
    modules = [path for path in texts if path.endswith(".py")]
    return {
        "": "\nMODULES = {}\n",
        **{path: f"\nMODULES[{path!r}] = {literal(texts[path])}\n" for path in modules},
        "texts": "\nTEXTS = {}  # what else lies in the package\n",
        **{path: f"\nTEXTS[{path!r}] = {literal(text)}\n" for path, text in texts.items() if path not in modules},
        "bytes": "\nBYTES = {}  # base64\n",
        **{path: f"\nBYTES[{path!r}] = {_base64(data)}\n" for path, data in files.items() if path not in texts},
    }


def _as_text(data: bytes) -> str | None:
    """Return what bytes say in UTF-8, or None where they are no text."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _base64(data: bytes) -> str:
    text = base64.b64encode(data).decode("ascii")
    lines = (text[i : i + BASE64_COLUMNS] for i in range(0, len(text), BASE64_COLUMNS))
    return '"""\n' + "\n".join(lines) + '\n"""'


def _start(command: str, attached: Attached | None) -> str:
    start = _START.replace("@COMMAND@", repr(command)).replace("@PACKAGE@", PACKAGE)
    return start.replace("    @ATTACHED@\n", f"    {START}\n" if attached else "")


def _check_size(script: bytes, parts: Mapping[str, str]) -> None:
    if len(script) >= MAX_SCRIPT_BYTES:
        sizes = {name: len(part.encode()) for name, part in parts.items()}
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        raise BundlerError(
            f"the script has {len(script):,} bytes, Kaggle takes fewer than {MAX_SCRIPT_BYTES:,}; "
            f"largest: {', '.join(f'{_on_one_line(name)} {sizes[name]:,}' for name in largest)}"
        )


_START = '''

def start():
    """Unpack all that is above outside the working folder, and run the command."""
    import atexit
    import base64
    import os
    import pathlib
    import shutil
    import sys
    import tempfile

    root, owner = pathlib.Path(tempfile.mkdtemp(prefix="@PACKAGE@-")), os.getpid()
    # after a traceback has read its lines; a forked child ends before
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(root, ignore_errors=True))
    files = {"src/" + path: text.encode() for path, text in [*MODULES.items(), *TEXTS.items()]}
    files |= {"src/" + path: base64.b64decode(text) for path, text in BYTES.items()}
    files |= {"wheels/" + name: base64.b64decode(text) for name, text in WHEELS.items()}
    files["settings.toml"] = SETTINGS.encode()
    if TASK:
        files["task.toml"] = TASK.encode()
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    sys.path[:0] = [str(root / "src"), *(str(root / "wheels" / name) for name in WHEELS)]
    @ATTACHED@
    from @PACKAGE@.cli import main

    # a notebook editor has arguments of its own
    arguments = sys.argv[1:] if sys.argv[1:2] and sys.argv[1].startswith("--set") else []
    # Kaggle knows only success and failure
    raise SystemExit(1 if main([@COMMAND@, "--settings", str(root / "settings.toml"), *arguments]) else 0)


if __name__ == "__main__":  # processes that the run spawns import this script again
    start()
'''
