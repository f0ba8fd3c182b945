"""Wheels that lie in the dataset, beside the weights: which ones a kernel's settings ask for, and their installation.

`build_kernel.py fetch-wheels` puts them there. What it fetched, and what for, stands in LOCK_FILE. A script carries
their names and checksums, finds them below input/ when it starts, and installs them before it imports the package.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bundler.build.image import read_image
from bundler.errors import BundlerError
from bundler.metadata import read_metadata
from bundler.repository import DATASET_METADATA
from multihead.config import STARTED_VARIABLE, UserError, read_toml
from multihead.config.manifest import sha256_of

LOCK_FILE = "wheels.toml"
COMMAND = "build_kernel.py fetch-wheels"
HEADER = f"""\
# Wheels in this folder, each with its SHA-256, by the `wheels` of the settings that need them: what Kaggle's image, as
# it was listed that day, lacks. `{COMMAND}` writes this file.
"""


class Lock(NamedTuple):
    """What was fetched: the day of the image's listing, and {file: SHA-256} for each list of requirements."""

    image: date
    fetched: Mapping[tuple[str, ...], Mapping[str, str]]

    @property
    def files(self) -> dict[str, str]:
        """All of its files, each with its SHA-256."""
        return {name: sha256 for files in self.fetched.values() for name, sha256 in files.items()}


def read_lock(dataset: Path) -> Lock | None:
    """Return what was fetched into the dataset's folder, None for nothing; BundlerError for a damaged LOCK_FILE."""
    path = dataset / LOCK_FILE
    if not path.is_file():
        return None
    try:
        read = read_toml(path)
        lock = Lock(read["image"], {key_of(one["wheels"]): one["files"] for one in read["fetched"]})
        is_sound = isinstance(lock.image, date) and all(map(_is_wheel, lock.files.items()))
    except (UserError, KeyError, TypeError, AttributeError) as error:
        raise BundlerError(f"{path}: not what {COMMAND} writes ({error}); remove it, and run that again") from error
    if not is_sound:
        raise BundlerError(f"{path}: expected an image's date, and file names with a SHA-256; remove it, and {COMMAND}")
    return lock


