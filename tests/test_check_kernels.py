"""What the kernels' metadata files ask for: machines, flags, sources, names; and what Kaggle takes of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bundler.check.preflight import RULES, require_preflight
from bundler.errors import BundlerError
from bundler.metadata import DATASET_FILE, METADATA_FILES, PREDICT_FILE, TRAIN_FILE, read_metadata
from tests.project_copy import DATASET, SETTINGS, change, lines, notes, stage, write_settings

pytestmark = pytest.mark.usefixtures("quick")
NO_TPU = "the package knows GPU and CPU only, and Kaggle starts what is pushed without a TPU's libraries; ask for a GPU"
NO_REFERENCE = "expected <owner>/<slug>"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"enable_tpu": True}, "enable_tpu = true"),
        ({"enable_tpu": "True"}, "enable_tpu = true"),
        ({"enable_tpu": True, "enable_gpu": False, "machine_shape": "TpuV5E8"}, "enable_tpu = true"),
        ({"enable_tpu": True, "machine_shape": "NvidiaTeslaT4"}, "enable_tpu = true"),
        ({"machine_shape": "TpuV6E8"}, 'machine_shape = "TpuV6E8"'),
        ({"machine_shape": "TpuV38", "enable_gpu": False}, 'machine_shape = "TpuV38"'),
        ({"machine_shape": "Tpu1VmV38", "enable_gpu": "false"}, 'machine_shape = "Tpu1VmV38"'),
    ],
)
@pytest.mark.parametrize("file", [TRAIN_FILE, PREDICT_FILE])
def test_a_tpu_is_one_refusal(house: Path, file: str, values: dict[str, Any], shown: str) -> None:
    change(house, file, **values)
    assert lines(house) == [f"{file}: {shown}: {NO_TPU}"]


@pytest.mark.parametrize("text", ["false", "False", "FALSE"])
def test_a_flag_may_be_a_text_as_the_client_reads_it_and_every_rule_sees_its_meaning(house: Path, text: str) -> None:
    change(house, TRAIN_FILE, enable_tpu=text, enable_internet=text, is_private=text)
    assert lines(house) == []
    change(house, TRAIN_FILE, enable_gpu=text)
    assert lines(house) == [f'{TRAIN_FILE}: machine_shape = "NvidiaTeslaT4": a GPU, but enable_gpu is false']
    change(house, TRAIN_FILE, machine_shape="")
    assert lines(house) == [f"{SETTINGS['train']}: require_gpu = true: enable_gpu is false in {TRAIN_FILE}"]
    assert read_metadata(house / TRAIN_FILE)["enable_gpu"] is False


def test_internet_as_a_text_is_refused_like_the_flag(house: Path) -> None:
    change(house, TRAIN_FILE, enable_internet="true")
    (found,) = lines(house)
    assert found.startswith(f'{TRAIN_FILE}: enable_internet = "true": expected false')


def test_a_gpu_that_the_settings_require_is_one_finding_with_the_machine(house: Path) -> None:
    change(house, TRAIN_FILE, enable_gpu=False)
    assert lines(house) == [f'{TRAIN_FILE}: machine_shape = "NvidiaTeslaT4": a GPU, but enable_gpu is false']


# kind of sources, what is written there, and what to put instead
ADDRESSES = [
    ("dataset_sources", "https://www.kaggle.com/datasets/xx/yy", 'put "xx/yy"'),
    ("dataset_sources", "https://www.kaggle.com/datasets/xx/yy?select=a.csv", 'put "xx/yy"'),
    ("dataset_sources", "https://www.kaggle.com/datasets/xx/yy/data", 'put "xx/yy"'),
    ("dataset_sources", "https://www.kaggle.com/datasets/xx/yy/versions/3", 'put "xx/yy/3"'),
    ("dataset_sources", "kaggle.com/xx/yy", 'put "xx/yy"'),
    ("dataset_sources", "/kaggle/input/datasets/xx/yy", 'put "xx/yy"'),
    ("dataset_sources", f" {DATASET}", f'put "{DATASET}"'),
    ("dataset_sources", "xx/yy/", 'put "xx/yy"'),
    ("dataset_sources", "google/vit/keras/base/1", 'a model: put "google/vit/keras/base/1" into model_sources'),
    ("dataset_sources", "multihead weights", ""),
    ("dataset_sources", "some body/weights", ""),
    ("dataset_sources", "", ""),
    ("kernel_sources", "https://www.kaggle.com/code/xx/yy/notebook", 'put "xx/yy"'),
    ("kernel_sources", "code/xx/yy", 'put "xx/yy"'),
    ("model_sources", "https://www.kaggle.com/models/google/vit/Keras/base/1", 'put "google/vit/Keras/base/1"'),
    ("model_sources", "google/vit/keras/base", ""),
    ("model_sources", "google/vit", ""),
    ("competition_sources", "https://www.kaggle.com/competitions/leaf-health/overview", 'put "leaf-health"'),
    ("competition_sources", "https://www.kaggle.com/c/leaf-health", 'put "leaf-health"'),
    ("competition_sources", "competitions/leaf-health", 'put "leaf-health"'),
    ("competition_sources", "xx/yy", "a competition has no owner"),
    ("competition_sources", "Leaf Health", ""),
]


@pytest.mark.parametrize(("key", "source", "cure"), ADDRESSES)
def test_a_source_s_address_is_told_what_to_put(house: Path, key: str, source: str, cure: str) -> None:
    there = json.loads((house / PREDICT_FILE).read_text())[key]
    change(house, PREDICT_FILE, **{key: [*there, source]})
    (found,) = lines(house)
    start, _, rule = found.partition(f"{json.dumps(source)}: expected ")
    assert start == f"{PREDICT_FILE}: {key} = "
    assert rule.partition("; ")[2] == cure


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ("https://www.kaggle.com/code/OWNER/multihead-train", '; put "OWNER/multihead-train"'),
        ("OWNER/multihead-train/", '; put "OWNER/multihead-train"'),
        ("OWNER/multihead-train/4", '; put "OWNER/multihead-train"'),
        ("OWN ER/multihead-train", ""),
        ("OWNER/multihead train", ""),
        ("", ""),
    ],
)
def test_an_id_that_is_none_is_told_what_to_put(house: Path, value: str, cure: str) -> None:
    change(house, TRAIN_FILE, id=value)
    assert lines(house) == [f"{TRAIN_FILE}: id = {json.dumps(value)}: {NO_REFERENCE}{cure}"]


@pytest.mark.parametrize(
    ("key", "sources", "twice"),
    [
        ("dataset_sources", [DATASET, DATASET], DATASET),
        ("dataset_sources", [DATASET, f"{DATASET}/2"], DATASET),
        ("kernel_sources", ["aa/bb", "AA/bb"], "aa/bb"),
        ("model_sources", ["google/vit/keras/base/1"] * 2, "google/vit/keras/base/1"),
        ("competition_sources", ["bengaliai-cv19"] * 2, "bengaliai-cv19"),
    ],
)
def test_a_source_that_is_there_twice_is_named(house: Path, key: str, sources: list[str], twice: str) -> None:
    change(house, PREDICT_FILE, **{key: sources})
    rule = f"expected each source once; {twice.lower()} is there twice"
    assert lines(house) == [f"{PREDICT_FILE}: {key} = {json.dumps(sources)}: {rule}"]


LETTERS = "expected letters or digits, of which Kaggle makes the slug"
ONE_LINE = "expected one line, without control characters"
TEMPLATE = "as the client's template has it; put in your own"


@pytest.mark.parametrize(
    ("file", "key", "value", "rule"),
    [
        (TRAIN_FILE, "title", "multihead\ntrain", ONE_LINE),
        (TRAIN_FILE, "title", "multihead\ttrain", ONE_LINE),
        (TRAIN_FILE, "title", "      ", LETTERS),
        (TRAIN_FILE, "title", "- - - -", LETTERS),
        (DATASET_FILE, "title", "weights\r\n", ONE_LINE),
        (DATASET_FILE, "title", "      ", LETTERS),
        (DATASET_FILE, "title", "INSERT_TITLE_HERE", TEMPLATE),
        (DATASET_FILE, "id", "OWNER/INSERT_SLUG_HERE", TEMPLATE),
        (TRAIN_FILE, "id", "OWNER/INSERT_KERNEL_SLUG_HERE", TEMPLATE),
        (TRAIN_FILE, "code_file", "kernel/train/train_kernel.py", "expected train_kernel.py, which is what is built"),
        (TRAIN_FILE, "code_file", "predict_kernel.py", "expected train_kernel.py, which is what is built"),
        (
            TRAIN_FILE,
            "code_file",
            "train_kernel.ipynb",
            "expected train_kernel.py, which is what is built of kernel_type script; the other is kernel_type notebook",
        ),
        (
            TRAIN_FILE,
            "kernel_type",
            "Notebook",
            "expected script or notebook, of which one is built",
        ),
        (TRAIN_FILE, "language", "Python", "expected python, which the built kernel is"),
        (TRAIN_FILE, "docker_image_pinning_type", "Original", "expected original or latest"),
        (TRAIN_FILE, "docker_image", ["gcr.io/x"], "expected a text"),
        (TRAIN_FILE, "machine_shape", ["NvidiaTeslaT4"], "expected a text"),
        (TRAIN_FILE, "machine_shape", "NvidiaTeslaT4x2", "no machine of Kaggle's; did you mean NvidiaTeslaT4?"),
        (TRAIN_FILE, "keywords", None, "expected a list of texts"),
        (TRAIN_FILE, "dataset_sources", None, "expected a list of texts"),
        (TRAIN_FILE, "enableGpu", True, "no key of this file, silently ignored; did you mean enable_gpu?"),
        (TRAIN_FILE, "Enable-Internet", True, "no key of this file, silently ignored; did you mean enable_internet?"),
        (TRAIN_FILE, "isPrivate", True, "no key of this file, silently ignored; did you mean is_private?"),
        (TRAIN_FILE, "datasetSources", [], "no key of this file, silently ignored; did you mean dataset_sources?"),
        (DATASET_FILE, "license", [], "no key of this file, silently ignored; did you mean licenses?"),
        (DATASET_FILE, "licenses", "CC0-1.0", "expected a list of objects"),
        (DATASET_FILE, "id_no", "7", "expected a whole number"),
    ],
)
def test_a_value_that_kaggle_would_not_take_is_named_in_one_line(
    house: Path, file: str, key: str, value: Any, rule: str
) -> None:
    change(house, file, **{key: value})
    (found,) = [line for line in lines(house) if "which is not id's slug" not in line]
    assert found == f"{file}: {key} = {json.dumps(value)}: {rule}"


def test_a_key_that_is_there_twice_is_named(house: Path) -> None:
    text = (house / TRAIN_FILE).read_text()
    (house / TRAIN_FILE).write_text(text.replace('"enable_gpu": true', '"enable_gpu": false, "enable_gpu": true'))
    assert lines(house) == [f"{TRAIN_FILE}: enable_gpu is there twice; only the last counts"]


def test_the_predict_kernel_s_own_output_holds_no_weights(house: Path) -> None:
    own = "OWNER/multihead-predict"
    line = f'{PREDICT_FILE}: kernel_sources = ["{own}"]: its own output holds no weights; leave it out'
    for datasets in ([DATASET], []):
        change(house, PREDICT_FILE, kernel_sources=[own], dataset_sources=datasets)
        assert lines(house) == [line]


@pytest.mark.parametrize("is_staged", [True, False])
def test_a_renamed_dataset_that_predicting_does_not_attach_is_a_note_before_its_push(
    owned: Path, is_staged: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (owned / "dataset_meta" / "b1.h5").write_bytes(b"x")
    if is_staged:
        stage(owned)
    change(owned, DATASET_FILE, id="some-body/weights-2")
    start = f"{PREDICT_FILE}: sources = some-body/multihead-weights: "
    pushed = f"{start}some-body/weights-2 is not among them; predicting does not take what is pushed"
    taken = (
        f"{start}neither some-body/weights-2 nor some-body/multihead-train is among them; "
        "predicting takes no weights of this project"
    )
    assert [lines(owned, action) for action in RULES] == [[], [], [pushed], [taken]]
    require_preflight(owned, "push weights")
    assert capsys.readouterr().out == f"note: {pushed}\n"


def test_a_renamed_training_whose_old_output_is_predicted_with_is_a_note(owned: Path) -> None:
    change(owned, PREDICT_FILE, dataset_sources=[], kernel_sources=["some-body/multihead-train"])
    assert lines(owned, "push predict") == []
    change(owned, TRAIN_FILE, id="some-body/train-2", title="train 2")
    assert lines(owned) == []
    (note,) = notes(owned, "push predict")
    assert note.startswith(f"{PREDICT_FILE}: sources = some-body/multihead-train: neither ")


def test_a_renamed_training_that_goes_on_from_its_old_output_is_a_note(owned: Path) -> None:
    change(owned, TRAIN_FILE, kernel_sources=["some-body/multihead-train"])
    assert lines(owned, "push train") == []
    change(owned, TRAIN_FILE, id="some-body/train-2", title="train 2")
    rule = "some-body/train-2 is not among them; a training would go on from what they left"
    assert notes(owned, "push train") == [f'{TRAIN_FILE}: kernel_sources = ["some-body/multihead-train"]: {rule}']


@pytest.mark.parametrize(
    ("key", "source", "right"),
    [
        ("dataset_sources", "some-body/multihead-train", "kernel_sources"),
        ("kernel_sources", "some-body/multihead-weights", "dataset_sources"),
    ],
)
def test_a_source_of_this_project_under_the_wrong_key_is_a_note(owned: Path, key: str, source: str, right: str) -> None:
    there = json.loads((owned / PREDICT_FILE).read_text())[key]
    change(owned, PREDICT_FILE, **{key: [*there, source]})
    line = f'{PREDICT_FILE}: {key} = "{source}": this project\'s own; put it into {right}'
    assert notes(owned, "push predict") == [line]


def test_notes_stop_no_push_and_findings_beside_them_do(owned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(owned, PREDICT_FILE, id="OWNER/multihead-predict")
    (owned / SETTINGS["predict"]).write_text("[run]\n")
    with pytest.raises(BundlerError, match="no owner yet"):
        require_preflight(owned, "push predict")
    assert capsys.readouterr().out.startswith(f"note: {SETTINGS['predict']}: time_budget_minutes = 0")


NONE = {"machine_shape": None, "docker_image": None, "docker_image_pinning_type": None, "id_no": None}
RIGHT: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "flags as the client's template writes them": [
        (TRAIN_FILE, {"enable_gpu": "true", "enable_tpu": "false", "enable_internet": "false", "is_private": "true"}),
    ],
    "null where the client takes it": [(TRAIN_FILE, NONE), (PREDICT_FILE, NONE)],
    "null in the dataset": [(DATASET_FILE, {"subtitle": None, "description": None, "resources": None, "id_no": None})],
    "an empty subtitle": [(DATASET_FILE, {"subtitle": ""})],
    "a notebook": [(TRAIN_FILE, {"kernel_type": "notebook", "code_file": "train_kernel.ipynb"})],
    "a path to the same script": [(TRAIN_FILE, {"code_file": "./train_kernel.py"})],
    "an owner in another case": [(PREDICT_FILE, {"id": "some-BODY/multihead-predict"})],
    "sources in another case": [
        (PREDICT_FILE, {"dataset_sources": ["Some-Body/Multihead-Weights/4"]}),
        (TRAIN_FILE, {"competition_sources": ["BengaliAI-CV19"]}),
    ],
    "titles in any script": [
        (TRAIN_FILE, {"title": "Буквы — বাংলা 🙂"}),
        (DATASET_FILE, {"title": "Gewichte für উদাহরণ", "subtitle": "👩‍🔬 weights of graphemes"}),
    ],
    "somebody else's weights": [(PREDICT_FILE, {"dataset_sources": ["some-one/their-weights"]})],
    "weights of a model, in two versions": [
        (PREDICT_FILE, {"model_sources": ["google/vit/keras/base/1", "google/vit/keras/base/2"]}),
    ],
    "the output of the training": [
        (PREDICT_FILE, {"dataset_sources": [], "kernel_sources": ["some-body/multihead-train"]}),
    ],
    "a training that resumes": [(TRAIN_FILE, {"kernel_sources": ["some-body/multihead-train/7"]})],
    "a dataset with the slug of a kernel": [
        (DATASET_FILE, {"id": "some-body/multihead-train"}),
        (PREDICT_FILE, {"dataset_sources": ["some-body/multihead-train"]}),
    ],
    "other machines": [
        (TRAIN_FILE, {"machine_shape": "NvidiaRtxPro6000"}),
        (PREDICT_FILE, {"machine_shape": "NvidiaL4X1"}),
    ],
    "a copy of the competition's files": [
        (TRAIN_FILE, {"competition_sources": [], "dataset_sources": ["some-one/bengali-parquet"]}),
        (
            PREDICT_FILE,
            {"competition_sources": [], "dataset_sources": ["some-one/bengali-parquet", "some-body/multihead-weights"]},
        ),
    ],
    "a picture and tags": [(DATASET_FILE, {"keywords": ["image"], "image": "cover.png"})],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_neither_a_finding_nor_a_note(owned: Path, name: str) -> None:
    for file, values in RIGHT[name]:
        change(owned, file, **values)
    (owned / "dataset_meta" / "b1.h5").write_bytes(b"x")
    assert [lines(owned, action) for action in ("build", "push train", "push predict")] == [[]] * 3
    is_pushed_for_somebody = name in ("somebody else's weights", "the output of the training")
    assert len(lines(owned, "push weights")) == is_pushed_for_somebody


def test_a_project_for_the_cpu_is_right(owned: Path) -> None:
    for kernel, file in (("train", TRAIN_FILE), ("predict", PREDICT_FILE)):
        change(owned, file, enable_gpu=False, machine_shape="None")
        write_settings(owned, kernel, "require_gpu = false")
    assert [lines(owned, action) for action in ("build", "push train", "push predict")] == [[]] * 3


@pytest.mark.parametrize("file", METADATA_FILES)
def test_the_line_ends_and_spaces_of_an_editor_do_not_matter(house: Path, file: str) -> None:
    text = json.dumps(json.loads((house / file).read_text()), indent="\t") + "\n\n"
    (house / file).write_bytes(text.replace("\n", "\r\n").encode())
    assert lines(house) == []
