"""What the bundler reads of tasks: the package's own, a task.toml, the task of weights; and where labels are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import BundlerError
from bundler.tasks import (
    LEADS_OUT,
    TaskFacts,
    built_in_tasks,
    has_truth,
    own_task,
    predicted_task,
    task_named,
    trained_task,
)
from multihead import tasks
from multihead.tasks import TASKS, read_task, task_dict
from tests.conftest import HOUSE
from tests.test_tasks import LEAVES
from tests.test_text_files import FORMS

PACKAGE = HOUSE / "src" / "multihead"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """An empty settings file, with the task of LEAVES beside it."""
    (tmp_path / "task.toml").write_text(LEAVES)
    (tmp_path / "settings.toml").touch()
    return tmp_path / "settings.toml"


def facts_of(reader: str = "image files", heads: tuple[str, ...] = ("label",), **values: Any) -> TaskFacts:
    return TaskFacts("some", reader, (8, 8, 3), heads, **{"train_files": "train/*/*", "dataset": "a/b"} | values)


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_task_of_one_s_own_is_what_the_package_makes_of_it(settings: Path) -> None:
    task, found = read_task(settings.with_name("task.toml")), own_task(settings.parent)
    assert found
    for key, value in found._asdict().items():
        assert value == (tuple(task.heads) if key == "heads" else getattr(task, key))
    assert own_task(HOUSE) is None
    assert LEADS_OUT == tasks.LEADS_OUT


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('train_files = "photos/*"\n', "", "no train_files; expected a text"),
        ('"photos/*"', '["a", "b"]', "train_files = ['a', 'b']; expected a text"),
        ('"photos/*"', '"/photos/*"', "train_files = '/photos/*'; expected a pattern below the data folder"),
        ('"labels.csv"', '"../../../etc/passwd"', "labels_file = '../../../etc/passwd'; expected a pattern below"),
        ('"photos/*"', '"a/../../b/*"', "train_files = 'a/../../b/*'; expected a pattern below"),
        ('"more/*"', "'..\\more\\*'", "test_files = '..\\\\more\\\\*'; expected a pattern below"),
        ('"more/*"', '"~/more/*"', "test_files = '~/more/*'; expected a pattern below"),
        ('"more/*"', "'C:/more/*'", "test_files = 'C:/more/*'; expected a pattern below"),
        ("[heads]", "heads = 3\n[others]", "heads = 3; expected a table"),
        ("[heads]", 'hidden_images = "many"\n[heads]', "hidden_images = 'many'; expected a whole number"),
        ("[heads]", "[heads", "not TOML ("),
    ],
)
def test_a_mistake_in_a_task_is_one_line(settings: Path, before: str, after: str, told: str) -> None:
    path = settings.with_name("task.toml")
    assert before in LEAVES
    path.write_text(LEAVES.replace(before, after))
    with pytest.raises(BundlerError) as error:
        own_task(path.parent)
    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)


def test_the_task_of_a_training_is_the_one_set_or_named_or_beside_or_the_first(settings: Path) -> None:
    assert trained_task(PACKAGE, settings).name == "leaves"
    settings.write_text('[model]\ntask = "animals10"\n')
    assert trained_task(PACKAGE, settings).name == "animals10"
    assert trained_task(PACKAGE, settings, ["epochs=1", " task = sign-mnist"]).name == "sign-mnist"
    assert trained_task(PACKAGE, settings, ["task=leaves"]).name == "leaves"
    settings.write_text("")
    settings.with_name("task.toml").unlink()
    assert trained_task(PACKAGE, settings).name == next(iter(TASKS))
    with pytest.raises(
        BundlerError, match=r"^task: 'leaves' is not known; one of bengali, .*, or that of a task\.toml$"
    ):
        task_named(PACKAGE, settings, "leaves")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model\n", "not TOML ("),
        ("model = 3\n", "model = 3; expected a line [model] with keys below it"),
    ],
)
def test_a_mistake_in_the_settings_of_a_training_is_one_line(settings: Path, text: str, told: str) -> None:
    settings.write_text(text)
    with pytest.raises(BundlerError) as error:
        trained_task(PACKAGE, settings)
    assert str(error.value).startswith(f"{settings}: {told}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_settings_and_tasks_are_read_as_meant_however_an_editor_saved_them(settings: Path, form: str) -> None:
    settings.with_name("task.toml").write_bytes(FORMS[form](LEAVES))
    settings.write_bytes(FORMS[form]('[model]\ntask = "leaves"\n'))
    assert trained_task(PACKAGE, settings).name == "leaves"


def test_the_task_of_weights_is_that_of_their_manifest(tmp_path: Path) -> None:
    assert predicted_task(tmp_path / "nowhere", {}) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert predicted_task(tmp_path, built_in_tasks(PACKAGE)) is None
    (tmp_path / "one.manifest.json").write_text(json.dumps({"task": task_dict(TASKS["animals10"])}))
    assert predicted_task(tmp_path, built_in_tasks(PACKAGE)) == built_in_tasks(PACKAGE)["animals10"]


def test_the_limits_of_a_task_that_is_built_in_are_this_version_s_whatever_a_manifest_says(tmp_path: Path) -> None:
    written = task_dict(TASKS["bengali"])
    for key in ("has_hidden_test", "gpu_minutes", "cpu_minutes"):
        del written[key]
    (tmp_path / "manifest.json").write_text(json.dumps({"task": written}))
    found = predicted_task(tmp_path, built_in_tasks(PACKAGE))
    assert found
    assert (found.submission_minutes("GPU"), found.submission_minutes("CPU")) == (120, 540)
    (tmp_path / "manifest.json").write_text(json.dumps({"task": written | {"name": "letters"}}))
    own = predicted_task(tmp_path, built_in_tasks(PACKAGE))
    assert own
    assert (own.has_hidden_test, own.submission_minutes("GPU"), own.image_bytes) == (True, 720, 137 * 236)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"task": "bengali"}', "task = 'bengali'; expected a table of its keys"),
        ('{"task": {"name": "leaves"}}', "no reader; expected a text"),
        ("[]", "expected a JSON object"),
        ("cut", "not JSON ("),
    ],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BundlerError) as error:
        predicted_task(tmp_path, built_in_tasks(PACKAGE))
    assert str(error.value).startswith(f"{tmp_path / 'manifest.json'}: {told}")


def test_a_truth_file_or_a_fifth_left_out_tells_the_labels(tmp_path: Path) -> None:
    assert has_truth(tmp_path, facts_of())
    assert has_truth(tmp_path, facts_of(labels_file="train.csv"))
    asks = facts_of(test_files="test/*", sample_submission="sample_submission.csv")
    assert not has_truth(tmp_path, asks)
    lay_out(tmp_path, "truth.csv")
    assert has_truth(tmp_path, asks)


def test_images_are_the_task_s_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    task = facts_of(train_files="train/*/*.png", test_files="test/*/*.png", labels_file="train.csv")
    lay_out(tmp_path, "train/oak/1.PNG", "test/elm/2.Png", "train.csv")
    task.check_data(tmp_path, "train")
    task.check_data(tmp_path, "predict")
    assert not has_truth(tmp_path, task._replace(labels_file=""))
    with pytest.raises(BundlerError, match=r"it holds no train/\*/\*\.jpg$"):
        task._replace(train_files="train/*/*.jpg").check_data(tmp_path, "train")


def test_predicting_the_fifth_left_out_needs_the_labels_that_it_is_drawn_by(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png")
    task = facts_of(labels_file="train.csv")
    with pytest.raises(BundlerError, match=r"it holds no train\.csv$"):
        task.check_data(tmp_path, "predict")
    task._replace(test_files="train/*/*").check_data(tmp_path, "predict")


def test_test_images_tell_their_labels_in_class_folders_only(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png", "train/elm/2.png", "test/oak/3.png", "more/4.png")
    assert has_truth(tmp_path, facts_of(test_files="test/*/*"))
    assert not has_truth(tmp_path, facts_of(test_files="more/*"))
    assert not has_truth(tmp_path, facts_of(test_files="test/*/*", labels_file="train.csv"))
    lay_out(tmp_path, "test/unknown/5.png")
    assert not has_truth(tmp_path, facts_of(test_files="test/*/*"))


def test_a_test_file_of_pixels_tells_its_labels_in_the_heads_columns_only(tmp_path: Path) -> None:
    for file, text in (("test.csv", "kind,pixel0,is_ill\n1,2,3\n"), ("bare.csv", "pixel0,is_ill\n"), ("empty.csv", "")):
        (tmp_path / file).write_text(text)
    for file, is_told in (("test.csv", True), ("bare.csv", False), ("empty.csv", False), ("*.csv", False)):
        assert has_truth(tmp_path, facts_of("pixel csv", ("kind", "is_ill"), test_files=file)) == is_told, file
    assert not has_truth(tmp_path, facts_of("pixel csv", ("kind",), test_files="test.csv", labels_file="train.csv"))


@pytest.mark.parametrize("left", ["._{}", ".ipynb_checkpoints/{}", "__MACOSX/{}"])
def test_what_a_system_left_beside_the_data_is_no_data(tmp_path: Path, left: str) -> None:
    images = facts_of(train_files="*/*.png")
    table = facts_of("pixel csv", train_files="*.csv", test_files="*.csv")
    lay_out(tmp_path, left.format("1.png"), left.format("train.csv"), f"oak/{left.format('1.png')}")
    for task in (images, table, facts_of(train_files="*", test_files="*/*/*")):
        with pytest.raises(BundlerError, match="it holds no "):
            task.check_data(tmp_path, "train")
    lay_out(tmp_path, "oak/1.png", "train.csv")
    for task in (images, table):
        task.check_data(tmp_path, "train")


def test_windows_own_files_are_no_data_in_any_case(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"oak/{name}" for name in ("Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini")))
    with pytest.raises(BundlerError, match="it holds no "):
        facts_of(train_files="*/*").check_data(tmp_path, "train")
    lay_out(tmp_path, "oak/thumbs.png")
    facts_of(train_files="*/*").check_data(tmp_path, "train")


def test_a_hidden_folder_around_the_data_hides_none_of_it(tmp_path: Path) -> None:
    lay_out(tmp_path / ".cache" / "data", "train/oak/1.png")
    facts_of().check_data(tmp_path / ".cache" / "data", "train")


def test_a_folder_that_matches_is_no_file(tmp_path: Path) -> None:
    for name in ("train/oak/deeper", "train.csv"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(BundlerError, match=r"it holds no train/\*/\* and no train\.csv$"):
        facts_of(labels_file="train.csv").check_data(tmp_path, "train")


def test_what_a_system_left_has_no_label(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/oak/1.png", "test/oak/3.png", "test/.ipynb_checkpoints/3-checkpoint.png", "test/._oak/x")
    assert has_truth(tmp_path, facts_of(test_files="test/*/*"))
    (tmp_path / "test.csv").write_text("label,pixel0\n")
    (tmp_path / "._test.csv").write_bytes(b"\0\5\x16\7\xff")
    assert has_truth(tmp_path, facts_of("pixel csv", test_files="*.csv"))


def test_what_a_system_left_beside_weights_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "._manifest.json").write_bytes(b"\0\5\x16\7\xff")
    (tmp_path / ".new-manifest.json").write_text("cut")
    assert predicted_task(tmp_path, {}) is None
    (tmp_path / "manifest.json").write_text(json.dumps({"task": task_dict(TASKS["animals10"])}))
    assert predicted_task(tmp_path, built_in_tasks(PACKAGE)) == built_in_tasks(PACKAGE)["animals10"]