def key_of(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return what a list of requirements is known by, in whatever order it stands."""
    return tuple(sorted(set(requirements)))


def lock_text(lock: Lock) -> str:
    """Return the content of LOCK_FILE."""
    lines = [HEADER, f"image = {lock.image}"]
    for requirements, files in sorted(lock.fetched.items()):
        lines += ["\n[[fetched]]", f"wheels = {json.dumps(requirements, ensure_ascii=False)}", "[fetched.files]"]
        lines += [f"{json.dumps(name)} = {json.dumps(sha256)}" for name, sha256 in sorted(files.items())]
    return "\n".join(lines) + "\n"


class Attached(NamedTuple):
    """The wheels of one kernel: the folder that they lie in and what Kaggle calls it, and the SHA-256 of each file."""

    folder: Path
    dataset: str
    files: Mapping[str, str]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.files]


def attached_wheels(folder: Path, requirements: Sequence[str], image: Path) -> Attached | None:
    """Return the wheels in the dataset's folder for the requirements of a kernel's settings, None where it needs none.

    image: the image file of today. Raises BundlerError where they were not fetched, or for another listing of the
    image, and for a wheel that is not there or not the one that was fetched.
    """
    files = _files_for(folder, requirements, image) if requirements else {}
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise BundlerError(f"{folder / name}: not there, but in {LOCK_FILE}; {COMMAND}")
        if sha256_of(folder / name) != sha256:
            raise BundlerError(f"{folder / name}: not the file that {LOCK_FILE} lists; remove it, and {COMMAND}")
    return Attached(folder, read_metadata(folder / DATASET_METADATA)["id"], files) if files else None


def _files_for(folder: Path, requirements: Sequence[str], image: Path) -> dict[str, str]:
    """Return {file: SHA-256} of what was fetched for some requirements, sorted by name."""
    lock = read_lock(folder)
    if lock is None or key_of(requirements) not in lock.fetched:
        raise BundlerError(f"wheels = {json.dumps(list(requirements))}: not fetched into {folder.name}/; {COMMAND}")
    if lock.image != read_image(image).listed:
        there = f"fetched for Kaggle's image as listed on {lock.image}"
        raise BundlerError(f"{folder / LOCK_FILE}: {there}; {image.name} is of {read_image(image).listed}; {COMMAND}")
    return dict(sorted(lock.fetched[key_of(requirements)].items()))


def fetched_for(folder: Path, requirements: Sequence[str]) -> Mapping[str, str]:
    """Return {file: SHA-256} of what was fetched for some requirements, nothing where that is not known."""
    try:
        lock = read_lock(folder)
    except BundlerError:
        return {}
    return lock.fetched.get(key_of(requirements), {}) if lock else {}


def all_fetched(folder: Path) -> list[Path]:
    """Return the wheels in the dataset's folder that were fetched for any settings, as far as they are there."""
    lock = read_lock(folder)
    return [folder / name for name in sorted(lock.files) if (folder / name).is_file()] if lock else []


def copy_fetched(dataset: Path, other: Path) -> None:
    """Copy what was fetched into a dataset's folder to one that stands in for it, and leave it no other wheels."""
    for old in [*other.glob("*.whl"), other / LOCK_FILE]:
        old.unlink(missing_ok=True)
    wheels = all_fetched(dataset)
    for path in [*wheels, dataset / LOCK_FILE] if wheels else ():
        shutil.copyfile(path, other / path.name)


@contextmanager
def installed(wheels: Sequence[Path]) -> Iterator[Mapping[str, str]]:
    """Give the environment of processes that find the wheels installed, in a folder that is gone afterwards.

    Raises BundlerError where pip does not install them: those for Kaggle's Python need not fit this one.
    """
    if not wheels:
        yield os.environ
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-P", "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--no-index"]
        pip += ["--no-deps", "--no-compile", f"--target={folder}", *map(str, wheels)]
        alone = os.environ | {"PIP_CONFIG_FILE": os.devnull}  # --isolated knows the machine's configuration
        done = subprocess.run(pip, env=alone, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BundlerError((done.stderr.strip().splitlines() or ["pip failed, and said nothing"])[-1])
        others = filter(None, [os.environ.get("PYTHONPATH")])
        yield os.environ | {"PYTHONPATH": os.pathsep.join([folder, *others])}


def modules_in(wheels: Iterable[Path | BinaryIO]) -> dict[str, bytes]:
    """Return {path: content} of what wheels have to import, as it is installed; without the content of binaries.

    Raises BundlerError for a file that is no wheel.
    """
    found = {}
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if not name.endswith("/") and (place := _installed(name)):
                        found[place] = archive.read(name) if name.endswith(".py") else b""
        except (zipfile.BadZipFile, OSError) as error:
            raise BundlerError(f"{wheel}: not a wheel ({error})") from error
    return found


def source_of_install(attached: Attached) -> str:
    """Return the source of install_attached(folder), with the wheels that it installs."""
    lines = "".join(f"    {name!r}: {sha256!r},\n" for name, sha256 in attached.files.items())
    wheels = f"ATTACHED = {{  # wheels in the dataset {attached.dataset}: SHA-256\n{lines}}}\n"
    return wheels + _INSTALL.replace("@DATASET@", attached.dataset).replace("@STARTED@", STARTED_VARIABLE)


def _is_wheel(item: tuple[Any, Any]) -> bool:
    name, sha256 = item
    return bool(re.fullmatch(r"[\w.+!-]+\.whl", name) and re.fullmatch("[0-9a-f]{64}", sha256))


def _installed(name: str) -> str:
    """Return where a file of a wheel lies once it is installed, "" for one that nothing imports."""
    folder, _, rest = name.partition("/")
    if folder.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        return rest if scheme in ("purelib", "platlib") else ""
    return "" if folder.endswith(".dist-info") else name


# Its pip knows neither this machine's settings nor the folder in which the kernel runs
_INSTALL = '''

def install_attached(folder):
    """Install the wheels of ATTACHED into a folder, which is returned; processes that this one starts find it, too."""
    import hashlib
    import os
    import pathlib
    import shutil
    import subprocess
    import sys
    import time

    os.environ.setdefault("@STARTED@", repr(time.monotonic()))  # time budgets count from here
    inputs = pathlib.Path(os.environ.get("KAGGLE_ROOT", "/kaggle"), "input")
    wheels = []
    for name, expected in ATTACHED.items():
        # input/<slug>, input/datasets/<owner>/<slug>, and the working folder of a training at home
        places = [*inputs.glob("*/" + name), *inputs.glob("*/*/*/" + name), pathlib.Path(name)]
        found = [path for path in places if path.is_file()]
        sound = [path for path in found if hashlib.sha256(path.read_bytes()).hexdigest() == expected]
        if not found:
            raise SystemExit(f"error: {name}: in no input; attach the dataset @DATASET@, and push weights before")
        if not sound:
            raise SystemExit(f"error: {found[0]}: not the wheel of this build; push weights, to the dataset @DATASET@")
        wheels.append(str(sound[0]))
    pip = [sys.executable, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir", "install"]
    pip += ["--no-index", "--no-deps", "--no-compile", "--target", str(folder), *wheels]
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    alone = os.environ | {"PIP_CONFIG_FILE": os.devnull}  # --isolated knows the machine's configuration
    done = subprocess.run(pip, env=alone, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        words = ["it said nothing", *done.stderr.split("\\n")]
        why = next((line for line in reversed(words) if line.strip()), "")
        raise SystemExit(f"error: pip did not install the wheels in Python {sys.version.split()[0]}: {why}")
    others = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *others])
    return str(folder)
'''
