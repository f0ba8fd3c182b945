import gzip
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.config.task import Task
from multihead.data.labels import read_label_table
from multihead.data.tables import SEPARATORS, Table, id_column
from multihead.runtime.errors import UserError
from tests.built_in import ANIMALS

PLAIN = "image,label,site\na0,cat,north\na1,dog,south\na2,owl,north\n"
TASK = replace(ANIMALS, name="zoo", id_column="image", heads={"label": ("cat", "dog", "owl")}, class_folders={})


def zipped(text: str, *others: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("train.csv", *others):
            file.writestr(name, text)
    return archive.getvalue()


EXPORTS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "a comma after each row": lambda text: text.replace("th\n", "th,\n").encode(),
    "two commas after each row": lambda text: text.replace("th\n", "th,,\n").encode(),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "a space after each comma": lambda text: text.replace(",", ", ").encode(),
    "quoted, with a space after each comma": lambda text: text.replace(",cat,", ', "cat", ').encode(),
    "CR LF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "blank lines": lambda text: ("\n" + text.replace("\n", "\n\n")).encode(),
    "another order": lambda text: (
        pd.read_csv(io.StringIO(text))[["site", "label", "image"]].to_csv(index=False).encode()
    ),
    "an index": lambda text: pd.read_csv(io.StringIO(text)).to_csv().encode(),
    "the ids as an index": lambda text: pd.read_csv(io.StringIO(text), index_col=0).to_csv().encode(),
    "R's row names": lambda text: (
        b"image,label,site\n"
        + b"".join(f"{number},{row}\n".encode() for number, row in enumerate(text.splitlines()[1:], 1))
    ),
    "a header in capitals": lambda text: text.replace("image,label", "Image,Label").encode(),
    "a quote within a cell": lambda text: text.replace("south", 'south 5" nail').encode(),
    "seven commas after a later row": lambda text: text.replace("south", "south,,,,,,,").encode(),
    "two columns that nobody asks for": lambda text: (
        text.replace("site", "site,note,note").replace("th\n", "th,x,y\n").encode()
    ),
    "the separator in a line before": lambda text: b"sep=,\n" + text.encode(),
    "empty rows before and after": lambda text: (",,\n" + text + ",,\n,,\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "zip": zipped,
    "zip with what macOS adds": lambda text: zipped(text, "__MACOSX/._train.csv"),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_a_table_says_the_same_however_it_was_exported(tmp_path: Path, export: str) -> None:
    (tmp_path / "train.csv").write_bytes(EXPORTS[export](PLAIN))
    labels = read_label_table(tmp_path / "train.csv", TASK)
    assert labels["label"].to_dict() == {"a0": 0, "a1": 1, "a2": 2}


@pytest.mark.parametrize("suffix", [".zip", ".gz"])
def test_a_table_may_lie_there_packed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"train.csv{suffix}").write_bytes(EXPORTS[suffix[1:].replace("gz", "gzip")](PLAIN))
    assert read_label_table(tmp_path / "train.csv", TASK).index.tolist() == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("image,finding\na0,cat\n", r"train\.csv: no column label; it has image, finding$"),
        ("image,label\na0,cat\na1,dog,,north\n", r"train\.csv, row 3: has more fields than the 2 of the header"),
        ("image,label\na0,cat,north\na1,dog\n", r"train\.csv, row 2: has more fields than the 2 of the header"),
        ("image,label\na0,cat\na0,dog\n", r"train\.csv, row 3: a0 stands here for the second time"),
        ("image,label\n,cat\n", r"train\.csv, row 2: image is empty"),
        ("image,label\na0,cow\n", r"train\.csv, a0: label is cow; expected one of cat, dog, owl$"),
        ("image,label,label\na0,cat,dog\n", r"train\.csv: has 2 columns label"),
        ("\n\n", r"train\.csv: holds no table; expected a line with the names of its columns"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_row(tmp_path: Path, table: str, expected: str) -> None:
    (tmp_path / "train.csv").write_text(table)
    with pytest.raises(UserError, match=expected):
        read_label_table(tmp_path / "train.csv", TASK)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "image,label\nä0,cat\n".encode("latin-1"),
            r"train\.csv: not UTF-8 \(byte 0xe4 in line 2\); save the table as UTF-8",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"not UTF-8|no text has"),
        (gzip.compress(b"image,label\na0,cat\n" * 9)[:-9], "train.csv: "),
        (zipped(PLAIN)[:-9], "train.csv: "),
    ],
    ids=range(4),
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(UserError, match=expected) as raised:
        read_label_table(tmp_path / "train.csv", TASK)
    assert "\n" not in str(raised.value)


def test_a_message_about_a_table_names_eight_columns_and_shortens_them(tmp_path: Path) -> None:
    names = [f"column {number} " + "x" * 500 for number in range(1000)]
    (tmp_path / "train.csv").write_text(",".join(names) + "\n" + ",".join("1" * 1000) + "\n")
    with pytest.raises(UserError, match=r", \.\.\. \(1,000 in all\)$") as raised:
        read_label_table(tmp_path / "train.csv", TASK)
    assert str(raised.value).count("column ") == 9
    assert len(str(raised.value)) < 900


def test_a_message_about_a_label_is_short_however_long_it_is_and_however_many_there_are(tmp_path: Path) -> None:
    task = replace(TASK, heads={"label": tuple(f"class {number}" for number in range(5000))})
    (tmp_path / "train.csv").write_text(f"image,label\n{'i' * 7000},{'7 ' * 3500}\n")
    with pytest.raises(UserError, match=r"one of class 0, .*, \.\.\. \(5,000 in all\)$") as raised:
        read_label_table(tmp_path / "train.csv", task)
    assert len(str(raised.value)) < 600


