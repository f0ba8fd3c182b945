"""Wheels of what Kaggle's image lacks, fetched where there is internet, for a kernel that has none.

pip resolves them, for Kaggle's Python and with Kaggle's versions. To it, each distribution of the image is a stub: a
wheel that holds nothing and needs nothing, and the only one of its name that a constraint allows. What pip downloads
beside the stubs is what the image lacks.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.build.attached_wheels import LOCK_FILE, Lock, key_of, lock_text, read_lock
from bundler.build.image import UNKNOWN, kaggle_machine, read_image
from bundler.errors import BundlerError
from multihead.config import whole_file
from multihead.config.manifest import sha256_of

LEGACY = {
    17: ["manylinux2014_x86_64"],
    12: ["manylinux2010_x86_64"],
    5: ["manylinux1_x86_64"],
}  # by glibc's minor version
PLATFORMS = [  # of glibc 2.28 and older
    *(tag for minor in range(28, 4, -1) for tag in (f"manylinux_2_{minor}_x86_64", *LEGACY.get(minor, []))),
    "linux_x86_64",
]
# pip compares markers (PEP 508) with the machine that it runs on, even where it is told to resolve for another
PIP = """
import json, sys
from pip._vendor.packaging import markers

machine = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: machine
from pip._internal.cli.main import main

sys.exit(main())
"""


class Fetched(NamedTuple):
    """What a fetch did, as names of files: those that are in the dataset's folder for it, and those that it removed."""

    files: Sequence[str]
    removed: Sequence[str]


class InImage(NamedTuple):
    """Requirements that Kaggle's image meets, and those it has in another version, each with what it has."""

    met: Mapping[str, str]
    replaced: Mapping[str, str]


def fetch(lists: Iterable[Sequence[str]], dataset: Path, image: Path) -> Fetched:
    """Put the wheels that lists of requirements need into the dataset's folder, each list resolved by itself.

    A version that a list itself names takes the place of the image's; what its wheels need in turn does not. Wheels
    that an earlier fetch put there and nothing needs now are removed. Raises BundlerError, with the folder left as it
    was, for requirements that the image's versions or the wheels that there are do not meet, and for another person's
    file of the same name.
    """
    before = read_lock(dataset) or Lock(read_image(image).listed, {})
    with tempfile.TemporaryDirectory() as scratch:
        resolved = {}
        for number, requirements in enumerate(dict.fromkeys(key_of(one) for one in lists if one)):
            resolved[requirements] = _download(requirements, Path(scratch, str(number)), image)
        paths = {path.name: path for found in resolved.values() for path in found}
        sha256 = {name: sha256_of(path) for name, path in paths.items()}
        for name in paths:
            there = dataset / name
            if name not in before.files and there.exists() and sha256_of(there) != sha256[name]:
                raise BundlerError(f"{there}: is there, and not the wheel that pip found; move it away")
        for name, path in paths.items():
            with whole_file(dataset / name) as new:
                shutil.copyfile(path, new)
    locked = {
        requirements: {path.name: sha256[path.name] for path in found} for requirements, found in resolved.items()
    }
    _write_lock(dataset, Lock(read_image(image).listed, locked))
    removed = [name for name in sorted(before.files) if name not in paths and (dataset / name).is_file()]
    for name in removed:
        (dataset / name).unlink()
    return Fetched(sorted(paths), removed)


def in_image(requirements: Sequence[str], image: Path) -> InImage:
    """Return which requirements Kaggle's image meets, and which ask for another version than it has.

    Raises BundlerError for one of which the image may lack an extra.
    """
    kaggle = read_image(image)
    there = {canonicalize_name(name): (name, version) for name, version in kaggle.versions.items()}
    met, replaced = {}, {}
    for requirement in map(Requirement, requirements):
        name, version = there.get(canonicalize_name(requirement.name), ("", UNKNOWN))
        is_needed = not requirement.marker or requirement.marker.evaluate(kaggle_machine(kaggle.python))
        if version == UNKNOWN or not is_needed:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            replaced[str(requirement)] = f"{name} {version}"
        elif requirement.extras:
            rule = f"Kaggle's image has {name} {version}, but maybe not its extra; name what that needs instead"
            raise BundlerError(f"wheels: {requirement}: {rule}")
        else:
            met[str(requirement)] = f"{name} {version}"
    return InImage(met, replaced)


