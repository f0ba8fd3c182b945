"""What Kaggle's image can import (kaggle_image.toml): read off what one line prints in a kernel; how old that is."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from bundler.errors import BundlerError
from bundler.text_files import text_of
from multihead.config import read_toml
from multihead.config.checking import STRICT, Expected, validated

OLD_DAYS = 90  # Kaggle brings a new image every few weeks
UNKNOWN = "unknown"  # a version
LINE = (  # run in a kernel, it prints a Listing as JSON
    "import datetime, importlib.metadata as m, json, pkgutil, sys; print(json.dumps({"
    '"listed": str(datetime.date.today()), "python": "%d.%d" % sys.version_info[:2], '
    '"versions": {d.name: d.version for d in [*m.distributions()][::-1] if d.name}, '
    '"imports": m.packages_distributions(), '
    '"modules": [x.name for x in pkgutil.iter_modules() if x.name not in sys.stdlib_module_names]}))'
)
EXPECTED = "expected what the line of build_kernel.py refresh-image prints in a kernel"
HEADER = """\
# What a script can import in Kaggle's GPU image; `build_kernel.py refresh-image` says how to renew it.
# distributions: each one's version, and the names that it is imported by. extra: names that belong to none.
"""
Python = Annotated[str, Field(pattern=r"^\d+\.\d+$"), Expected("a version such as 3.12")]


@dataclass(frozen=True, config=STRICT)
class Image:
    """Kaggle's image, as its file has it.

    listed: on which day. distributions: version and import names of each. extra: import names of no distribution.
    """

    listed: date
    python: Python
    extra: list[str]
    distributions: dict[str, Annotated[list[str], Field(min_length=1)]]

    @property
    def names(self) -> frozenset[str]:
        """All names that a script can import, the standard library's apart."""
        return frozenset(self.extra).union(*(names for _, *names in self.distributions.values()))

    @property
    def versions(self) -> dict[str, str]:
        """The version of each distribution; UNKNOWN for some."""
        return {distribution: version for distribution, (version, *_) in self.distributions.items()}


@dataclass(frozen=True, config=STRICT)
class Listing:
    """What LINE prints: versions by distribution, distributions by import name, and modules, but the library's.

    A distribution that lacks its metadata has no name or no version.
    """

    listed: Annotated[date, Field(strict=False)]
    python: Python
    versions: dict[str, str | None]
    imports: dict[str, list[str | None]]
    modules: list[str]

    def image(self) -> Image:
        """Return the image that is listed here."""
        importable = {name for name in (*self.imports, *self.modules) if name.isidentifier() and name.isascii()}
        distributions = {
            name: [self.versions[name] or UNKNOWN, *sorted(n for n in importable if name in self.imports.get(n, []))]
            for name in sorted(self.versions, key=lambda name: (name.lower(), name))
        }
        named = {name for _, *names in distributions.values() for name in names}
        extra = sorted(name for name in importable - named if not name.startswith("_"))  # as Python's own tests do
        return Image(self.listed, self.python, extra, distributions)


def refresh_image(listing: Path, image: Path) -> str:
    """Write the image file anew from what LINE printed, and return what it holds, in words.

    Raises BundlerError, with the image file left as it was, for what LINE does not print, or what lists less than half
    as many distributions as the file has.
    """
    renewed, before = read_listing(listing).image(), read_image(image)
    found, expected = len(renewed.distributions), len(before.distributions)
    if found < expected / 2:
        raise BundlerError(
            f"{listing}: {found} distributions, where {image.name} has {expected}; expected those of a Kaggle kernel"
        )
    if renewed.listed > date.today():
        raise BundlerError(f"{listing}: listed on {renewed.listed}, a day that is yet to come")
    image.write_text(HEADER + _toml(renewed), encoding="utf-8")
    changed = sum(
        before.versions.get(name, UNKNOWN) not in (UNKNOWN, version) for name, version in renewed.versions.items()
    )
    words = f"{len(renewed.names)} import names of {found} distributions, listed on {renewed.listed}"
    python = f"Python {renewed.python}" + (f", before {before.python}" if renewed.python != before.python else "")
    return f"{words} (before: {before.listed}); {python}; {changed} in another version"


def read_listing(path: Path) -> Listing:
    """Return what LINE printed; UserError for anything else."""
    try:
        printed = json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise BundlerError(f"{path}: not JSON; {EXPECTED}") from error
    if not isinstance(printed, dict):
        raise BundlerError(f"{path}: no JSON object; {EXPECTED}")
    return validated(Listing, printed, str(path))


def read_image(path: Path) -> Image:
    """Return what an image file says; UserError where it cannot be read."""
    return validated(Image, read_toml(path), str(path))


def kaggle_machine(python: str) -> dict[str, str]:
    """Return what markers (PEP 508) compare with on Kaggle's machine. python: such as 3.12."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def age_in_words(image: Path, today: date) -> str:
    """Return how old an image file is where it is too old to be relied on, or else nothing."""
    days = (today - read_image(image).listed).days
    words = f"Kaggle's image as listed {days} days ago; build_kernel.py refresh-image says how to renew it"
    return words if days >= OLD_DAYS else ""


def _toml(image: Image) -> str:
    rows = (f"{_key(name)} = {json.dumps(row)}\n" for name, row in image.distributions.items())
    extra = "".join(f"    {json.dumps(name)},\n" for name in image.extra)
    head = f"listed = {image.listed}\npython = {json.dumps(image.python)}\nextra = [\n{extra}]\n"
    return f"{head}\n[distributions]\n{''.join(rows)}"


def _key(name: str) -> str:
    """Return a name as TOML writes a key."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