def test_many_empty_rows_before_a_note_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("image,label,site\n" + ",,\n" * 50_000 + "a0,cat,north\n")
    started = time.process_time()
    assert len(Table(tmp_path / "train.csv").text(["image"])) == 50_001
    assert time.process_time() - started < 5  # a pattern that begins anew at each of them takes half a minute


def test_text_within_quotes_stays_as_it_is(tmp_path: Path) -> None:
    cells = ['say, "hi"', "one\n\ntwo", 'x, "', "a;b"]
    pd.DataFrame({"name": cells, "label": "cat"}).to_csv(tmp_path / "train.csv", index=False)
    assert Table(tmp_path / "train.csv").text(["name"])["name"].tolist() == cells


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6), st.sampled_from(SEPARATORS))
def test_cells_are_what_pandas_wrote(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], separator: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    written = pd.DataFrame(rows, columns=["first", "second", "third"])
    written.to_csv(path, index=False, sep=separator, quoting=1)
    pd.testing.assert_frame_equal(Table(path).text(["third", "first"]), written[["third", "first"]])


@pytest.mark.parametrize(
    ("columns", "likely", "there", "expected"),
    [
        ({"id": ["7", "8"], "name": ["a", "b"]}, ["name"], None, "name"),
        ({"id": ["7", "8"], "name": ["a", "b"]}, ["NAME"], None, "name"),
        ({"id": ["7", "8"], "name": ["a", "b"]}, ["id"], ["b.png", "a.png"], "name"),
        ({"id": ["7", "8"], "name": ["a", "b"]}, ["id"], ["c", "d"], "id"),
        ({"site": ["x", "x"], "name": ["a", "b"]}, [], None, "name"),
        ({"site": ["x", "x"], "age": ["1.5", "2.5"]}, [], None, ""),
        ({"Unnamed: 0": ["0", "1"], "site": ["x", "x"]}, [], None, ""),
        ({"Unnamed: 0": ["a", "b"], "site": ["x", "x"]}, [], ["a.png", "b.png"], "Unnamed: 0"),
        ({"name": ["a", ""]}, [], None, ""),
        ({"index": ["0", "1", "2"], "id": ["002", "000", "001"]}, ["id"], ["1", "0", "2"], "id"),
        ({"Unnamed: 0": ["0", "1", "2"], "id": ["002", "000", "001"]}, [], ["1", "0", "2"], "id"),
        ({"id": ["0", "1", "2"], "file": ["02.png", "00.png", "01.png"]}, [], ["00.png", "01.png", "02.png"], "file"),
    ],
)
def test_ids_stand_in_the_column_whose_values_or_name_say_so(
    columns: dict[str, list[str]], likely: list[str], there: list[str] | None, expected: str
) -> None:
    named, *others = likely or [""]
    assert id_column(list(columns), columns.__getitem__, named, others, there) == expected


def task_with(**heads: tuple[int | str, ...]) -> Task:
    return replace(TASK, heads=heads)


@pytest.mark.parametrize(
    ("task", "table", "expected"),
    [
        (TASK, "image,cat,dog,owl\na,0,1,0\nb,0.0,0.0,1.0\nc,True,False,False\n", [1, 2, 0]),
        (replace(TASK, columns={"label": "Finding Labels"}), "image,Finding Labels\na,dog\n", [1]),
        (task_with(label=(0, 1)), "image,label\na,1.0\nb,0\nc,True\nd,FALSE\n", [1, 0, 1, 0]),
        (task_with(label=("1", "2")), "image,label\na,1.0\nb,2\n", [0, 1]),
        (task_with(label=("1.0", "1")), "image,label\na,1.0\nb,1\n", [0, 1]),
        (task_with(label=("bär",)), "image,label\na,ba\u0308r\n", [0]),
    ],
)
def test_labels_are_read_as_programs_write_them(tmp_path: Path, task: Task, table: str, expected: list[int]) -> None:
    (tmp_path / "train.csv").write_text(table)
    assert read_label_table(tmp_path / "train.csv", task)["label"].tolist() == expected


@pytest.mark.parametrize("row", ["b,1,1,0", "b,2,0,0", "b,x,0,1"])
def test_columns_of_classes_that_say_no_one_class_are_named_with_their_row(tmp_path: Path, row: str) -> None:
    (tmp_path / "train.csv").write_text(f"image,cat,dog,owl\na,0,1,0\n{row}\n")
    with pytest.raises(UserError, match=r"row 3: .* for cat, dog, owl; expected 1 for one of them"):
        read_label_table(tmp_path / "train.csv", TASK)


@pytest.mark.parametrize("header", ["image,label", "image,cat,dog,owl"])
def test_a_row_without_a_label_is_left_out_up_to_a_share(
    tmp_path: Path, header: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a{number},{'cat' if header == 'image,label' else '1,0,0'}" for number in range(40)]
    rows[3] = "a3," + "," * (header.count(",") - 1)
    (tmp_path / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    assert len(read_label_table(tmp_path / "train.csv", TASK)) == 39
    assert "1 of 40 rows have no label: a3; they are left out" in capsys.readouterr().out
    (tmp_path / "train.csv").write_text("\n".join([header, *rows[:12]]) + "\n")
    with pytest.raises(UserError, match=r"1 of 12 rows have no label: a3; at most 5% are left out$"):
        read_label_table(tmp_path / "train.csv", TASK)
