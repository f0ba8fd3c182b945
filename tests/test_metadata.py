import json
import shutil
from pathlib import Path

import pytest

from bundler.errors import BundlerError
from bundler.metadata import METADATA_FILES, flag_of, read_metadata, repeated_keys, set_owner
from tests.conftest import HOUSE
from tests.test_text_files import FORMS


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in METADATA_FILES:
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(HOUSE / name, tmp_path / name)
    return tmp_path


def test_the_owner_is_filled_in_everywhere_and_can_be_changed_again(repository: Path) -> None:
    for owner in ("some-body", "another1"):
        assert len(set_owner(repository, owner)) == 3
        train, predict, dataset = (read_metadata(repository / name) for name in METADATA_FILES)
        assert train["id"] == f"{owner}/multihead-train"
        assert predict["id"] == f"{owner}/multihead-predict"
        assert predict["dataset_sources"] == [dataset["id"]] == [f"{owner}/multihead-weights"]
    assert set_owner(repository, "another1") == []


def test_other_people_s_datasets_keep_their_owner(repository: Path) -> None:
    path = repository / METADATA_FILES[1]
    metadata = json.loads(path.read_text())
    metadata["dataset_sources"].append("somebody-else/their-weights")
    path.write_text(json.dumps(metadata))
    set_owner(repository, "me-myself")
    assert read_metadata(path)["dataset_sources"] == ["me-myself/multihead-weights", "somebody-else/their-weights"]


@pytest.mark.parametrize("form", ["marked", "little-endian"])
def test_writing_the_owner_takes_an_editor_s_mark_away_even_where_the_owner_stays(repository: Path, form: str) -> None:
    set_owner(repository, "some-body")
    path = repository / METADATA_FILES[0]
    plain = path.read_bytes()
    path.write_bytes(FORMS[form](plain.decode()))
    assert read_metadata(path)["id"] == "some-body/multihead-train"
    assert set_owner(repository, "some-body") == [path]
    assert path.read_bytes() == plain


@pytest.mark.parametrize("owner", ["", "a b", "a/b", "-a", "x" * 60])
def test_a_name_that_is_none_is_refused(repository: Path, owner: str) -> None:
    with pytest.raises(BundlerError, match="--owner"):
        set_owner(repository, owner)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "no-slash"}'])
def test_a_file_that_is_no_metadata_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kernel-metadata.json"
    path.write_text(text)
    with pytest.raises(BundlerError, match=r"kernel-metadata\.json: "):
        read_metadata(path)


def test_the_kernels_run_offline_on_a_gpu_of_a_known_machine() -> None:
    for name in METADATA_FILES[:2]:
        metadata = read_metadata(HOUSE / name)
        assert metadata["enable_internet"] is False
        assert metadata["enable_gpu"] is True
        assert metadata["machine_shape"] == "NvidiaTeslaT4"
        assert metadata["docker_image_pinning_type"] == "original"
        assert metadata["competition_sources"] == ["bengaliai-cv19"]
        assert metadata["code_file"] == f"{Path(name).parent.name}_kernel.py"
        assert metadata["id"].split("/")[1] == metadata["title"].replace(" ", "-")


@pytest.mark.parametrize(
    ("written", "read"),
    [("true", True), ("False", False), ("TRUE", True), (True, True), ("yes", "yes"), (" true", " true"), (1, 1)],
)
def test_a_flag_is_read_as_the_client_reads_it(repository: Path, written: object, read: object) -> None:
    path = repository / METADATA_FILES[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"enable_gpu": written, "title": "true"}))
    assert flag_of(written) == read
    metadata = read_metadata(path)
    assert (metadata["enable_gpu"], metadata["title"]) == (read, "true")


def test_keys_that_are_there_twice_are_found_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text('{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"b": 1}}')
    assert repeated_keys(path) == ["c", "a"]
