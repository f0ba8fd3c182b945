"""Each rule with one file broken for it, and the line that names it."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slugify import slugify

from bundler.build import parts
from bundler.check import preflight
from bundler.check.keys import DATASET_KEYS, KERNEL_KEYS, LICENCES, MACHINES
from bundler.check.preflight import PUSHES, RULES, key_findings, require_preflight
from bundler.errors import BundlerError
from bundler.metadata import DATASET_FILE, METADATA_FILES, PLAIN_TITLE, PREDICT_FILE, TRAIN_FILE, slug_of
from multihead.config.manifest import FORMAT
from tests.conftest import HOUSE
from tests.project_copy import ABSENT, DATASET, SETTINGS, change, lines, own_source, stage
from tests.test_text_files import FORMS


def test_nothing_is_reported_for_the_project_as_it_stands(house: Path) -> None:
    assert lines(HOUSE) == []
    assert lines(house) == []


def test_a_build_needs_no_owner_and_no_weights_but_a_push_does(house: Path) -> None:
    owner = "no owner yet; build_kernel.py --owner NAME writes it"
    assert [lines(house, action) for action in RULES] == [
        [],
        [f'{TRAIN_FILE}: id = "OWNER/multihead-train": {owner}'],
        [
            f'{DATASET_FILE}: id = "{DATASET}": {owner}',
            "dataset_meta: files = (missing): nothing to push; "
            "build_kernel.py stage, fetch-weights or fetch-wheels puts it there",
        ],
        [f'{PREDICT_FILE}: id = "OWNER/multihead-predict": {owner}'],
    ]


@pytest.mark.usefixtures("quick")
def test_nothing_is_reported_where_all_is_ready_for_a_push(owned: Path) -> None:
    stage(owned)
    assert [lines(owned, action) for action in RULES] == [[]] * 4


@pytest.mark.usefixtures("quick")
def test_pretrained_weights_can_be_pushed_before_any_training(owned: Path) -> None:
    (owned / "dataset_meta" / "b1.h5").touch()
    assert [lines(owned, action) for action in RULES] == [[]] * 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db"])
def test_what_a_system_left_is_nothing_to_push(owned: Path, name: str) -> None:
    (owned / "dataset_meta" / name).touch()
    assert [line.split(" = ")[0] for line in lines(owned, "push weights")] == [
        f"dataset_meta/{name}: bytes",
        "dataset_meta: files",
    ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("there", "looked_for", "message"),
    [
        (["b1", "b3"], [], "b1.model.weights.h5, b3.model.weights.h5: predicting looks for model.weights.h5"),
        ([""], ["b1"], "model.weights.h5: predicting looks for b1.model.weights.h5"),
        (["b1"], ["b1", "b3"], "b1.model.weights.h5: predicting looks for b3.model.weights.h5"),
    ],
)
def test_weights_that_predicting_does_not_look_for_are_named_before_a_push(
    owned: Path, there: list[str], looked_for: list[str], message: str
) -> None:
    for name in there:
        stage(owned, name)
    (owned / SETTINGS["predict"]).write_text(f"[run]\ntime_budget_minutes = 9\nensemble = {json.dumps(looked_for)}\n")
    line = (
        f"dataset_meta: weights = {message}; name in ensemble of {SETTINGS['predict']} what is there, or stage it again"
    )
    assert [lines(owned, push) for push in PUSHES] == [[], [line], [line]]
    change(owned, PREDICT_FILE, kernel_sources=["some-body/multihead-train"])
    assert [lines(owned, push) for push in PUSHES] == [[], [], []]


@pytest.mark.usefixtures("quick")
def test_a_push_is_not_held_again_to_what_its_build_was(owned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(owned)
    (owned / "dataset_meta" / "model.weights.h5").write_bytes(b"other")
    change(owned, PREDICT_FILE, title="another title")
    monkeypatch.setattr(preflight, "build_kernel", lambda *_: pytest.fail("built again"))
    assert [lines(owned, push) for push in PUSHES] == [[], [], []]


MACHINE_NAMES = ", ".join(MACHINES)
NO_REFERENCE = "expected <owner>/<slug>"
TITLE_50 = "expected 5 to 50 characters; over 50 Kaggle's server fails"
NO_INTERNET = "expected false: the competition allows no internet, the default is true"
FLAG = "expected true or false"
NO_MODEL = "expected <owner>/<model>/<framework>/<variation>/<version>"
NO_TPU = "the package knows GPU and CPU only, and Kaggle starts what is pushed without a TPU's libraries; ask for a GPU"
NO_LICENCE = f"no licence of Kaggle's; one of {', '.join(LICENCES)}"
COMPETITION = "expected bengaliai-cv19 among them, where task bengali comes from"
ATTACHED = f"nothing attached that could hold weights; put in the id in {DATASET_FILE}"

# the key, what is written there, and the rule; then what is shown of it, where that is not all of it
KERNEL_FAULTS: list[tuple[Any, ...]] = [
    ("id", ABSENT, NO_REFERENCE),
    ("id", "multihead-train", NO_REFERENCE),
    ("id", "OWNER/", NO_REFERENCE),
    ("id", "OWNER/multihead-train/2", f'{NO_REFERENCE}; put "OWNER/multihead-train"'),
    ("id", 7, "expected a text"),
    ("id", "OWNER/mult", "expected a slug of 5 to 50 characters"),
    ("id", "OWNER/" + "m" * 51, "expected a slug of 5 to 50 characters"),
    ("title", ABSENT, TITLE_50),
    ("title", "mult", TITLE_50),
    ("title", "m" * 51, TITLE_50),
    ("title", None, "expected a text"),
    (
        "title",
        "multihead train 2",
        "Kaggle makes multihead-train-2 of it, which is not id's slug, multihead-train; change one of them",
    ),
    ("code_file", ABSENT, "expected a text"),
    ("code_file", "kernel.py", "expected train_kernel.py, which is what is built"),
    ("language", ABSENT, "expected python, which the built kernel is"),
    ("language", "r", "expected python, which the built kernel is"),
    ("kernel_type", ABSENT, "expected script or notebook, of which one is built"),
    ("kernel_type", "r", "expected script or notebook, of which one is built"),
    ("is_private", "yes", FLAG),
    ("enable_gpu", ABSENT, FLAG),
    ("enable_gpu", 1, FLAG),
    ("enable_tpu", "off", FLAG),
    ("enable_tpu", None, FLAG),
    ("enable_tpu", True, NO_TPU),
    ("enable_internet", ABSENT, NO_INTERNET),
    ("enable_internet", True, NO_INTERNET),
    ("enable_internet", "True", NO_INTERNET),
    ("enable_internet", " false", FLAG),
    ("machine_shape", "NvidiaTeslaP100", "retired by Kaggle; NvidiaTeslaT4 is two T4s"),
    ("machine_shape", "Gpu T4 x2", f"no machine of Kaggle's; one of {MACHINE_NAMES}"),
    ("machine_shape", "TpuV5E8", NO_TPU),
    ("machine_shape", "TpuV38", NO_TPU),
    ("machine_shape", "NvidiaTeslaT4Highmem", "Kaggle's own, no user's; NvidiaTeslaT4 is two T4s"),
    (
        "machine_shape",
        "nvidia-tesla-t4",
        "no machine of Kaggle's; did you mean NvidiaTeslaT4?",
    ),
    ("docker_image_pinning_type", "newest", "expected original or latest"),
    ("competition_sources", ABSENT, "expected a list of texts"),
    ("competition_sources", "bengaliai-cv19", "expected a list of texts"),
    ("competition_sources", [], COMPETITION),
    ("competition_sources", ["bengali-cv19"], COMPETITION),
    (
        "competition_sources",
        ["bengaliai-cv19", "c/bengaliai-cv19"],
        'expected the slug in the competition\'s address; put "bengaliai-cv19"',
        '"c/bengaliai-cv19"',
    ),
    ("dataset_sources", ABSENT, "expected a list of texts"),
    ("dataset_sources", [7], "expected a list of texts"),
    ("dataset_sources", ["weights"], NO_REFERENCE, '"weights"'),
    ("dataset_sources", [DATASET, "datasets/a/b"], f'{NO_REFERENCE}; put "a/b"', '"datasets/a/b"'),
    ("kernel_sources", ["multihead-train"], NO_REFERENCE, '"multihead-train"'),
    ("model_sources", ["google/vit/keras/base"], NO_MODEL, '"google/vit/keras/base"'),
    ("keywords", "graphemes", "expected a list of texts"),
    ("id_no", "12", "expected a whole number"),
    ("enable_intenet", False, "no key of this file, silently ignored; did you mean enable_internet?"),
    ("gpu", True, "no key of this file, silently ignored"),
]
DATASET_FAULTS: list[tuple[Any, ...]] = [
    ("id", ABSENT, NO_REFERENCE),
    ("title", ABSENT, "expected 6 to 50 characters"),
    ("title", "multi", "expected 6 to 50 characters"),
    ("title", "m" * 51, "expected 6 to 50 characters"),
    ("subtitle", "Weights", "expected 20 to 80 characters"),
    ("subtitle", "W" * 78 + "xyz", "expected 20 to 80 characters", '"' + "W" * 76 + "..."),
    ("licenses", ABSENT, 'expected exactly one, as [{"name": "CC0-1.0"}]'),
    ("licenses", [], 'expected exactly one, as [{"name": "CC0-1.0"}]'),
    ("licenses", [{"name": "CC0-1.0"}, {"name": "other"}], 'expected exactly one, as [{"name": "CC0-1.0"}]'),
    ("licenses", ["CC0-1.0"], "expected a list of objects"),
    ("licenses", [{"name": "CC0"}], "no licence of Kaggle's; did you mean CC0-1.0?", '{"name": "CC0"}'),
    ("licenses", [{"name": "beer"}], NO_LICENCE, '{"name": "beer"}'),
    ("resources", [{"path": "a.csv"}, {"path": "a.csv"}], "expected each path once; a.csv is there twice"),
    ("resources", [{"description": "weights"}], 'expected a file name as "path"', '{"description": "weights"}'),
    ("licences", [], "no key of this file, silently ignored; did you mean licenses?"),
    ("is_private", True, "no key of this file, silently ignored"),
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("file", "fault"),
    [*((TRAIN_FILE, fault) for fault in KERNEL_FAULTS), *((DATASET_FILE, fault) for fault in DATASET_FAULTS)],
)
def test_a_key_that_kaggle_would_not_take_is_named_with_its_rule(
    house: Path, file: str, fault: tuple[Any, ...]
) -> None:
    key, value, rule, *shown = fault
    change(house, file, **{key: value})
    text = shown[0] if shown else "(missing)" if value is ABSENT else json.dumps(value)
    assert lines(house) == [f"{file}: {key} = {text}: {rule}"]


def test_every_key_has_its_fault_here_or_is_only_asked_for_its_type() -> None:
    for keys, faults in ((KERNEL_KEYS, KERNEL_FAULTS), (DATASET_KEYS, DATASET_FAULTS)):
        broken = {fault[0] for fault in faults}
        assert {key for key, rule in keys.items() if rule.rules or rule.item_rules or rule.is_needed} <= broken


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("file", "values"),
    [
        (TRAIN_FILE, {"kernel_sources": ["OWNER/multihead-train"], "dataset_sources": ["some_body/their-weights/3"]}),
        (TRAIN_FILE, {"model_sources": ["google/vit/keras/base/1"], "docker_image_pinning_type": "latest"}),
        (TRAIN_FILE, {"machine_shape": "NvidiaL4", "keywords": [], "is_private": False}),
        (TRAIN_FILE, {"machine_shape": "", "id_no": 12}),
        (TRAIN_FILE, {"machine_shape": "None"}),
        (TRAIN_FILE, {"competition_sources": ["bengaliai-cv19", "LANL-Earthquake-Prediction", "a_b"]}),
        (TRAIN_FILE, {"enable_tpu": ABSENT, "kernel_sources": ABSENT, "machine_shape": ABSENT}),
        (TRAIN_FILE, {"id": "OWNER/bengali-1st-try", "title": "Bengali_1st.try-"}),
        (TRAIN_FILE, {"title": "only Kaggle knows its slug: graphèmes & co."}),
        (PREDICT_FILE, {"dataset_sources": [f"{DATASET}/2"]}),
        (PREDICT_FILE, {"dataset_sources": ["some-body/their-weights"]}),
        (PREDICT_FILE, {"dataset_sources": [], "kernel_sources": ["OWNER/multihead-train"]}),
        (PREDICT_FILE, {"dataset_sources": [], "model_sources": ["google/vit/keras/base/1"]}),
        (DATASET_FILE, {"subtitle": ABSENT, "description": "", "licenses": [{"name": "apache-2.0"}]}),
    ],
)
def test_what_kaggle_takes_is_no_finding(house: Path, file: str, values: dict[str, Any]) -> None:
    change(house, file, **values)
    assert lines(house) == []


@given(
    st.sampled_from(METADATA_FILES),
    st.text(max_size=20),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
)
def test_any_unknown_key_is_named_in_one_line(file: str, key: str, value: Any) -> None:
    known = DATASET_KEYS if file == DATASET_FILE else KERNEL_KEYS
    metadata = json.loads((HOUSE / file).read_text()) | {key: value}
    if key in known:
        return
    (line,) = map(str, key_findings(file, metadata))
    assert line.startswith((f"{file}: {key} = ", f"{file}: {json.dumps(key)} = "))
    assert "no key of this file" in line
    assert len(line.splitlines()) == 1


@given(st.from_regex(PLAIN_TITLE, fullmatch=True))
def test_a_plain_title_s_slug_is_what_the_client_makes_of_it(title: str) -> None:
    assert slug_of(title) == slugify(title)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (
            PREDICT_FILE,
            {"id": "some-body/multihead-predict"},
            f'{PREDICT_FILE}: id = "some-body/multihead-predict": another owner than in {TRAIN_FILE}; '
            "build_kernel.py --owner NAME writes one",
        ),
        (
            PREDICT_FILE,
            {"id": "OWNER/multihead-train", "title": "multihead train"},
            f'{PREDICT_FILE}: id = "OWNER/multihead-train": the id in {TRAIN_FILE} too: '
            "one push would replace the other",
        ),
        (PREDICT_FILE, {"dataset_sources": []}, f"{PREDICT_FILE}: dataset_sources = []: {ATTACHED}"),
        (
            TRAIN_FILE,
            {"enable_gpu": False, "machine_shape": ""},
            f"{SETTINGS['train']}: require_gpu = true: enable_gpu is false in {TRAIN_FILE}",
        ),
    ],
)
def test_what_two_files_contradict_is_named(house: Path, file: str, values: dict[str, Any], message: str) -> None:
    change(house, file, **values)
    assert lines(house) == [message]


@pytest.mark.usefixtures("quick")
def test_a_gpu_that_is_not_enabled_is_named(house: Path) -> None:
    (house / SETTINGS["train"]).write_text("")
    change(house, TRAIN_FILE, enable_gpu=False)
    assert lines(house) == [f'{TRAIN_FILE}: machine_shape = "NvidiaTeslaT4": a GPU, but enable_gpu is false']


NOWHERE = "no folder of Kaggle's; leave it out, and it is found where Kaggle mounts it"
IN_DATASET = "in dataset_meta, the only dataset attached; build_kernel.py"
TAKEN = "leave it out, predicting takes it from the weights"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kernel", "text", "message"),
    [
        ("train", "[run]\nepoch = 3\n", "epoch is not known; did you mean epochs?"),
        ("train", "[run\n", "not TOML ("),
        ("predict", "[run]\nbatch_size = 0\n", "batch_size = 0; expected at least 1"),
        (
            "train",
            '[[run.augmentation]]\nname = "Perspective"\nscale = "far"\n',
            "augmentation 1 (Perspective): scale = 'far'; Input should be a valid tuple",
        ),
        (
            "train",
            "[run]\ntime_budget_minutes = 721\n",
            "time_budget_minutes = 721: Kaggle ends a GPU session after 720",
        ),
        (
            "predict",
            "[run]\ntime_budget_minutes = 120.5\n",
            "time_budget_minutes = 120.5: Kaggle ends a GPU submission after 120 minutes",
        ),
        ("train", '[run]\ndata = "/data/bengali"\n', f'data = "/data/bengali": {NOWHERE}'),
        ("predict", '[run]\nweights = "~/weights"\n', f'weights = "~/weights": {NOWHERE}'),
        (
            "predict",
            '[model]\nbackbone = "efficientnet-b3"\n',
            f'backbone = "efficientnet-b3": {SETTINGS["train"]} has "efficientnet-b1"; {TAKEN}',
        ),
        ("predict", '[model]\ncrop = "none"\n', f'crop = "none": {SETTINGS["train"]} has "ink"; {TAKEN}'),
        (
            "train",
            '[run]\npretrained = "b1.h5"\n',
            f'pretrained = "b1.h5": {TRAIN_FILE} attaches no dataset that could hold it',
        ),
        (
            "predict",
            '[run]\nensemble = ["b1"]\n',
            f'ensemble = "b1": no b1.manifest.json and no b1.model.weights.h5 {IN_DATASET} stage FOLDER --name b1',
        ),
    ],
)
def test_settings_that_cannot_go_well_are_named(house: Path, kernel: str, text: str, message: str) -> None:
    (house / SETTINGS[kernel]).write_text(text)
    (found,) = lines(house)
    assert found.startswith(f"{SETTINGS[kernel]}: {message}")


@pytest.mark.usefixtures("quick")
def test_a_submission_without_a_gpu_has_nine_hours(house: Path) -> None:
    change(house, PREDICT_FILE, enable_gpu=False, machine_shape="")
    settings = house / SETTINGS["predict"]
    settings.write_text("[run]\ntime_budget_minutes = 540\n")
    assert lines(house) == []
    settings.write_text("[run]\ntime_budget_minutes = 541\n")
    assert lines(house)[0].endswith("541: Kaggle ends a CPU submission after 540 minutes")


OWN_TASK = """
name = "leaves"
{source}
reader = "image files"
image_shape = [96, 96, 3]
train_files = "train/*/*.jpg"
test_files = "test/*.jpg"
sample_submission = "sample_submission.csv"
{limit}
[heads]
species = ["ash", "elm"]
"""


@pytest.mark.parametrize(
    ("source", "limit", "minutes", "messages"),
    [
        ('competition = "leaf-health"', "", 720, []),
        ('competition = "leaf-health"', "", 721, ["721: Kaggle ends a GPU session after 720 minutes"]),
        ('competition = "leaf-health"', "gpu_minutes = 540", 540, []),
        (
            'competition = "leaf-health"',
            "gpu_minutes = 540",
            541,
            ["541: Kaggle ends a GPU submission after 540 minutes"],
        ),
        ('dataset = "somebody/leaves"', "gpu_minutes = 60", 720, []),
    ],
)
def test_the_time_of_a_submission_is_that_of_the_task(
    house: Path, source: str, limit: str, minutes: int, messages: list[str]
) -> None:
    (house / "kernel" / "train" / "task.toml").write_text(OWN_TASK.format(source=source, limit=limit))
    (house / SETTINGS["train"]).write_text("[run]\n")
    (house / SETTINGS["predict"]).write_text(f"[run]\ntime_budget_minutes = {minutes}\n")
    competitions = ["leaf-health"] if "competition" in source else []
    for file in (TRAIN_FILE, PREDICT_FILE):
        datasets = [DATASET] if competitions else [DATASET, "somebody/leaves"]
        change(house, file, competition_sources=competitions, dataset_sources=datasets)
    found = [line for line in lines(house) if "time_budget" in line]
    assert found == [f"{SETTINGS['predict']}: time_budget_minutes = {line}" for line in messages]


@pytest.mark.usefixtures("quick")
def test_pretrained_weights_are_in_the_dataset_or_may_be_in_another_s(house: Path) -> None:
    (house / SETTINGS["train"]).write_text('[run]\npretrained = "b1.h5"\n')
    change(house, TRAIN_FILE, dataset_sources=[DATASET])
    message = f'{SETTINGS["train"]}: pretrained = "b1.h5": no b1.h5 {IN_DATASET} fetch-weights'
    assert lines(house) == [message]
    change(house, TRAIN_FILE, dataset_sources=[DATASET, "some-body/their-weights"])
    assert lines(house) == []
    change(house, TRAIN_FILE, dataset_sources=[DATASET])
    (house / "dataset_meta" / "b1.h5").touch()
    assert lines(house) == []
    (house / SETTINGS["train"]).write_text('[run]\npretrained = "first.model.weights.h5"\n')
    (line,) = lines(house)
    assert line.endswith(f"no first.model.weights.h5 and no first.manifest.json {IN_DATASET} stage FOLDER --name first")


@pytest.mark.usefixtures("quick")
def test_an_ensemble_that_is_staged_is_no_finding_and_its_weights_say_what_the_model_is(house: Path) -> None:
    stage(house, "b3", {"backbone": "efficientnet-b3"})
    text = '[model]\nbackbone = "efficientnet-b3"\n[run]\nensemble = ["b3"]\n'
    (house / SETTINGS["predict"]).write_text(text)
    assert lines(house) == []
    (house / SETTINGS["predict"]).write_text(text.replace("-b3", "-b1"))
    assert lines(house) == [
        f'{SETTINGS["predict"]}: backbone = "efficientnet-b1": '
        f'dataset_meta/b3.manifest.json has "efficientnet-b3"; {TAKEN}'
    ]


def test_a_crop_that_is_left_to_the_task_contradicts_no_weights(house: Path) -> None:
    (house / SETTINGS["train"]).write_text('[model]\ncrop = "none"\n')
    (house / SETTINGS["predict"]).write_text('[model]\ncrop = "task"\n')
    assert not [line for line in lines(house) if "crop" in line]


def write(name: str, content: bytes = b"") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def fifty_one_files(folder: Path) -> None:
    for number in range(51):
        (folder / f"{number}.h5").touch()


def weights_of_an_older_version(folder: Path) -> None:
    stage(folder.parent)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))


def weights_of_another_training(folder: Path) -> None:
    stage(folder.parent)
    (folder / "model.weights.h5").write_bytes(b"other")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "messages"),
    [
        (fifty_one_files, ["dataset_meta: files = 51: Kaggle takes at most 50"]),
        (
            write("weights.ZIP", b"PK"),
            ["dataset_meta/weights.ZIP: bytes = 2: Kaggle unpacks archives; put in what it holds"],
        ),
        (
            write("weights.tar.gz"),
            ["dataset_meta/weights.tar.gz: bytes = 0: Kaggle unpacks archives; put in what it holds"],
        ),
        (
            write("b1.manifest.json", b"{}"),
            ["dataset_meta/b1.model.weights.h5: file = (missing): b1.manifest.json is nothing without it"],
        ),
        (
            write("model.weights.h5"),
            ["dataset_meta/manifest.json: file = (missing): model.weights.h5 is nothing without it"],
        ),
        (
            weights_of_another_training,
            [
                f"dataset_meta/model.weights.h5: SHA-256 = {hashlib.sha256(b'other').hexdigest()[:16]}...: "
                "not the file that manifest.json tells of; stage both again"
            ],
        ),
        (
            weights_of_an_older_version,
            [f"dataset_meta/manifest.json: format = 2: this version reads {FORMAT}; train again"],
        ),
    ],
)
def test_a_dataset_that_would_not_arrive_as_meant_is_named(
    house: Path, fault: Callable[[Path], object], messages: list[str]
) -> None:
    fault(house / "dataset_meta")
    assert lines(house) == messages


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            write(".DS_Store", b"x" * 6148),
            ".DS_Store: bytes = 6,148: no part of the weights, and plain kaggle uploads it; remove it",
        ),
        (
            write(".new-model.weights.h5"),
            ".new-model.weights.h5: bytes = 0: no part of the weights, and plain kaggle uploads it; remove it",
        ),
        (
            write("Thumbs.db"),
            "Thumbs.db: bytes = 0: no part of the weights, and plain kaggle uploads it; remove it",
        ),
        (
            write("desktop.ini"),
            "desktop.ini: bytes = 0: no part of the weights, and plain kaggle uploads it; remove it",
        ),
        (
            write("._model.weights.h5"),
            "._model.weights.h5: bytes = 0: no part of the weights, and plain kaggle uploads it; remove it",
        ),
        (
            lambda folder: (folder / "__MACOSX").mkdir(),
            "__MACOSX: kind = folder: not uploaded; the client takes only the files beside its metadata",
        ),
        (
            lambda folder: (folder / "more").mkdir(),
            "more: kind = folder: not uploaded; the client takes only the files beside its metadata",
        ),
        (
            lambda folder: (folder / "gone.h5").symlink_to("nowhere"),
            "gone.h5: kind = broken link: not uploaded; the client takes only the files beside its metadata",
        ),
    ],
)
def test_what_is_no_part_of_the_dataset_stands_only_in_the_way_of_its_push(
    owned: Path, fault: Callable[[Path], object], message: str
) -> None:
    stage(owned)
    fault(owned / "dataset_meta")
    assert [lines(owned, action) for action in RULES] == [[], [], [f"dataset_meta/{message}"], []]


@pytest.mark.usefixtures("quick")
def test_fifty_files_are_taken(house: Path) -> None:
    fifty_one_files(house / "dataset_meta")
    (house / "dataset_meta" / "0.h5").rename(house / "dataset_meta" / ".hidden")
    assert lines(house) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"{", "not JSON (Expecting property name"),
        (b"\xff", "not UTF-8 (byte 0xff in line 1)"),
        (b"[]", "expected a JSON object, with keys and values"),
    ],
)
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("file", METADATA_FILES)
def test_a_file_that_is_no_metadata_is_named(house: Path, file: str, content: bytes | None, message: str) -> None:
    (house / file).unlink()
    if content is not None:
        (house / file).write_bytes(content)
    (found,) = lines(house)
    assert found.startswith(f"{file}: {message}")


MARK = "begins with a byte order mark, which the kaggle client does not read; build_kernel.py --owner NAME removes it"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", ["marked", "little-endian", "by PowerShell"])
@pytest.mark.parametrize("file", METADATA_FILES)
def test_metadata_with_a_mark_are_named_and_read_all_the_same(house: Path, file: str, form: str) -> None:
    change(house, file, enable_intenet=False)
    (house / file).write_bytes(FORMS[form]((house / file).read_text()))
    mark, key = lines(house)
    assert mark == f"{file}: {MARK}"
    assert key.startswith(f"{file}: enable_intenet = false")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", FORMS)
def test_settings_are_read_as_meant_however_an_editor_saved_them(house: Path, form: str) -> None:
    (house / SETTINGS["predict"]).write_bytes(FORMS[form]('[model]\nbackbone = "efficientnet-b3"\n'))
    (found,) = lines(house)
    assert found.startswith(f'{SETTINGS["predict"]}: backbone = "efficientnet-b3": {SETTINGS["train"]} has')


@pytest.mark.usefixtures("quick")
def test_settings_of_another_encoding_are_named_with_the_line(house: Path) -> None:
    (house / SETTINGS["predict"]).write_bytes(b"[model]\n# caf\xe9\n")
    assert lines(house) == [f"{SETTINGS['predict']}: not UTF-8 (byte 0xe9 in line 2)"]


def test_a_script_over_the_limit_is_named_with_what_is_large(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_BYTES", 200_000)
    train, predict = lines(house)
    for name, line in (("train", train), ("predict", predict)):
        assert line.startswith(f"kernel/{name}/{name}_kernel.py: the script has ")
        assert "bytes, Kaggle takes fewer than 200,000; largest: Keras_Applications-1.0.8-py3-none-any.whl" in line


def test_a_module_that_kaggle_lacks_is_named_once_for_both_kernels(house: Path) -> None:
    own_source(house)
    with (house / "src" / "multihead" / "scoring" / "metrics.py").open("a") as file:
        file.write("import onnxruntime\n")
    (line,) = lines(house)
    assert line.startswith("kernel/train/train_kernel.py: multihead/scoring/metrics.py, line ")
    assert "onnxruntime is not in Kaggle's image" in line


def test_a_module_that_is_no_python_is_named_with_its_line(house: Path) -> None:
    own_source(house)
    with (house / "src" / "multihead" / "config" / "settings.py").open("a") as file:
        file.write("if\n")
    (line,) = lines(house)
    assert line.startswith("kernel/train/train_kernel.py: multihead/config/settings.py, line ")


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        ("data/augment.py", "raise RuntimeError('x')", "src/multihead: RuntimeError: x"),
        ("commands.py", "raise RuntimeError('x')", "src/multihead: RuntimeError: x"),
        ("commands.py", "print('hello')", "src/multihead: prints while it is imported (hello); leave that to main"),
    ],
)
def test_a_package_that_does_not_start_as_it_should_is_named(house: Path, module: str, line: str, message: str) -> None:
    own_source(house)
    with (house / "src" / "multihead" / module).open("a") as file:
        file.write(f"\n{line}\n")
    assert lines(house) == [message]


def test_what_kaggle_lacks_is_named_beside_settings_that_are_refused(house: Path) -> None:
    own_source(house)
    for name in ("train", "predict"):
        (house / SETTINGS[name]).write_text("[run]\nepochs = 0\n")
    with (house / "src" / "multihead" / "scoring" / "metrics.py").open("a") as file:
        file.write("\nimport onnxruntime\n")
    assert ["onnxruntime" in line for line in lines(house)] == [False, False, True]


@pytest.mark.usefixtures("quick")
def test_all_findings_are_told_together_in_one_error(house: Path) -> None:
    change(house, TRAIN_FILE, enable_internet=True, machine_shape="NvidiaTeslaP100", colour="blue")
    change(house, PREDICT_FILE, dataset_sources=[])
    change(house, DATASET_FILE, subtitle="Weights")
    (house / SETTINGS["predict"]).write_text('[run]\nworking = "/tmp"\n')
    (house / "dataset_meta" / "weights.zip").touch()
    found = lines(house)
    assert [line.split(" = ")[0] for line in found] == [
        f"{TRAIN_FILE}: colour",
        f"{TRAIN_FILE}: enable_internet",
        f"{TRAIN_FILE}: machine_shape",
        f"{DATASET_FILE}: subtitle",
        f"{PREDICT_FILE}: dataset_sources",
        f"{SETTINGS['predict']}: working",
        "dataset_meta/weights.zip: bytes",
    ]
    with pytest.raises(BundlerError) as error:
        require_preflight(house)
    assert str(error.value).splitlines() == [
        "7 things that Kaggle would not take:",
        *(f"  {line}" for line in found),
    ]


@pytest.mark.usefixtures("quick")
def test_one_finding_is_one_line(house: Path) -> None:
    change(house, TRAIN_FILE, enable_internet=True)
    with pytest.raises(BundlerError) as error:
        require_preflight(house)
    assert [str(error.value)] == lines(house)


def test_what_is_about_to_be_done_is_a_build_or_one_of_the_pushes(house: Path) -> None:
    assert tuple(RULES) == ("build", *PUSHES)
    with pytest.raises(ValueError, match="action 'push'; one of build, push train"):
        preflight.preflight(house, "push")


@pytest.mark.usefixtures("quick")
def test_a_task_whose_files_come_from_a_dataset_asks_both_kernels_for_it(house: Path) -> None:
    (house / SETTINGS["train"]).write_text('[model]\ntask = "animals10"\n')
    rule = "expected alessiocorrado99/animals10 among them, where task animals10 comes from"
    assert lines(house) == [
        f"{TRAIN_FILE}: dataset_sources = []: {rule}",
        f'{PREDICT_FILE}: dataset_sources = ["{DATASET}"]: {rule}',
    ]
    for file in (TRAIN_FILE, PREDICT_FILE):
        change(house, file, dataset_sources=["alessiocorrado99/animals10/2"], competition_sources=[])
    assert lines(house) == [f"{PREDICT_FILE}: dataset_sources = []: {ATTACHED}"]


@pytest.mark.parametrize(("page", "least"), [("check.md", 50), ("kaggle.md", 15)])
def test_the_messages_in_the_documentation_are_those_of_the_code(page: str, least: int) -> None:
    files = [path for folder in ("bundler", "src") for path in sorted((HOUSE / folder).rglob("*.py"))]
    sources = "".join(path.read_text() for path in files)
    said = re.sub(r'"\s*\n\s*f?"', "", sources).replace("{PREDICT_FILE} ", "")
    tables = re.findall(
        r"^\|.*\| (?:message|what you read.*) \|\n((?:\|.*\n)+)", (HOUSE / "docs" / page).read_text(), re.M
    )
    rows = [row for table in tables for row in table.splitlines()]
    messages = [message for row in rows for message in re.findall("`([^`]+)`", row.split(" | ")[-1])]
    assert len(messages) > least
    assert [message for message in messages if message not in said and message != "(missing)"] == []
