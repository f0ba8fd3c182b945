"""Settings that name a folder, weights or a network which Kaggle would not have, and those that are right."""

import json
from pathlib import Path

import pytest

from bundler.check.preflight import RULES
from bundler.metadata import DATASET_FILE, PREDICT_FILE, TRAIN_FILE
from tests.project_copy import DATASET, SETTINGS, change, lines, notes, stage, write_settings

pytestmark = pytest.mark.usefixtures("quick")
FOUND = "leave it out, and it is found where Kaggle mounts it"
WORKING = "leave it out, and it is /kaggle/working"
NOT_MOUNTED = "nothing that {} attaches is mounted there"


@pytest.mark.parametrize("kernel", ["train", "predict"])
@pytest.mark.parametrize(
    ("key", "folder", "rule"),
    [
        ("data", "data/bengali", "/kaggle/working/data/bengali on Kaggle, where nothing is when a kernel starts"),
        ("data", "../data", "no folder of Kaggle's"),
        ("data", ".", "/kaggle/working on Kaggle, where nothing is when a kernel starts"),
        ("data", "/data/bengali", "no folder of Kaggle's"),
        ("data", "~", "no folder of Kaggle's"),
        ("data", "~/bengali", "no folder of Kaggle's"),
        ("data", r"C:\Users\me\bengali", "no folder of Kaggle's"),
        ("data", "C:/Users/me/bengali", "no folder of Kaggle's"),
        ("data", r"..\data", "no folder of Kaggle's"),
        ("data", "/kaggle/inputs/bengaliai-cv19", "no folder of Kaggle's"),
        ("data", "/Kaggle/input/bengaliai-cv19", "no folder of Kaggle's"),
        ("data", "/kaggle/temp/data", "/kaggle/temp/data on Kaggle, where nothing is when a kernel starts"),
        ("data", "/kaggle/input/bengali-cv19", f"{NOT_MOUNTED}, but at /kaggle/input/bengaliai-cv19"),
        (
            "data",
            "/kaggle/input/datasets/bengaliai-cv19",
            f"{NOT_MOUNTED}, but at /kaggle/input/bengaliai-cv19",
        ),
        ("weights", "dataset_meta", "/kaggle/working/dataset_meta on Kaggle, where nothing is when a kernel starts"),
        ("weights", "/kaggle/input", NOT_MOUNTED),
        ("working", "out", "/kaggle/working/out on Kaggle, which is not there when a kernel starts"),
        ("working", "/kaggle/working/out", "/kaggle/working/out on Kaggle, which is not there when a kernel starts"),
        ("working", "/kaggle/input/w", "read-only on Kaggle"),
        ("working", "../input", "read-only on Kaggle"),
        ("working", "/kaggle/temp", "Kaggle keeps only what is in /kaggle/working"),
        ("working", "/tmp", "Kaggle keeps only what is in /kaggle/working"),
        ("working", "~", "no folder of Kaggle's"),
    ],
)
def test_a_folder_that_a_kernel_would_not_find_is_named(
    house: Path, kernel: str, key: str, folder: str, rule: str
) -> None:
    write_settings(house, kernel, f"{key} = {json.dumps(folder)}")
    file = {"train": TRAIN_FILE, "predict": PREDICT_FILE}[kernel]
    instead = WORKING if key == "working" else FOUND
    assert lines(house) == [f"{SETTINGS[kernel]}: {key} = {json.dumps(folder)}: {rule.format(file)}; {instead}"]


@pytest.mark.parametrize(
    ("folder", "near"),
    [
        ("/kaggle/input/other-weights", "/kaggle/input/multihead-weights"),
        ("/kaggle/input/datasets/OWNER/other-weights", "/kaggle/input/datasets/OWNER/multihead-weights"),
        ("/kaggle/input/bengaliai-cv19", "/kaggle/input/multihead-weights"),
        ("../input/other-weights", "/kaggle/input/multihead-weights"),
        ("/kaggle/input/datasets/OWNER", "/kaggle/input/datasets/OWNER/multihead-weights"),
    ],
)
def test_weights_where_nothing_attached_is_mounted_are_named_with_the_nearest_mount(
    house: Path, folder: str, near: str
) -> None:
    write_settings(house, "predict", f'weights = "{folder}"')
    rule = f"{NOT_MOUNTED.format(PREDICT_FILE)}, but at {near}"
    assert lines(house) == [f'{SETTINGS["predict"]}: weights = "{folder}": {rule}; {FOUND}']


