"""Rehearsals of a predict kernel that attaches every kind of source."""

import json
import re
import shutil
from pathlib import Path

import pytest

from bundler import cli
from bundler.build.script import build_script
from bundler.commands.rehearse import rehearse_kernel
from bundler.errors import RehearsalError
from bundler.rehearse.inputs import MOUNTS
from bundler.repository import Repository
from multihead.config.files import MANIFEST_FILE, TRUTH_FILE, WEIGHTS_FILE
from multihead.config.manifest import Manifest, manifest_text, sha256_of
from multihead.config.model_settings import ModelSettings
from tests.built_in import BENGALI
from tests.conftest import clone
from tests.rehearsing import log_of
from tests.test_rehearsal import can_mount

COMPETITION, OWN = "bengaliai-cv19", "OWNER/multihead-weights"
PLACES = {  # of each source below input/, in each form
    COMPETITION: {"old": COMPETITION, "new": f"competitions/{COMPETITION}"},
    OWN: {"old": "multihead-weights", "new": f"datasets/{OWN}"},
    "me/more/3": {"old": "more", "new": "datasets/me/more"},
    "me/letters-train": {"old": "letters-train", "new": "notebooks/me/letters-train"},
    "me/letters/Keras/b1/2": {"old": "letters/keras/b1/2", "new": "models/me/letters/keras/b1/2"},
}
SOURCES = [source for source in PLACES if source != COMPETITION]
PREDICT = '''

def predict(settings: Settings) -> None:
    """Print what the kernel sees in place of predicting."""
    from multihead.data.locate import kaggle_root
    from multihead.prediction.trained import find_weights

    top = kaggle_root() / "input"
    for path in (top, *top.rglob("*")):
        if path.is_file():
            print("file", path.relative_to(top))
        if os.access(path, os.W_OK):
            print("writable", path)
    weights = find_weights(settings)
    task = weights.task
    print("weights", weights.trained[0].folder.relative_to(top))
    print("data", find_input("competition", task.files_to_predict, "", task.slug).relative_to(top))
'''


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose predict kernel attaches every kind of source, and only prints what it sees."""
    house = clone(tmp_path_factory.mktemp("built") / "house")
    repository = Repository(house)
    metadata = json.loads(repository.metadata("predict").read_text())
    metadata |= {
        "dataset_sources": [OWN, "me/more/3"],
        "kernel_sources": ["me/letters-train"],
        "model_sources": ["me/letters/Keras/b1/2"],
    }
    repository.metadata("predict").write_text(json.dumps(metadata))
    commands = repository.package / "commands.py"
    commands.write_text(commands.read_text() + PREDICT)
    script = build_script(repository.package, repository.settings("predict"), "predict")
    repository.built("predict").write_bytes(script)
    return house


@pytest.fixture
def folders(tmp_path: Path, drawn: Path) -> dict[str, Path]:
    """A folder that stands in for each source, with a file of its own."""
    found = {COMPETITION: tmp_path / "data"}
    shutil.copytree(drawn, found[COMPETITION])
    for number, source in enumerate(SOURCES):
        found[source] = tmp_path / f"source{number}"
        found[source].mkdir()
        (found[source] / "notes.txt").write_text(source)
    return found


def put_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_text("weights")
    manifest = Manifest(
        model=ModelSettings(image_size=(32, 32)),
        task=BENGALI,
        train_counts={head: (1,) * len(classes) for head, classes in BENGALI.heads.items()},
        prior_exponents=dict.fromkeys(BENGALI.heads, 0.0),
        score=None,
        epoch=2,
        device="CPU",
        augmentation=(),
        versions={},
        probe={head: ((1.0,) * len(classes),) * 2 for head, classes in BENGALI.heads.items()},
        sha256=sha256_of(folder / WEIGHTS_FILE),
    )
    (folder / MANIFEST_FILE).write_text(manifest_text(manifest))


def rehearsed(house: Path, folders: dict[str, Path], out: Path, form: str, *more: str) -> list[str]:
    """Rehearse as the command does, and return what the kernel printed."""
    mounts = [part for source in SOURCES for part in ("--mount", f"{source}={folders[source]}")]
    arguments = cli._parser().parse_args(["rehearse", str(folders[COMPETITION]), "--mounts", form, *mounts, *more])
    rehearse_kernel(Repository(house), "predict", cli._request(arguments), out, cli._machine(arguments))
    return log_of(out.parent).splitlines()


@pytest.mark.parametrize("holder", SOURCES)
@pytest.mark.parametrize("form", MOUNTS)
def test_weights_are_found_in_whichever_source_holds_them_and_all_are_where_kaggle_mounts_them(
    built: Path, folders: dict[str, Path], tmp_path: Path, form: str, holder: str
) -> None:
    put_weights(folders[holder])
    lines = rehearsed(built, folders, tmp_path / "root", form)
    files = {
        f"file {PLACES[source][form]}/{path.name}"
        for source, folder in folders.items()
        for path in folder.iterdir()
        if path.name != TRUTH_FILE
    }
    assert {line for line in lines if line.startswith("file ")} == files
    assert f"weights {PLACES[holder][form]}" in lines
    assert f"data {PLACES[COMPETITION][form]}" in lines
    if can_mount(tmp_path):
        assert not any(line.startswith("writable") for line in lines)


@pytest.mark.parametrize("form", MOUNTS)
def test_of_two_sources_with_weights_one_has_to_be_named_and_the_message_says_how(
    built: Path, folders: dict[str, Path], tmp_path: Path, form: str
) -> None:
    put_weights(folders[OWN])
    put_weights(folders["me/more/3"])
    with pytest.raises(RehearsalError, match="error: weights: found in ") as error:
        rehearsed(built, folders, tmp_path / "root", form)
    (setting,) = re.findall(r'settings: weights = "(.+)" \(all of it', str(error.value))
    place = setting.removeprefix("/kaggle/input/")
    assert place in (PLACES[OWN][form], PLACES["me/more/3"][form])
    assert f"weights {place}" in rehearsed(built, folders, tmp_path / "root", form, "--set", f"weights={setting}")
