from pathlib import Path

import pytest

from multihead.errors import UserError
from multihead.image_files import find_images
from multihead.kaggle_paths import find_input, working_folder

FILES = ["train.csv", "train_image_data_*.parquet"]


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    return tmp_path / "input"


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "train.csv").touch()
    (folder / "train_image_data_0.parquet").touch()
    return folder


@pytest.mark.parametrize("mount", ["bengaliai-cv19", "competitions/bengaliai-cv19", "datasets/somebody/copy/data"])
def test_files_are_found_in_every_form_of_mount(kaggle: Path, mount: str) -> None:
    folder = fill(kaggle / mount)
    fill_other = kaggle / "other"
    fill_other.mkdir()
    (fill_other / "train.csv").touch()
    assert find_input("competition", FILES, "", "bengaliai-cv19") == folder


def test_the_competition_s_own_mount_is_preferred_to_a_copy(kaggle: Path) -> None:
    fill(kaggle / "datasets" / "somebody" / "copy")
    folder = fill(kaggle / "competitions" / "bengaliai-cv19")
    assert find_input("competition", FILES, "", "bengaliai-cv19") == folder


def test_two_candidates_are_named(kaggle: Path) -> None:
    fill(kaggle / "one")
    fill(kaggle / "two")
    with pytest.raises(UserError, match=r"found in .*one, .*two; name one"):
        find_input("weights", FILES, "")


def test_of_a_copy_inside_the_data_set_the_outer_files_are_taken(kaggle: Path) -> None:
    folder = fill(kaggle / "datasets" / "somebody" / "letters")
    for name in ("train", "test"):
        fill(folder / name)
    assert find_input("competition", FILES, "", "letters") == folder
    assert find_input("competition", FILES, "") == folder
    fill(kaggle / "letters")
    with pytest.raises(UserError, match=r"found in .*somebody/letters, .*input/letters; name one"):
        find_input("competition", FILES, "", "letters")


def test_folders_are_no_files_of_a_pattern(kaggle: Path) -> None:
    folder = kaggle / "animals" / "animals" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").touch()
    assert find_input("competition", ["*/*"], "", "animals") == folder.parent
    with pytest.raises(UserError, match=r"no \*/\* in"):
        find_input("competition", ["*/*"], str(kaggle / "animals"))


@pytest.mark.parametrize("is_given", [True, False])
def test_images_are_found_and_read_whatever_the_case_of_their_suffix(kaggle: Path, is_given: bool) -> None:
    folder = kaggle / "leaves" / "train"
    folder.mkdir(parents=True)
    for name in ("1.PNG", "2.Png", "3.jpg"):
        (folder / name).touch()
    given = str(folder.parent) if is_given else ""
    found = find_input("competition", ["train/*.png"], given, "leaves")
    assert found == folder.parent
    assert find_images(found, "train/*.png") == ["train/1.PNG", "train/2.Png"]
    with pytest.raises(UserError, match=r"train/\*\.bmp"):
        find_input("competition", ["train/*.bmp"], given, "leaves")


def test_where_nothing_is_found_the_folders_looked_in_are_named(kaggle: Path) -> None:
    (kaggle / "competitions" / "other").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no folder with train.csv and train_image.*looked in .*competitions/other"):
        find_input("competition", FILES, "")


def test_without_any_input_the_missing_folder_is_named(kaggle: Path) -> None:
    with pytest.raises(UserError, match=r"looked in .*input, which is not there"):
        find_input("competition", FILES, "")


def test_a_folder_given_is_the_only_one_looked_in(kaggle: Path, tmp_path: Path) -> None:
    fill(kaggle / "bengaliai-cv19")
    with pytest.raises(UserError, match=r"no train.csv"):
        find_input("competition", FILES, str(tmp_path))


def test_the_working_folder_must_be_there(kaggle: Path) -> None:
    with pytest.raises(UserError, match="working folder"):
        working_folder("")
    (kaggle.parent / "working").mkdir()
    assert working_folder("") == kaggle.parent / "working"