@pytest.mark.parametrize(
    "folder",
    [
        "/kaggle/input/bengaliai-cv19",
        "/kaggle/input/competitions/bengaliai-cv19/",
        "../input/bengaliai-cv19",
        "/kaggle/input/bengaliai-cv19/images",
        "/kaggle/input/competitions",
        "",
    ],
)
def test_data_may_be_named_in_either_form_of_the_mounts(house: Path, folder: str) -> None:
    write_settings(house, "train", f'data = "{folder}"')
    assert lines(house) == []


@pytest.mark.parametrize(
    ("key", "source", "folder"),
    [
        ("dataset_sources", DATASET, "/kaggle/input/multihead-weights"),
        ("dataset_sources", f"{DATASET}/3", "/kaggle/input/datasets/OWNER/multihead-weights"),
        ("dataset_sources", DATASET, "/kaggle/input/d/OWNER/multihead-weights/unpacked"),
        ("dataset_sources", DATASET, "/kaggle/input/datasets/owner/multihead-weights"),
        ("kernel_sources", "OWNER/multihead-train", "/kaggle/input/multihead-train"),
        ("kernel_sources", "OWNER/multihead-train", "/kaggle/input/notebooks/OWNER/multihead-train"),
        ("model_sources", "google/vit/Keras/base/1", "/kaggle/input/vit/keras/base/1"),
        ("model_sources", "google/vit/Keras/base/1", "/kaggle/input/models/google/vit/keras/base/1/part"),
        ("model_sources", "google/vit/Keras/base/1", "/kaggle/input/m/google/vit/keras/base/1"),
    ],
)
def test_weights_may_be_named_in_any_form_of_a_mount_of_theirs(house: Path, key: str, source: str, folder: str) -> None:
    change(house, PREDICT_FILE, **{"dataset_sources": [], key: [source]})
    write_settings(house, "predict", f'weights = "{folder}"\nworking = "/kaggle/working"')
    assert lines(house) == []


def test_of_sources_that_are_a_finding_nothing_is_said_to_be_mounted_or_not(house: Path) -> None:
    change(house, PREDICT_FILE, kernel_sources=["no-owner"])
    write_settings(house, "predict", 'weights = "/kaggle/input/w"')
    assert lines(house) == [f'{PREDICT_FILE}: kernel_sources = "no-owner": expected <owner>/<slug>']


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("b1.model.weights.h5", 'put "b1"'),
        ("b1.manifest.json", 'put "b1"'),
        ("b1.h5", 'put "b1"'),
        ("model.weights.h5", "leave ensemble out, for weights without a name"),
    ],
)
def test_a_file_s_name_in_the_ensemble_is_told_what_to_put(house: Path, name: str, cure: str) -> None:
    write_settings(house, "predict", f'ensemble = ["{name}"]')
    rule = f"a file's name, not that of weights; {cure}"
    assert lines(house) == [f'{SETTINGS["predict"]}: ensemble = "{name}": {rule}']


def test_members_that_are_all_named_as_often_only_take_time(house: Path) -> None:
    stage(house, "b1")
    write_settings(house, "predict", 'ensemble = ["b1", "b1"]')
    assert lines(house) == [
        f'{SETTINGS["predict"]}: ensemble = "b1": named 2 times: the same answer in 2 times the time'
    ]


def test_a_member_that_counts_more_than_another_is_a_note_before_the_push(owned: Path) -> None:
    stage(owned, "b1")
    stage(owned, "b3")
    write_settings(owned, "predict", 'ensemble = ["b1", "b1", "b3"]')
    note = f'{SETTINGS["predict"]}: ensemble = "b1": named 2 times: it counts, and takes, 2 times as much'
    assert [lines(owned, action) for action in RULES] == [[], [], [], [note]]
    assert notes(owned, "push predict") == [note]


def test_an_ensemble_of_weights_of_two_tasks_is_named_with_both(house: Path) -> None:
    stage(house, "b1", task={"name": "bengali"})
    stage(house, "b3", task={"name": "animals10"})
    write_settings(house, "predict", 'ensemble = ["b1", "b3"]')
    rule = "weights of several tasks: b1 of bengali, b3 of animals10"
    assert lines(house) == [f'{SETTINGS["predict"]}: ensemble = ["b1", "b3"]: {rule}']
    stage(house, "b3", task={"name": "bengali"})
    assert lines(house) == []


