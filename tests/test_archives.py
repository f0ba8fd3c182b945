import gzip
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multihead.config.data_files import files_in_archives, read_file, read_table_bytes, table_path
from multihead.runtime.errors import UserError


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("inside", ["train/", ""])
def test_a_zip_stands_for_the_folder_of_its_name(tmp_path: Path, inside: str) -> None:
    write_zip(
        tmp_path / "train.zip", {f"{inside}cat/1.jpg": b"one", f"{inside}dog/2.JPG": b"two", f"{inside}a.csv": b""}
    )
    assert sorted(files_in_archives(tmp_path, "train/*/*.jpg")) == ["train/cat/1.jpg", "train/dog/2.JPG"]
    assert files_in_archives(tmp_path, "train/*.jpg") == []
    assert files_in_archives(tmp_path, "test/*/*.jpg") == []
    assert read_file(tmp_path, "train/dog/2.JPG") == b"two"


def test_a_zip_may_lie_in_a_folder_of_the_pattern(tmp_path: Path) -> None:
    write_zip(tmp_path / "stage" / "train.zip", {"1.jpg": b"one"})
    assert files_in_archives(tmp_path, "stage/train/*.jpg") == ["stage/train/1.jpg"]
    assert read_file(tmp_path, "stage/train/1.jpg") == b"one"


def test_a_file_that_is_unpacked_goes_before_that_in_the_zip(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", {"1.jpg": b"packed"})
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.jpg").write_bytes(b"unpacked")
    assert read_file(tmp_path, "train/1.jpg") == b"unpacked"


def test_what_systems_leave_in_a_zip_and_what_leads_out_of_it_is_not_there(tmp_path: Path) -> None:
    names = [
        "__MACOSX/train/._1.jpg",
        "train/._1.jpg",
        "train/.DS_Store",
        "train/Thumbs.db",
        "train/.ipynb_checkpoints/1.jpg",
    ]
    write_zip(tmp_path / "train.zip", dict.fromkeys(["train/1.jpg", *names, "/train/2.jpg", "train/../3.jpg"], b""))
    assert files_in_archives(tmp_path, "train/*") == ["train/1.jpg"]
    assert files_in_archives(tmp_path, "train/*/*") == []


def test_a_file_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", {"1.jpg": b""})
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path, "train/2.jpg")


def test_a_zip_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", {"1.jpg": b"one" * 1000})
    whole = (tmp_path / "train.zip").read_bytes()
    (tmp_path / "train.zip").write_bytes(whole[:-40])
    with pytest.raises(UserError, match=r"train\.zip: not a readable zip \("):
        files_in_archives(tmp_path, "train/*.jpg")
    (tmp_path / "train.zip").write_bytes(whole.replace(whole[40:48], b"\0" * 8))
    with pytest.raises(OSError, match=r"train\.zip: 1\.jpg: "):
        read_file(tmp_path, "train/1.jpg")


def test_many_threads_read_one_zip(tmp_path: Path) -> None:
    members = {f"{number}.jpg": f"content {number} ".encode() * 300 for number in range(400)}
    write_zip(tmp_path / "train.zip", members)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda name: read_file(tmp_path, f"train/{name}"), members))
    assert contents == list(members.values())


def test_another_zip_in_its_place_is_read_anew(tmp_path: Path) -> None:
    for number in (1, 22):
        write_zip(tmp_path / "train.zip", {f"{number}.jpg": str(number).encode()})
        assert files_in_archives(tmp_path, "train/*.jpg") == [f"train/{number}.jpg"]
        assert read_file(tmp_path, f"train/{number}.jpg") == str(number).encode()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", b"table"),
        ("train.csv", gzip.compress(b"table")),
        ("train.csv.gz", gzip.compress(b"table")),
        ("train.csv.zip", packed({"train.csv": b"table"})),
        ("train.csv.zip", packed({"export/other name.csv": b"table", "readme.md": b"", "__MACOSX/._train.csv": b""})),
        ("train.csv.zip", packed({"train.csv": b"table", "test.csv": b"other"})),
        ("train.zip", packed({"train.csv": b"table", "1.jpg": b""})),
    ],
    ids=range(7),
)
def test_a_table_is_unpacked_where_it_is_packed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert table_path(tmp_path / "train.csv") == tmp_path / name
    assert read_table_bytes(tmp_path / "train.csv") == b"table"


def test_a_zip_of_images_holds_no_table(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(packed({"1.jpg": b"", "notes.csv": b""}))
    assert table_path(tmp_path / "train.csv") is None
    with pytest.raises(UserError, match=r"train\.csv: not there$"):
        read_table_bytes(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            packed({"a.csv": b"", "b.csv": b""}),
            r"train\.csv\.zip: holds a\.csv, b\.csv; expected train\.csv, or one table",
        ),
        (packed({"1.jpg": b""}), r"train\.csv\.zip: holds no table; expected train\.csv, or one table"),
        (packed({"train.csv": b"table"})[:-9], r"train\.csv\.zip: damaged: "),
    ],
    ids=range(3),
)
def test_a_packed_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "train.csv.zip").write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_table_bytes(tmp_path / "train.csv")
