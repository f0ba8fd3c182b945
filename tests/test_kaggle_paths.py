import os
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from multihead.data.locate import find_everywhere, find_input, working_folder
from multihead.data.readers.image_reader import find_images
from multihead.runtime.errors import UserError

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


@pytest.mark.parametrize("is_named", [True, False])
def test_images_are_found_and_read_whatever_the_case_of_their_suffix(kaggle: Path, is_named: bool) -> None:
    folder = kaggle / "leaves" / "train"
    folder.mkdir(parents=True)
    for name in ("1.PNG", "2.Png", "3.jpg"):
        (folder / name).touch()
    setting = str(folder.parent) if is_named else ""
    found = find_input("competition", ["train/*.png"], setting, "leaves")
    assert found == folder.parent
    assert find_images(found, "train/*.png") == ["train/1.PNG", "train/2.Png"]
    with pytest.raises(UserError, match=r"train/\*\.bmp"):
        find_input("competition", ["train/*.bmp"], setting, "leaves")


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


@pytest.mark.parametrize("what", ["weights", "weights b1 (build_kernel.py stage FOLDER --name b1)", "competition"])
def test_the_line_that_chooses_between_two_candidates_can_be_pasted(kaggle: Path, what: str) -> None:
    for name in ("one", "two"):
        fill(kaggle / "datasets" / "me" / name)
    with pytest.raises(UserError, match="found in ") as error:
        find_input(what, FILES, "")
    (line,) = str(error.value).splitlines()
    (chosen,) = tomllib.loads(line.rpartition("settings: ")[2]).items()
    assert chosen == ("data" if what == "competition" else "weights", "/kaggle/input/datasets/me/one")
    assert find_input(what, FILES, chosen[1]) == kaggle / "datasets" / "me" / "one"


MOUNTS = [
    "notebooks/me/multihead-train",
    "notebooks/me/multihead-train/folder",
    "models/me/letters/keras/b1/12",
    "models/me/letters/keras/b1/12/folder",
    "letters/keras/b1/12",  # the old form
    "m/me/letters/keras/b1/12",
]


@pytest.mark.parametrize("mount", MOUNTS)
def test_weights_and_checkpoints_are_found_in_every_kind_of_mount(kaggle: Path, mount: str) -> None:
    folder = fill(kaggle / mount)
    assert find_input("weights", FILES, "") == folder
    assert find_everywhere("train.csv", kaggle.parent / "working") == [folder / "train.csv"]


def test_folders_of_images_are_not_walked_deeper_for_the_sake_of_models(kaggle: Path) -> None:
    fill(kaggle / "datasets" / "me" / "photos" / "train" / "cat")
    with pytest.raises(UserError, match="no folder with"):
        find_input("weights", FILES, "")


class Calls(Counter[str]):
    """How often a folder is listed, or a path asked after."""

    def counting(self, function: str, patch: pytest.MonkeyPatch) -> "Calls":
        original: Any = getattr(os, function)

        def counted(path: Any, *rest: Any, **options: Any) -> Any:
            self[os.fspath(path)] += 1
            return original(path, *rest, **options)

        patch.setattr(os, function, counted)
        return self


def test_a_kernel_lists_each_folder_once_and_asks_after_no_image(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(kaggle / "competitions" / "bengaliai-cv19")
    images = kaggle / "competitions" / "leaves" / "train"
    images.mkdir(parents=True)
    for number in range(300):
        (images / f"{number}.jpg").touch()
    elsewhere = kaggle.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "checkpoint.npz").touch()
    (kaggle / "linked").symlink_to(elsewhere)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    listed, stat_calls = Calls().counting("scandir", monkeypatch), Calls().counting("stat", monkeypatch)
    for _ in range(3):
        assert find_input("competition", FILES, "", "bengaliai-cv19") == folder
        assert find_everywhere("checkpoint.npz", kaggle.parent) == [kaggle / "linked" / "checkpoint.npz"]
    assert sum(count for path, count in stat_calls.items() if path.endswith(".jpg")) == 0
    assert listed[str(images)] == 1
    assert {path: count for path, count in listed.items() if count > 1} == {str(folder): 4}  # for the pattern


def test_a_second_run_finds_what_is_mounted_for_it(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    first = fill(kaggle / "one")
    assert find_input("competition", FILES, "") == first
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "other"))
    second = fill(tmp_path / "other" / "input" / "one")
    assert find_input("competition", FILES, "") == second
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")  # more may be attached while it runs
    fill(tmp_path / "other" / "input" / "two" / "train")
    with pytest.raises(UserError, match=r"found in .*one, .*two/train"):
        find_input("competition", FILES, "")


def test_an_archive_of_another_input_that_is_damaged_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    for name in ("comp/train.csv", "other/train.zip", "other/manifest.json.gz"):
        (tmp_path / "input" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "input" / name).write_bytes(b"junk")
    assert find_input("competition", ["train.csv"], "") == tmp_path / "input" / "comp"
    with pytest.raises(UserError, match=r"no folder with manifest\.json"):
        find_input("weights", ["manifest.json"], "")
    with pytest.raises(UserError, match=r"other/train\.zip: not a readable zip"):
        find_input("competition", ["train/*.jpg"], "")