@pytest.mark.parametrize(
    ("file", "network", "backbone"),
    [
        ("efficientnet-b0_noisy-student_notop.h5", "efficientnet-b0", "efficientnet-b1"),
        (
            "efficientnet-b4_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5",
            "efficientnet-b4",
            "efficientnet-b1",
        ),
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16", "vgg19"),
    ],
)
def test_pretrained_weights_of_another_network_are_named(house: Path, file: str, network: str, backbone: str) -> None:
    (house / "dataset_meta" / file).write_bytes(b"x")
    change(house, TRAIN_FILE, dataset_sources=[DATASET])
    write_settings(house, "train", f'pretrained = "{file}"', f'backbone = "{backbone}"')
    rule = f'the weights of {network}; backbone is "{backbone}"'
    assert lines(house) == [f'{SETTINGS["train"]}: pretrained = "{file}": {rule}']
    write_settings(house, "train", f'pretrained = "{file}"', f'backbone = "{network}"')
    assert lines(house) == []


def test_further_images_need_something_attached(house: Path) -> None:
    source = '[{ folder = "data/rendered", origin = "fonts", licence = "OFL-1.1" }]'
    write_settings(house, "train", f"further_images = {source}")
    rule = f"{TRAIN_FILE} attaches no dataset that could hold it"
    assert lines(house) == [f'{SETTINGS["train"]}: further_images = "data/rendered": {rule}']
    change(house, TRAIN_FILE, dataset_sources=["somebody/rendered"])
    assert lines(house) == []


def test_a_training_that_must_resume_needs_something_attached(house: Path) -> None:
    write_settings(house, "train", 'resume = "required"')
    rule = f"{TRAIN_FILE} attaches nothing that could hold a checkpoint"
    assert lines(house) == [f'{SETTINGS["train"]}: resume = "required": {rule}']
    change(house, TRAIN_FILE, kernel_sources=["OWNER/multihead-train"])
    assert lines(house) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[training]\nepochs = 3\n", "[training] is not known; the tables are [model] and [run]"),
        ('[run]\nrequire_gpu = "true"\n', "require_gpu = 'true'; expected true or false"),
        ('[run]\ntime_budget_minutes = "115"\n', "time_budget_minutes = '115'; expected a number"),
        ('[run]\nensemble = "b1"\n', "ensemble = 'b1'; expected a list of texts"),
        (
            '[run]\npretrained = "first/model.weights.h5"\n',
            "pretrained = 'first/model.weights.h5': what a training leaves itself is called so; "
            "expected NAME.model.weights.h5",
        ),
    ],
)
def test_what_the_package_refuses_is_told_in_its_words(house: Path, text: str, rule: str) -> None:
    (house / SETTINGS["predict"]).write_text(text)
    (found,) = lines(house)
    assert found.startswith(f"{SETTINGS['predict']}: {rule}")


def test_settings_that_are_not_there_are_named(house: Path) -> None:
    (house / SETTINGS["train"]).unlink()
    assert lines(house) == [f"{SETTINGS['train']}: cannot be read (No such file or directory)"]


def test_predicting_a_hidden_test_without_a_time_budget_is_a_note_before_the_push(owned: Path) -> None:
    (owned / SETTINGS["predict"]).write_text("[run]\n")
    rule = "no budget; a submission that takes longer than 120 minutes is lost"
    note = f"{SETTINGS['predict']}: time_budget_minutes = 0: {rule}"
    assert [lines(owned, action) for action in ("build", "push train", "push predict")] == [[], [], [note]]
    change(owned, PREDICT_FILE, enable_gpu="false", machine_shape=None)
    assert notes(owned, "push predict") == [note.replace("120", "540")]


def test_without_a_competition_there_is_no_submission_to_lose(owned: Path) -> None:
    write_settings(owned, "train", "", 'task = "animals10"')
    (owned / SETTINGS["predict"]).write_text("[run]\n")
    for file in (TRAIN_FILE, PREDICT_FILE):
        sources = ["alessiocorrado99/animals10", json.loads((owned / DATASET_FILE).read_text())["id"]]
        change(owned, file, competition_sources=[], dataset_sources=sources)
    assert [lines(owned, action) for action in ("build", "push train", "push predict")] == [[], [], []]
