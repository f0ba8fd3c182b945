"""What the bundler asks of tasks: that of a training or of weights, whether its files are there, and its labels."""

import gzip
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.check.kernels import submission_minutes
from bundler.errors import BundlerError
from bundler.kernel_task import predicted_task
from bundler.rehearse.data import check_data, has_truth
from multihead.config import UserError
from multihead.config.files import glob_of
from multihead.config.known_tasks import TASKS, read_task
from multihead.config.settings_file import read_settings
from multihead.config.task import Task, task_dict
from tests.test_tasks import LEAVES
from tests.test_text_files import FORMS


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """An empty settings file, with the task of LEAVES beside it."""
    (tmp_path / "task.toml").write_text(LEAVES)
    (tmp_path / "settings.toml").touch()
    return tmp_path / "settings.toml"


def task_of(reader: str = "image files", heads: tuple[str, ...] = ("label",), **values: Any) -> Task:
    """Return a task of trees, or of healthy and ill ones where a head is called health."""
    classes = {head: ("fit", "ill") if head == "health" else ("oak", "elm") for head in heads}
    files = {"train_files": "train/*/*", "dataset": "a/b"}
    return Task(**{"name": "some", "reader": reader, "image_shape": (8, 8, 3), "heads": classes} | files | values)


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_the_task_of_a_training_is_the_one_set_or_named_or_beside_or_the_first(settings: Path) -> None:
    assert read_settings(settings).task.name == "leaves"
    settings.write_text('[model]\ntask = "animals10"\n')
    assert read_settings(settings).task.name == "animals10"
    assert read_settings(settings, ["epochs=1", " task = sign-mnist"]).task.name == "sign-mnist"
    assert read_settings(settings, ["task=leaves"]).task.name == "leaves"
    settings.write_text("")
    settings.with_name("task.toml").unlink()
    assert read_settings(settings).task.name == next(iter(TASKS))
    with pytest.raises(UserError, match=r"^task: 'leaves' is not known; one of bengali, .*, or that of a task\.toml$"):
        read_settings(settings, ["task=leaves"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model\n", r"^/.*/settings\.toml: not TOML \("),
        ("model = 3\n", r"^settings\.toml: model is not a table; expected a line \[model\] with keys below it$"),
    ],
)
def test_a_mistake_in_the_settings_of_a_training_is_one_line(settings: Path, text: str, message: str) -> None:
    settings.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_settings(settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_settings_and_tasks_are_read_as_meant_however_an_editor_saved_them(settings: Path, form: str) -> None:
    settings.with_name("task.toml").write_bytes(FORMS[form](LEAVES))
    settings.write_bytes(FORMS[form]('[model]\ntask = "leaves"\n'))
    assert read_settings(settings).task.name == "leaves"


def test_the_task_of_weights_is_that_of_their_manifest(tmp_path: Path) -> None:
    assert predicted_task(tmp_path / "nowhere") is None
    (tmp_path / "manifest.json").write_text("{}")
    assert predicted_task(tmp_path) is None
    (tmp_path / "one.manifest.json").write_text(json.dumps({"task": task_dict(TASKS["animals10"])}))
    assert predicted_task(tmp_path) is TASKS["animals10"]


def test_the_limits_of_a_task_that_is_built_in_are_this_version_s_whatever_a_manifest_says(tmp_path: Path) -> None:
    written = task_dict(TASKS["bengali"])
    for key in ("has_hidden_test", "gpu_minutes", "cpu_minutes"):
        del written[key]
    (tmp_path / "manifest.json").write_text(json.dumps({"task": written}))
    found = predicted_task(tmp_path)
    assert found
    assert (submission_minutes(found, has_gpu=True), submission_minutes(found, has_gpu=False)) == (120, 540)
    (tmp_path / "manifest.json").write_text(json.dumps({"task": written | {"name": "letters"}}))
    own = predicted_task(tmp_path)
    assert own
    assert (own.has_hidden_test, submission_minutes(own, has_gpu=True)) == (True, 720)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"task": "bengali"}', "task = 'bengali'; expected a table of its keys"),
        ('{"task": {"name": "leaves"}}', "no reader; expected one of wide parquet, "),
        ("[]", "expected a JSON object"),
        ("cut", "not JSON ("),
    ],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError) as error:
        predicted_task(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'manifest.json'}: {message}")


def test_a_truth_file_or_a_fifth_left_out_tells_the_labels(tmp_path: Path) -> None:
    assert has_truth(tmp_path, task_of())
    assert has_truth(tmp_path, task_of(labels_file="train.csv"))
    asks = task_of(test_files="test/*", sample_submission="sample_submission.csv")
    assert not has_truth(tmp_path, asks)
    lay_out(tmp_path, "truth.csv")
    assert has_truth(tmp_path, asks)


