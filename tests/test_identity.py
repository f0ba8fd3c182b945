import unicodedata
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.data.identity import NONE, SEVERAL, match

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1), unique=True, max_size=8)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("été 1.jpg", unicodedata.normalize("NFD", "été 1.jpg")),
        ("가을", unicodedata.normalize("NFD", "가을")),
        (" a ", "a"),
        ("12.0", "12"),
        ("0.jpg", "train/0.jpg"),
        ("train/0.jpg", "images/train/0.jpg"),
        ("../input/leaves/train/0.jpg", "train/0.jpg"),
        ("./train/0.jpg", "train/0.jpg"),
        ("train\\0.jpg", "train/0.jpg"),
        ("0.JPG", "0.jpg"),
        ("0.jpeg", "0.JPG"),
        ("train/0", "train/0.png"),
        ("0.png", "0"),
        ("7", "0007.png"),
        ("0007", "7"),
        ("train/7.JPG", "train/0007.jpg"),
    ],
)
def test_spellings_of_one_name_mean_the_same(wanted: str, there: str) -> None:
    assert match([wanted], [there, "other/thing.bmp"]).tolist() == [0]
    assert match([wanted], ["other/thing.bmp"]).tolist() == [NONE]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("train/0.jpg", "val/0.jpg"),
        ("0.png", "0.jpg"),
        ("10.jpg", "0.jpg"),
        ("0.jpg", "a0.jpg"),
        ("in/0.jpg", "train/0.jpg"),
        ("1.5", "1"),
        ("a.0", "a"),
        ("v1", "v01"),
        ("A", "a"),
    ],
)
def test_names_that_only_look_alike_do_not(wanted: str, there: str) -> None:
    assert match([wanted], [there]).tolist() == [NONE]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("0.jpg", ["cat/0.jpg", "dog/0.jpg"]),
        ("0", ["0.jpg", "0.png"]),
        ("0.Jpg", ["0.jpg", "0.JPG"]),
        ("7", ["07.jpg", "007.jpg"]),
        ("7.jpg", ["a/7.jpg", "b/7.jpg", "007.jpg"]),
        ("0.jpg", ["cat/0.jpg", "dog/0.jpg", "0.JPG"]),
    ],
)
def test_what_could_be_two_is_neither(wanted: str, there: list[str]) -> None:
    assert match([wanted], there).tolist() == [SEVERAL]


def test_the_same_text_goes_before_all_that_resembles_it() -> None:
    assert match(["0.jpg", "0.JPG", "1"], ["0.JPG", "a/0.jpg", "0.jpg", "1", "01"]).tolist() == [2, 0, 3]


def test_two_spellings_of_one_name_are_not_both_its() -> None:
    assert match(["5.0", "5"], ["train/5.png"]).tolist() == [NONE, 0]
    assert match(["2.0", "2"], ["2.0.png", "2.png"]).tolist() == [0, 1]
    assert match(["a", "/a"], ["a.png"]).tolist() == [NONE, NONE]
    assert match(["0.JPG", "0.Jpg"], ["0.jpg"]).tolist() == [NONE, NONE]
    assert match(["a", "a"], ["a"]).tolist() == [0, 0]


@given(NAMES, st.randoms())
def test_names_match_themselves_in_any_order(names: list[str], random: Random) -> None:
    order = list(range(len(names)))
    random.shuffle(order)
    assert match([names[i] for i in order], names).tolist() == order


SPELLINGS = st.lists(st.text("a/.0", min_size=1, max_size=5), unique=True, max_size=6)


@given(st.one_of(NAMES, SPELLINGS), st.one_of(NAMES, SPELLINGS))
def test_a_match_is_one_to_one(wanted: list[str], there: list[str]) -> None:
    rows = match(wanted, there)
    found = rows[rows >= 0].tolist()
    assert len(set(found)) == len(found)
    assert rows.dtype == np.int64
    assert all(rows[i] == there.index(name) for i, name in enumerate(wanted) if name in there)
