import json
import subprocess
import sys
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from bundler.build.image import LINE, age_in_words, read_image, read_listing, refresh_image
from bundler.build.parts import IMAGE_FILE
from multihead.config import UserError
from tests.test_text_files import FORMS

DAY = date(2026, 7, 1)
BEFORE = """\
# a comment
listed = 2026-01-01
python = "3.12"
extra = ["kaggle_secrets"]

[distributions]
opencv-python = ["4.0.0", "cv2"]
gone = ["1.0", "gone"]
"""
LISTING = {
    "listed": "2026-07-01",
    "python": "3.13",
    "versions": {"opencv-python": "5.0", "opencv-contrib-python": "4.14", "types-pytz": "1", "ruamel.yaml": "2"},
    "imports": {"cv2": ["opencv-python", "opencv-contrib-python"], "ruamel": ["ruamel.yaml"]},
    "modules": ["cv2", "_testcapi", "kaggle_secrets"],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.toml"
    path.write_text(BEFORE)
    return path


def listing_of(file: Path, **values: Any) -> Path:
    listing = file.with_name("listing.json")
    listing.write_text(json.dumps(LISTING | values))
    return listing


def refreshed(file: Path, **values: Any) -> dict[str, Any]:
    refresh_image(listing_of(file, **values), file)
    return tomllib.loads(file.read_text())


def test_the_committed_file_has_what_the_gpu_image_has_and_not_what_travels_in_the_script() -> None:
    image = read_image(IMAGE_FILE)
    assert image.versions["tensorflow"] == "2.20.0"
    assert image.versions["keras"] == "3.13.2"
    assert image.names.isdisjoint({"efficientnet", "keras_applications", "onnxruntime"})
    assert image.names > {
        "kaggle_secrets",
        "kaggle_datasets",
        "pylab",
        "tlz",
        "google",
        "opentelemetry",
        "cupy",
        "cudf",
    }
    assert image.names.isdisjoint({"python_apt", "google_genai", "dnspython", "types_pytz"})


def test_the_line_prints_what_can_be_imported_here(tmp_path: Path) -> None:
    (tmp_path / "lone.py").touch()  # belongs to no distribution
    assert "\n" not in LINE
    done = subprocess.run([sys.executable, "-c", LINE], cwd=tmp_path, capture_output=True, text=True, check=True)
    (tmp_path / "listing.json").write_text(done.stdout)
    image = read_listing(tmp_path / "listing.json").image()
    assert image.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert image.distributions["pytest"][1:] == ["_pytest", "py", "pytest"]
    assert {"lone", "numpy", "PIL"} <= image.names
    assert "lone" in image.extra
    assert "json" not in image.names


def test_the_file_becomes_what_is_listed(file: Path) -> None:
    assert refresh_image(listing_of(file), file) == (
        "3 import names of 4 distributions, listed on 2026-07-01 (before: 2026-01-01); Python 3.13, before 3.12; "
        "1 in another version"
    )
    assert tomllib.loads(file.read_text()) == {
        "listed": DAY,
        "python": "3.13",
        "extra": ["kaggle_secrets"],
        "distributions": {
            "opencv-contrib-python": ["4.14", "cv2"],
            "opencv-python": ["5.0", "cv2"],
            "ruamel.yaml": ["2", "ruamel"],
            "types-pytz": ["1"],
        },
    }


def test_a_listing_gives_the_same_bytes_in_any_order(file: Path) -> None:
    refresh_image(listing_of(file), file)
    before = file.read_bytes()
    backwards = {key: dict(reversed(LISTING[key].items())) for key in ("versions", "imports")}  # type: ignore[attr-defined]
    refresh_image(listing_of(file, **backwards, modules=LISTING["modules"][::-1]), file)  # type: ignore[index]
    assert file.read_bytes() == before


def test_names_that_no_import_can_have_are_left_out_and_those_of_a_broken_distribution_kept(file: Path) -> None:
    names = {"numpy": ["numpy"], "numpy.libs": ["numpy"], "not-a-name": ["numpy"], "é": ["numpy"], "broken": [None]}
    image = refreshed(file, versions={"numpy": None}, imports=names, modules=["a-b"])
    assert image["distributions"] == {"numpy": ["unknown", "numpy"]}
    assert image["extra"] == ["broken"]


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (b"numpy==2.4.6\n", r"listing\.json: not JSON; expected what the line of build_kernel"),
        (b"[]", r"listing\.json: no JSON object; expected what the line of"),
        (b"{}", r"listing\.json: no listed"),
        (
            json.dumps(LISTING | {"python": "new"}).encode(),
            r"listing\.json: python = 'new'; expected a version such",
        ),
        (json.dumps(LISTING | {"versions": 3}).encode(), r"listing\.json: versions = 3; expected a table"),
        (json.dumps(LISTING | {"more": 3}).encode(), r"listing\.json: more is not known"),
        (b"{}\n\xff\n", r"listing\.json: not UTF-8 \(byte 0xff in line 2\)"),
        (None, r"listing\.json: No such file or directory"),
    ],
)
def test_what_is_no_listing_leaves_the_file_as_it_was(file: Path, listing: bytes | None, message: str) -> None:
    path = file.with_name("listing.json")
    if listing is not None:
        path.write_bytes(listing)
    with pytest.raises(UserError, match=message):
        refresh_image(path, file)
    assert file.read_text() == BEFORE


@pytest.mark.parametrize("form", FORMS)
def test_a_listing_and_an_image_file_are_read_as_meant_however_an_editor_saved_them(file: Path, form: str) -> None:
    listing = listing_of(file)
    listing.write_bytes(FORMS[form](listing.read_text()))
    file.write_bytes(FORMS[form](BEFORE))
    refresh_image(listing, file)
    assert read_image(file).listed == DAY


@pytest.mark.parametrize("gone", ["listed", "python", "extra", "[distributions]"])
def test_an_image_file_that_lacks_a_part_is_named(file: Path, gone: str) -> None:
    file.write_text(BEFORE.replace(gone, gone.replace(gone.strip("[]"), "other")))
    with pytest.raises(UserError, match=r"image\.toml: (no |other is not known)"):
        read_image(file)


def test_an_old_listing_is_told(file: Path) -> None:
    listed = date(2026, 1, 1)
    assert age_in_words(file, listed + timedelta(89)) == ""
    assert age_in_words(file, listed + timedelta(90)) == (
        "Kaggle's image as listed 90 days ago; build_kernel.py refresh-image says how to renew it"
    )


def test_another_machine_s_listing_is_refused(file: Path) -> None:
    with pytest.raises(
        UserError, match=r"listing\.json: 0 distributions, where image\.toml has 2; expected those of a"
    ):
        refresh_image(listing_of(file, versions={}), file)
    assert file.read_text() == BEFORE
