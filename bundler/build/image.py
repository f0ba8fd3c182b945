"""What Kaggle's image can import (kaggle_image.toml): read off a package listing, and how old that is."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError
from bundler.text_files import text_of
from multihead.config import read_toml

OLD_DAYS = 180  # Kaggle brings a new image every few weeks
UNKNOWN = "unknown"  # version of a distribution that was installed from a file or an address

HEADER = """\
# What a script can import in Kaggle's GPU image: import name = [distribution, version].
# `build_kernel.py refresh-image FREEZE` writes it from a package listing (pip freeze).
#
# A listing does not say what a distribution is imported as. A name in this table stays as long as its distribution
# is listed, so one mended by hand is kept; for a distribution without one it is what an installed one of that name
# provides here, and else a guess: the distribution's name up to a dot, in lower case, with underscores.
"""
OVERRIDES = "\n[overrides]  # distribution = version, where the GPU image differs from the listing; kept"


def refresh_image(listing: Path, image: Path, listed: date | None = None, python: str | None = None) -> str:
    """Write the image file anew from a package listing, and return what it holds, in words.

    listed: the day of the listing; the day on which its file was last changed where it is not given.
    python: the image's Python version; as the image file had it where it is not given.
    Raises BundlerError for a line that names no distribution, a listing less than half as long as the one before, or a
    date to come, with the image file left as it was.
    """
    before = _read(image)
    versions = read_listing(listing) | before["overrides"]
    names = _import_names(versions, before["imports"])
    listed = listed or datetime.fromtimestamp(listing.stat().st_mtime).date()
    distributions = {distribution for distribution, _ in before["imports"].values()}
    if len(versions) < len(distributions) / 2:
        raise BundlerError(
            f"{listing}: {len(versions)} distributions, where {image.name} has {len(distributions)}; "
            "expected what pip freeze prints in a Kaggle notebook"
        )
    if listed > date.today():
        raise BundlerError(f"--date {listed}: is yet to come")
    lines = [
        HEADER,
        f"listed = {listed}",
        f"python = {json.dumps(python or before['python'])}",
        OVERRIDES,
        *(f"{json.dumps(name)} = {json.dumps(version)}" for name, version in before["overrides"].items()),
        "\n[imports]",
        *(
            f"{name} = {json.dumps([names[name], versions[names[name]]])}"
            for name in sorted(names, key=lambda name: (name.lower(), name))
        ),
    ]
    image.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{len(names)} import names of {len(versions)} distributions, listed on {listed}"


def read_listing(listing: Path) -> dict[str, str]:
    """Return {distribution: version} of a listing as pip freeze prints it, NAME==VERSION or NAME @ ADDRESS a line.

    An editable install says what it is only with #egg=NAME; without, it is passed over.
    """
    versions = {}
    for number, line in enumerate(map(str.strip, text_of(listing).splitlines()), 1):
        if not line or line.startswith("#") or (line.startswith("-e ") and "#egg=" not in line):
            continue
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*)\s*(?:={2,3}\s*([\w.!+-]+)|@\s*\S+)", line) or re.fullmatch(
            r"-e\s+\S+#egg=([A-Za-z0-9][\w.-]*)()\S*", line
        )
        if not found:
            raise BundlerError(f"{listing}, line {number}: {line!r}; expected NAME==VERSION, as pip freeze prints it")
        versions[found[1]] = found[2] or UNKNOWN
    if not versions:
        raise BundlerError(f"{listing}: names no distribution")
    return versions


def image_versions(image: Path) -> tuple[str, dict[str, str]]:
    """Return the Python version of an image file, and {distribution: version}."""
    read = _read(image)
    return read["python"], dict(read["imports"].values())


def image_listed(image: Path) -> date:
    """Return the day of the listing behind an image file."""
    listed: date = _read(image)["listed"]
    return listed


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
    """Return how old the listing behind an image file is, as a warning where it is too old to be relied on."""
    days = (today - _read(image)["listed"]).days
    words = f"Kaggle's image as listed {days} days ago"
    return words if days <= OLD_DAYS else f"warning: {words}; build_kernel.py refresh-image FREEZE renews it"


def _import_names(versions: Mapping[str, str], before: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return {import name: distribution}; a name that several claim goes to the surest, then to the first of them."""
    known = [(name, distribution) for name, (distribution, _) in before.items()]
    installed = [
        (name, distribution)
        for name, distributions in packages_distributions().items()
        for distribution in distributions
    ]
    guessed = [(_normal(distribution.partition(".")[0]), distribution) for distribution in versions]
    names: dict[str, str] = {}
    unnamed = sorted(versions)
    for pairs in (known, installed, guessed):
        source = _by_distribution(pairs)
        for distribution in unnamed:
            for name in source.get(_normal(distribution), []):
                names.setdefault(name, distribution)
        unnamed = [distribution for distribution in unnamed if _normal(distribution) not in source]
    return names


def _by_distribution(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return {normal name of a distribution: its import names} of (import name, distribution)."""
    names: dict[str, list[str]] = {}
    for name, distribution in pairs:
        if name.isidentifier() and name.isascii():
            names.setdefault(_normal(distribution), []).append(name)
    return names


def _normal(distribution: str) -> str:
    """Return a distribution's name as it would stand in an import; names that differ in -, _ and . are the same."""
    return re.sub(r"[-_.]+", "_", distribution).lower()


def _read(image: Path) -> dict[str, Any]:
    read = read_toml(image)
    for key, kind in {"listed": date, "python": str, "overrides": dict, "imports": dict}.items():
        if not isinstance(read.get(key), kind):
            raise BundlerError(f"{image}: {key} is not there, or not a {kind.__name__}; take the file from git again")
    return read
