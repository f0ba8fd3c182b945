import os
import shutil
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from bundler.build import image
from bundler.build.image import age_in_words, read_listing, refresh_image
from bundler.build.parts import IMAGE_FILE
from bundler.errors import BundlerError
from tests.conftest import HOUSE
from tests.test_text_files import FORMS

FREEZE = HOUSE.parent / "shared" / "data" / "kaggle_image_packages.txt"
DAY = date(2026, 7, 1)
BEFORE = """\
listed = 2026-01-01
python = "3.12"

[overrides]
tensorflow = "2.20.0"

[imports]
cv2 = ["opencv-python", "4.0.0"]
gone = ["gone", "1.0"]
tensorflow = ["tensorflow", "2.20.0"]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image file, where scikit-image and another OpenCV are what is installed."""
    installed = {"skimage": ["scikit-image"], "cv2": ["opencv-contrib-python"], "not-a-name": ["scikit-image"]}
    monkeypatch.setattr(image, "packages_distributions", lambda: installed)
    path = tmp_path / "image.toml"
    path.write_text(BEFORE)
    return path


def refreshed(file: Path, listing: str, **options: Any) -> dict[str, Any]:
    freeze = file.with_name("freeze.txt")
    freeze.write_text(listing)
    refresh_image(freeze, file, **options)
    return tomllib.loads(file.read_text())


def imports(file: Path, listing: str) -> dict[str, list[str]]:
    """Return the import names of a refreshed file, without those of its overrides."""
    names: dict[str, list[str]] = refreshed(file, listing)["imports"]
    return {name: distribution for name, distribution in names.items() if name != "tensorflow"}


def test_the_committed_file_is_what_the_listing_gives(tmp_path: Path) -> None:
    if not FREEZE.is_file():
        pytest.skip("the package listing of Kaggle's image is not on this machine")
    file = tmp_path / "image.toml"
    file.write_bytes(IMAGE_FILE.read_bytes())
    assert refresh_image(FREEZE, file, DAY) == "883 import names of 873 distributions, listed on 2026-07-01"
    assert file.read_bytes() == IMAGE_FILE.read_bytes()


def test_the_committed_file_has_what_the_gpu_image_has_and_not_what_travels_in_the_script() -> None:
    names = tomllib.loads(IMAGE_FILE.read_text())["imports"]
    assert names["tensorflow"] == ["tensorflow", "2.20.0"]
    assert names["keras"] == ["keras", "3.13.2"]
    assert not names.keys() & {"efficientnet", "keras_applications", "onnxruntime"}


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        ("opencv-python==4.13.0.92", {"cv2": ["opencv-python", "4.13.0.92"]}),
        ("OpenCV_Python==5.0", {"cv2": ["OpenCV_Python", "5.0"]}),
        ("scikit-image==0.25.2", {"skimage": ["scikit-image", "0.25.2"]}),
        ("Flask-Login==1.0", {"flask_login": ["Flask-Login", "1.0"]}),
        ("ruamel.yaml==0.19.1", {"ruamel": ["ruamel.yaml", "0.19.1"]}),
        ("torch==2.10.0+cpu", {"torch": ["torch", "2.10.0+cpu"]}),
    ],
)
def test_an_import_name_is_known_or_installed_or_the_distribution_s(
    file: Path, listing: str, names: dict[str, list[str]]
) -> None:
    assert imports(file, listing) == names


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_that_two_distributions_claim_goes_to_the_surest_then_to_the_first(file: Path, order: int) -> None:
    lines = ["opencv-contrib-python==4.13", "opencv-python==4.13", "jaraco.text==2.0", "jaraco.classes==1.0"]
    assert imports(file, "\n".join(lines[::order])) == {
        "cv2": ["opencv-python", "4.13"],
        "jaraco": ["jaraco.classes", "1.0"],
    }


def test_a_name_mended_by_hand_is_kept_as_long_as_its_distribution_is_listed(file: Path) -> None:
    assert imports(file, "beautifulsoup4==4.13.5").keys() == {"beautifulsoup4"}
    file.write_text(file.read_text().replace("beautifulsoup4 =", "bs4 ="))
    assert imports(file, "beautifulsoup4==4.14") == {"bs4": ["beautifulsoup4", "4.14"]}
    assert imports(file, "numpy==2.4.6").keys() == {"numpy"}


