import json
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bundler.build import constraints
from bundler.errors import BundlerError
from tests.conftest import HOUSE

TEXT = (HOUSE / "constraints.txt").read_text()
VERSIONS = dict(re.findall(r"^([\w-]+)==(\S+)$", TEXT, re.M))
INSTALLED_ALONE = {
    "albucore",
    "albumentations",
    "opencv-python-headless",
}  # requirements-no-deps.txt, and what it asks for
IMAGE = """\
listed = 2026-01-01
python = "3.12"

extra = []

[distributions]
First_One = ["1.0+cu12", "first"]
second = ["2.0", "second"]
third = ["unknown"]
only-old = ["4.0", "only_old"]
extra = ["5.0", "extra"]
unrelated = ["6.0", "unrelated"]
kaggle = ["2.0", "kaggle"]
certifi = ["2.0", "certifi"]
"""
NEEDS = {
    "first-one": ["second>=1", "certifi", "third", "not-in-the-image", "only-old; python_version < '3.12'"],
    "second": ["extra; extra == 'more'", "first_one"],
    "third": [],
    "not-in-the-image": [],
    "extra": [],
    "certifi": [],
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose requirements are first-one and the client, with made-up metadata of what is installed."""
    (tmp_path / "bundler" / "build" / "wheels").mkdir(parents=True)
    (tmp_path / "bundler" / "build" / "wheels" / "Not_In_The_Image-3.0-py3-none-any.whl").touch()
    (tmp_path / "bundler" / "build" / "kaggle_image.toml").write_text(IMAGE)
    (tmp_path / "requirements.txt").write_text("# a comment\n-c constraints.txt\nfirst-one==1.0\nkaggle==3.0\n")
    (tmp_path / "requirements-no-deps.txt").write_text("")

    def requires(name: str) -> list[str]:
        if name not in NEEDS:
            raise PackageNotFoundError(name)
        return NEEDS[name]

    monkeypatch.setattr(constraints, "requires", requires)
    return tmp_path


def lines(house: Path) -> list[str]:
    return constraints.constraints(house).removeprefix(constraints.HEADER).splitlines()


def test_the_committed_file_is_what_the_command_writes() -> None:
    assert constraints.constraints(HOUSE) == TEXT


def test_the_versions_here_are_those_of_the_constraints() -> None:
    folders = [sysconfig.get_path(name) for name in ("purelib", "platlib")]  # not Ray's own, which it puts on sys.path
    installed = {str(canonicalize_name(found.name)): found.version for found in distributions(path=folders)}
    here = {name: installed[name] for name in VERSIONS if name in installed}
    assert here == {name: VERSIONS[name] for name in here}
    assert VERSIONS.keys() - here.keys() < constraints.ONE_IS_INSTALLED


def test_all_that_the_packages_need_on_kaggle_has_its_version_there(house: Path) -> None:
    assert lines(house) == ["first-one==1.0", "not-in-the-image==3.0", "second==2.0"]


def test_what_an_extra_asks_for_counts_where_it_is_asked_for(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "first-one", ["second[more]>=1"])
    assert lines(house) == ["extra==5.0", "first-one==1.0", "second==2.0"]


def test_a_package_that_is_not_installed_is_a_mistake(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(NEEDS, "second")
    with pytest.raises(BundlerError, match="second is not installed; expected all that `make"):
        constraints.constraints(house)


def pip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_python_has_wheels_of_these_versions_and_they_agree(python: str, tmp_path: Path) -> None:
    if pip("index", "versions", "--retries", "0", "--timeout", "10", "packaging").returncode:
        pytest.skip("no package index can be reached")
    report = tmp_path / "report.json"
    # fast-deps: the metadata is read out of a wheel that stays where it is, or this would download a gigabyte
    options = [
        "--dry-run",
        "--ignore-installed",
        "--only-binary=:all:",
        "--use-feature=fast-deps",
        "--report",
        str(report),
    ]
    machine = ["--python-version", python, "--target", str(tmp_path / "never")]
    done = pip("install", *options, *machine, "-r", "requirements.txt", "-r", "requirements-dev.txt")
    assert done.returncode == 0, done.stderr
    assert not re.findall(r"Downloading .*[MG]B", done.stdout)
    packages = [package["metadata"] for package in json.loads(report.read_text())["install"]]
    resolved = {str(canonicalize_name(package["name"])): package["version"] for package in packages}
    expected = {name: version for name, version in VERSIONS.items() if name not in INSTALLED_ALONE}
    assert {name: resolved.get(name) for name in expected} == expected