def test_images_are_the_task_s_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    task = task_of(train_files="train/*/*.png", test_files="test/*/*.png", labels_file="train.csv")
    lay_out(tmp_path, "train/oak/1.PNG", "test/ash/2.Png", "train.csv")
    check_data(task, tmp_path, "train")
    check_data(task, tmp_path, "predict")
    assert not has_truth(tmp_path, replace(task, labels_file=""))
    with pytest.raises(BundlerError, match=r"it holds no train/\*/\*\.jpg$"):
        check_data(replace(task, train_files="train/*/*.jpg"), tmp_path, "train")


def test_predicting_the_fifth_left_out_needs_the_labels_that_it_is_drawn_by(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png")
    task = task_of(labels_file="train.csv")
    with pytest.raises(BundlerError, match=r"it holds no train\.csv$"):
        check_data(task, tmp_path, "predict")
    check_data(replace(task, test_files="train/*/*"), tmp_path, "predict")


def test_test_images_tell_their_labels_in_class_folders_only(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png", "train/elm/2.png", "test/oak/3.png", "more/4.png")
    assert has_truth(tmp_path, task_of(test_files="test/*/*"))
    assert not has_truth(tmp_path, task_of(test_files="more/*"))
    assert not has_truth(tmp_path, task_of(test_files="test/*/*", labels_file="train.csv"))
    lay_out(tmp_path, "test/unknown/5.png")
    assert not has_truth(tmp_path, task_of(test_files="test/*/*"))


def test_a_test_file_of_pixels_tells_its_labels_in_the_heads_columns_only(tmp_path: Path) -> None:
    for file, text in (("test.csv", "kind,pixel0,is_ill\n1,2,3\n"), ("bare.csv", "pixel0,is_ill\n"), ("empty.csv", "")):
        (tmp_path / file).write_text(text)
    for file, has_labels in (("test.csv", True), ("bare.csv", False), ("empty.csv", False), ("*.csv", False)):
        assert has_truth(tmp_path, task_of("pixel csv", ("kind", "is_ill"), test_files=file)) == has_labels, file
    assert not has_truth(tmp_path, task_of("pixel csv", ("kind",), test_files="test.csv", labels_file="train.csv"))


@pytest.mark.parametrize("left", ["._{}", ".ipynb_checkpoints/{}", "__MACOSX/{}"])
def test_what_a_system_left_beside_the_data_is_no_data(tmp_path: Path, left: str) -> None:
    images = task_of(train_files="*/*.png")
    table = task_of("pixel csv", train_files="*.csv", test_files="*.csv")
    lay_out(tmp_path, left.format("1.png"), left.format("train.csv"), f"oak/{left.format('1.png')}")
    for task in (images, table, task_of(train_files="*", test_files="*/*/*")):
        with pytest.raises(BundlerError, match="it holds no "):
            check_data(task, tmp_path, "train")
    lay_out(tmp_path, "oak/1.png", "train.csv")
    for task in (images, table):
        check_data(task, tmp_path, "train")


def test_a_column_of_labels_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    files = 'train_files = "train.csv"\ntest_files = "test.csv"\n'
    head = '[heads]\nlabel = { column = "Finding", classes = ["a", "b"] }\n'
    own = f'name = "own"\ndataset = "a/b"\nreader = "pixel csv"\nimage_shape = [1, 1, 1]\n{files}{head}'
    (tmp_path / "task.toml").write_text(own)
    task = read_task(tmp_path / "task.toml")
    (tmp_path / "test.csv").write_text("label,pixel0\na,1\n")
    assert not has_truth(tmp_path, task)
    (tmp_path / "test.csv").write_text("pixel0,finding\n1,a\n")
    assert has_truth(tmp_path, task)


def test_windows_own_files_are_no_data_in_any_case(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"oak/{name}" for name in ("Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini")))
    with pytest.raises(BundlerError, match="it holds no "):
        check_data(task_of(train_files="*/*"), tmp_path, "train")
    lay_out(tmp_path, "oak/thumbs.png")
    check_data(task_of(train_files="*/*"), tmp_path, "train")


def test_a_hidden_folder_around_the_data_hides_none_of_it(tmp_path: Path) -> None:
    lay_out(tmp_path / ".cache" / "data", "train/oak/1.png")
    check_data(task_of(), tmp_path / ".cache" / "data", "train")


def test_a_folder_that_matches_is_no_file(tmp_path: Path) -> None:
    for name in ("train/oak/deeper", "train.csv", "train.zip", "train.csv.gz"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(BundlerError, match=r"it holds no train/\*/\* and no train\.csv$"):
        check_data(task_of(labels_file="train.csv"), tmp_path, "train")


def test_what_a_system_left_has_no_label(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png", "test/oak/3.png", "test/.ipynb_checkpoints/3-checkpoint.png", "test/._oak/x")
    assert has_truth(tmp_path, task_of(test_files="test/*/*"))
    (tmp_path / "test.csv").write_text("label,pixel0\n")
    (tmp_path / "._test.csv").write_bytes(b"\0\5\x16\7\xff")
    assert has_truth(tmp_path, task_of("pixel csv", test_files="*.csv"))


def test_what_a_system_left_beside_weights_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "._manifest.json").write_bytes(b"\0\5\x16\7\xff")
    (tmp_path / ".new-manifest.json").write_text("cut")
    assert predicted_task(tmp_path) is None
    (tmp_path / "manifest.json").write_text(json.dumps({"task": task_dict(TASKS["animals10"])}))
    assert predicted_task(tmp_path) is TASKS["animals10"]


def test_a_placeholder_stands_for_any_text_in_a_name(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak.1.JPG", "train/elm/images/2.png")
    for train_files in ("train/{label}.*.jpg", "train/{label}/images/*", "train/{kind}{label}*.jpg"):
        check_data(task_of(train_files=train_files), tmp_path, "train")
    for train_files in ("train/{label}_*.jpg", "train/{label}/*.png"):
        with pytest.raises(BundlerError) as error:
            check_data(task_of(train_files=train_files), tmp_path, "train")
        assert str(error.value).endswith(f"it holds no {glob_of(train_files)}")


@pytest.mark.parametrize(
    ("train_files", "test_files", "has_labels"),
    [
        ("train/{label}.*.jpg", "test/{label}.*.jpg", True),
        ("train/{label}.*.jpg", "test/*.jpg", False),
        ("train/{label}.*.jpg", "other/{label}.*.jpg", False),  # beech is no class
    ],
)
def test_test_images_tell_their_labels_where_both_patterns_name_them(
    tmp_path: Path, train_files: str, test_files: str, has_labels: bool
) -> None:
    lay_out(tmp_path, "train/oak.1.jpg", "train/elm.2.JPG", "test/oak.3.jpg", "test/elm.4.jpg", "other/beech.5.jpg")
    assert has_truth(tmp_path, task_of(train_files=train_files, test_files=test_files)) == has_labels


def test_test_images_tell_their_labels_only_where_all_heads_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1_ill.jpg", "train/elm/1_fit.jpg", "test/oak/2_fit.jpg", "test/elm_fit.jpg")
    task = task_of(heads=("kind", "health"), train_files="train/{kind}/*_{health}.jpg")
    assert has_truth(tmp_path, replace(task, test_files="test/{kind}/*_{health}.jpg"))
    assert not has_truth(tmp_path, replace(task, test_files="test/{kind}/*_fit.jpg"))
    assert not has_truth(tmp_path, replace(task, test_files="test/*_{health}.jpg"))


def test_a_class_is_named_by_the_last_folder_that_a_pattern_leaves_open(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/a/oak/images/1.JPEG", "train/b/elm/images/2.JPEG", "val/oak/3.JPEG", "val/images/4.png")
    task = task_of(train_files="train/*/*/images/*.jpeg")
    assert has_truth(tmp_path, replace(task, test_files="val/*/*.jpeg"))
    assert not has_truth(tmp_path, replace(task, test_files="val/images/*.png"))


def zipped(archive: Path, *names: str, content: str = "") -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, content)


@pytest.mark.parametrize("name", ["train.csv.zip", "train.csv.gz", "train.zip"])
@pytest.mark.parametrize("role", ["labels_file", "test_files", "sample_submission"])
def test_a_table_may_lie_there_compressed(tmp_path: Path, name: str, role: str) -> None:
    lay_out(tmp_path, "photos/1.png", "pixels.csv")
    reader, train_files = ("pixel csv", "pixels.csv") if role == "test_files" else ("image files", "photos/*")
    values: dict[str, Any] = {"train_files": train_files, role: "train.csv"}
    task = task_of(reader, **values)
    kernel = "predict" if role != "labels_file" else "train"
    with pytest.raises(BundlerError, match=r"it holds no train\.csv$"):
        check_data(task, tmp_path, kernel)
    text = "label,pixel0\n1,2\n"
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(text.encode("utf-8-sig")))
    else:
        zipped(tmp_path / name, "__MACOSX/._train.csv", "folder/train.csv", content=text)
    check_data(task, tmp_path, kernel)
    if role == "test_files":
        assert has_truth(tmp_path, task)
        assert not has_truth(tmp_path, replace(task, heads={"other": ("oak", "elm")}))


def test_an_archive_without_the_table_is_not_the_table(tmp_path: Path) -> None:
    zipped(tmp_path / "train.zip", "other.csv", "__MACOSX/train.csv", "train.csv/")
    with pytest.raises(BundlerError, match=r"it holds no train\.csv$"):
        check_data(task_of("pixel csv", train_files="train.csv"), tmp_path, "train")


@pytest.mark.parametrize(
    ("pattern", "archive", "member"),
    [
        ("train/*/*.jpg", "train.zip", "train/oak/1.jpg"),
        ("train/*/*.jpg", "train.zip", "oak/1.JPG"),
        ("train/{label}.*.jpg", "train.zip", "oak.1.jpg"),
        ("data/train/*/*", "data/train.zip", "train/oak/1.jpg"),
        ("data/train/*/*", "data.zip", "data/train/oak/1.jpg"),
        ("data/train/*/*", "data.zip", "train/oak/1.jpg"),
    ],
)
def test_images_may_lie_there_in_an_archive_of_their_first_folders(
    tmp_path: Path, pattern: str, archive: str, member: str
) -> None:
    task = task_of(train_files=pattern)
    (tmp_path / archive).parent.mkdir(exist_ok=True)
    zipped(tmp_path / archive, "__MACOSX/oak/._1.jpg", f"deeper/still/{member}", "readme.md")
    with pytest.raises(BundlerError, match="it holds no "):
        check_data(task, tmp_path, "train")
    zipped(tmp_path / archive, member)
    check_data(task, tmp_path, "train")


def test_images_in_archives_tell_their_labels_as_those_in_folders(tmp_path: Path) -> None:
    zipped(tmp_path / "train.zip", "train/", "train/oak/1.jpg", "train/elm/2.jpg")
    zipped(tmp_path / "test.zip", "oak/1.jpg", "oak/2.jpg", "__MACOSX/._oak/1.jpg")
    task = task_of(train_files="train/*/*.jpg", test_files="test/*/*.jpg")
    assert has_truth(tmp_path, task)
    zipped(tmp_path / "test.zip", "oak/1.jpg", "unknown/2.jpg")
    assert not has_truth(tmp_path, task)


def test_an_archive_is_looked_into_only_where_nothing_lies_there_unpacked(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.jpg", "train.csv")
    (tmp_path / "train.zip").write_bytes(b"cut off")
    task = task_of(train_files="train/*/*.jpg", labels_file="train.csv")
    check_data(task, tmp_path, "train")
    (tmp_path / "train.csv").unlink()
    with pytest.raises(UserError) as error:
        check_data(task, tmp_path, "train")
    assert str(error.value) == f"{tmp_path / 'train.zip'}: not a readable zip (File is not a zip file)"


@pytest.mark.parametrize("name", ["test.csv", "test.csv.gz", "test.csv.zip"])
def test_a_test_file_whose_header_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"label\n")[:-12] if name.endswith("gz") else b"caf\xe9\n")
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("test.csv", b"caf\xe9\n")
    with pytest.raises(UserError, match=r"test\.csv(: cannot be read as CSV \(|\.gz: damaged: )") as error:
        has_truth(tmp_path, task_of("pixel csv", test_files="test.csv"))
    assert "\n" not in str(error.value)


def test_columns_of_classes_and_numbers_in_paths_are_labels(tmp_path: Path) -> None:
    heads = {"marks": ("x", "y"), "age": ()}
    kinds: Any = {"marks": "sigmoid", "age": "number"}
    for header, has_labels in (("x,y,age,pixel0", True), ("Marks,age,pixel0", True), ("x,age,pixel0", False)):
        (tmp_path / "test.csv").write_text(f"{header}\n")
        task = replace(task_of("pixel csv", test_files="test.csv"), heads=heads, kinds=kinds)
        assert has_truth(tmp_path, task) == has_labels
    lay_out(tmp_path, "test/7/1.png", "test/7.5/2.png", "other/old/3.png")
    ages = replace(task_of(), heads={"age": ()}, kinds={"age": "number"}, class_folders={"gatto": "cat"})
    assert has_truth(tmp_path, replace(ages, test_files="test/*/*"))
    assert not has_truth(tmp_path, replace(ages, test_files="other/*/*"))
