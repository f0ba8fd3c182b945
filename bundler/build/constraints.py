"""constraints.txt: Kaggle's versions of the packages that a kernel imports and of all that those need.

.venv/bin/python -m bundler.build.constraints     write it anew: after refresh-image, or where a package is added

The metadata of the installed packages says what they need, so this one module needs more than the standard library.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.build.image import UNKNOWN, kaggle_machine, read_image
from bundler.errors import BundlerError
from bundler.text_files import text_of
from multihead.config import UserError

REQUIREMENTS = ("requirements.txt", "requirements-no-deps.txt")
FILE = "constraints.txt"
# the client is a tool for home, which no kernel imports; of the certificate authorities, only the newest list is safe
UNPINNED = {"kaggle", "certifi"}
ONE_IS_INSTALLED = {"opencv-python", "opencv-python-headless"}  # the second where there is no desktop; both need numpy
HEADER = """\
# Kaggle's versions of the kernels' packages and of all that those need; the requirements files apply them.
# Written by `python -m bundler.build.constraints` from kaggle_image.toml and the metadata of the installed packages.
"""


def constraints(house: Path) -> str:
    """Return the content of constraints.txt: NAME==VERSION of each distribution that a kernel's imports can reach.

    house: the folder of the requirements files and of bundler/. A local version (1.0+cu12) loses its local part, which
    no index has. A distribution that Kaggle's image lacks has no line, unless its wheel travels in the script. Raises
    BundlerError where one that is needed is not installed.
    """
    image = read_image(house / "bundler" / "build" / "kaggle_image.toml")
    wheels = dict(wheel.name.split("-")[:2] for wheel in (house / "bundler" / "build" / "wheels").glob("*.whl"))
    known = {_normal(name): version.partition("+")[0] for name, version in (image.versions | wheels).items()}
    names = _closure(house, image.python) - UNPINNED
    return HEADER + "".join(f"{name}=={known[name]}\n" for name in sorted(names) if known.get(name, UNKNOWN) != UNKNOWN)


def _closure(house: Path, python: str) -> set[str]:
    """Return the names of the required distributions and of all that they need on Kaggle's machine."""
    machine = kaggle_machine(python)
    text = "".join(text_of(house / name) + "\n" for name in REQUIREMENTS)
    roots = {_normal(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    waiting = {(root, frozenset[str]()) for root in roots - UNPINNED}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        seen.add((name, extras))
        for needed in map(Requirement, _needs(name)):
            marker = needed.marker
            if not marker or any(marker.evaluate(machine | {"extra": extra}) for extra in ("", *extras)):
                waiting |= {(_normal(needed.name), frozenset(needed.extras))} - seen
    return {name for name, _ in seen}


def _normal(name: str) -> str:
    return str(canonicalize_name(name))


def _needs(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError as error:
        if name in ONE_IS_INSTALLED:
            return []
        raise BundlerError(
            f"{FILE}: {name} is not installed; expected all that `make .venv/ready-dev` installs, and its Python"
        ) from error


def main() -> int:
    """Write constraints.txt; return 0, or 2 after one line about a mistake."""
    house = Path(__file__).resolve().parents[2]
    try:
        text = constraints(house)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (house / FILE).write_text(text, encoding="utf-8")
    print(f"{FILE}: {text.count('==')} versions")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