def _download(requirements: Sequence[str], folder: Path, image: Path) -> list[Path]:
    """Return the wheels that pip downloads into a new folder for the requirements that the image does not meet."""
    kaggle, found = read_image(image), in_image(requirements, image)
    stubs, into = folder / "stubs", folder / "wheels"
    stubs.mkdir(parents=True)
    constraints = folder / "constraints.txt"
    replaced = set(map(_name, found.replaced))
    kept = {name: version for name, version in kaggle.versions.items() if canonicalize_name(name) not in replaced}
    constraints.write_text("".join(_constraints(kept, stubs)), encoding="utf-8")
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar=off", f"--dest={into}"]
    options += ["--only-binary=:all:", f"--python-version={kaggle.python}", "--implementation=cp"]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    pip = [sys.executable, "-P", "-c", PIP, json.dumps(kaggle_machine(kaggle.python)), "download", *options]
    lacking = [text for text in requirements if str(Requirement(text)) not in found.met or _name(text) in replaced]
    if lacking:
        done = subprocess.run(
            [*pip, "--constraint", str(constraints), "--", *lacking],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise BundlerError(f"wheels: {_problem(done.stdout, done.stderr, kaggle.python)}")
        if extra := re.search(r"WARNING: (\S+) (\S+) does not provide the extra '(.+?)'", done.stderr):
            rule = "is needed, and a listing does not say whether the image has it; name what it needs instead"
            raise BundlerError(f"wheels: extra {extra[3]} of {extra[1]} {extra[2]} {rule}")
    wheels = [path for path in sorted(into.glob("*.whl")) if not (stubs / path.name).exists()]
    unknown = {canonicalize_name(name) for name, version in kaggle.versions.items() if version == UNKNOWN}
    for name in sorted(
        {canonicalize_name(path.name.split("-")[0]) for path in wheels} & unknown - set(map(_name, requirements))
    ):
        rule = "in a version that its listing does not tell; name the version that is to take its place"
        raise BundlerError(f"wheels: {name} is needed, and Kaggle's image has it {rule}")
    return wheels


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _constraints(versions: Mapping[str, str], stubs: Path) -> Iterator[str]:
    """Yield the line for each distribution that allows its stub only, which is made."""
    for distribution, version in versions.items():
        if version == UNKNOWN:
            continue
        name = canonicalize_name(distribution).replace("-", "_")
        stub = stubs / f"{name}-{version}-py3-none-any.whl"
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(stub, "w") as archive:
            for file, text in files.items():
                archive.writestr(f"{name}-{version}.dist-info/{file}", text)
        yield f"{distribution} @ {stub.as_uri()}\n"


def _problem(printed: str, errors: str, python: str) -> str:
    """Return in one line why pip found no wheels."""
    if conflict := re.search(r"The conflict is caused by:\n(.+?)\n\s*\n", printed, re.DOTALL):
        stub = r"The user requested \(constraint\) (\S+) \(from \S*/[^/\s]+?-([^/\s-]+)-py3-none-any\.whl\)"
        causes = [line.strip() for line in re.sub(stub, r"Kaggle's image has \1 \2", unquote(conflict[1])).splitlines()]
        return "; ".join(causes).replace("The user requested", "asked for is")
    if "WARNING: Retrying" in errors:
        return "pip did not reach the package index; fetching needs internet"
    lines = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    if missing := re.search(r"No matching distribution found for (.+)", errors):
        others = re.search(r"\(from versions: (.+)\)", errors)
        there = f"; others: {others[1]}" if others and others[1] != "none" else ", or no such package"
        return f"{missing[1]}: no wheel for Kaggle's Python {python} on Linux{there}"
    return (
        lines[-1]
        if lines and lines[-1] != "Exception:"
        else (errors.strip().splitlines() or ["pip failed, and said nothing"])[-1]
    )


def _write_lock(dataset: Path, lock: Lock) -> None:
    if not lock.fetched:
        (dataset / LOCK_FILE).unlink(missing_ok=True)
        return
    with whole_file(dataset / LOCK_FILE) as new:
        new.write_text(lock_text(lock), encoding="utf-8", newline="\n")