def test_what_the_gpu_image_has_instead_is_kept(file: Path) -> None:
    for _ in range(2):
        content = refreshed(file, "tensorflow==2.19.0\nnumpy==2.4.6\n")
        assert content["imports"]["tensorflow"] == ["tensorflow", "2.20.0"]
        assert content["overrides"] == {"tensorflow": "2.20.0"}


def test_the_day_and_the_python_are_those_given_or_else_the_file_s_and_those_before(file: Path) -> None:
    content = refreshed(file, "numpy==2.4.6", listed=DAY, python="3.13")
    assert (content["listed"], content["python"]) == (DAY, "3.13")
    freeze = file.with_name("freeze.txt")
    os.utime(freeze, (86400 * 20000.5,) * 2)  # noon
    refresh_image(freeze, file)
    content = tomllib.loads(file.read_text())
    assert (content["listed"], content["python"]) == (date(1970, 1, 1) + timedelta(20000), "3.13")


def test_all_that_pip_freeze_prints_is_read(file: Path) -> None:
    file.write_text(
        "# a comment\n\nnumpy==2.4.6\r\n"
        "learntools @ file:///tmp/learntools-0.3.5.tar.gz\n"
        "-e git+https://127.0.0.1/some/where@abc#egg=mine&subdirectory=python\n"
        "odd===2.0-a\n"
        "-e /some/where else\n"
    )
    assert read_listing(file) == {"numpy": "2.4.6", "learntools": "unknown", "mine": "unknown", "odd": "2.0-a"}


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (b"numpy==2.4.6\nnumpy 2.4.6\n", r"freeze\.txt, line 2: 'numpy 2\.4\.6'; expected NAME==VERSION"),
        (b"{}\n", r"freeze\.txt, line 1: '{}'; expected NAME==VERSION"),
        (b"# nothing\n", r"freeze\.txt: names no distribution"),
        (b"numpy==2.4.6\n\xff\n", r"freeze\.txt: not UTF-8 \(byte 0xff in line 2\)"),
        (None, r"freeze\.txt: No such file or directory"),
    ],
)
def test_what_is_no_listing_leaves_the_file_as_it_was(file: Path, listing: bytes | None, message: str) -> None:
    freeze = file.with_name("freeze.txt")
    if listing is not None:
        freeze.write_bytes(listing)
    with pytest.raises(BundlerError, match=message):
        refresh_image(freeze, file)
    assert file.read_text() == BEFORE


@pytest.mark.parametrize("form", FORMS)
def test_a_listing_and_an_image_file_are_read_as_meant_however_an_editor_saved_them(file: Path, form: str) -> None:
    freeze = file.with_name("freeze.txt")
    freeze.write_bytes(FORMS[form]("numpy==2.4.6\npandas==3.0.0\n"))
    assert read_listing(freeze) == {"numpy": "2.4.6", "pandas": "3.0.0"}
    file.write_bytes(FORMS[form](BEFORE))
    assert age_in_words(file, date(2026, 1, 2)) == "Kaggle's image as listed 1 days ago"


@pytest.mark.parametrize("gone", ["listed", "python", "overrides", "imports"])
def test_an_image_file_that_lacks_a_part_is_named(file: Path, gone: str) -> None:
    file.write_text(BEFORE.replace(gone, "other"))
    with pytest.raises(BundlerError, match=rf"image\.toml: {gone} is not there"):
        age_in_words(file, DAY)


def test_an_old_listing_is_a_warning(file: Path) -> None:
    listed = date(2026, 1, 1)
    assert age_in_words(file, listed + timedelta(180)) == "Kaggle's image as listed 180 days ago"
    assert age_in_words(file, listed + timedelta(181)) == (
        "warning: Kaggle's image as listed 181 days ago; build_kernel.py refresh-image FREEZE renews it"
    )


def test_another_machine_s_listing_and_a_date_to_come_are_refused(tmp_path: Path) -> None:
    file, listing = tmp_path / "image.toml", tmp_path / "freeze.txt"
    shutil.copy(IMAGE_FILE, file)
    before = file.read_bytes()
    listing.write_text("numpy==3.0.0\npandas==3.0.0\n")
    with pytest.raises(BundlerError, match=r"freeze\.txt: 4 distributions, where image\.toml has \d+; expected"):
        refresh_image(listing, file)
    listing.write_text("\n".join(f"package{i}==1" for i in range(900)))
    with pytest.raises(BundlerError, match=r"^--date 9999-12-31: is yet to come$"):
        refresh_image(listing, file, date(9999, 12, 31))
    assert file.read_bytes() == before
