"""Graphemes rendered in a font that the test draws: a box of its own for each letter."""

import re
import string
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import features
from render_graphemes import (
    CONSONANTS,
    HEADS,
    draw_labels,
    draw_many,
    find_fonts,
    main,
    read_components,
    spelled,
    thinned,
)
from sample_competition import CONSONANT_COMPONENTS

from multihead.data.crop import ink_mask
from multihead.data.datasets import images_to_train
from multihead.data.shards import read_shard
from tests.built_in import BENGALI

ROOTS = ["\u0995", "\u0996", "\u0995\u09cd\u09b7", "\u0985"]  # the last is a vowel, which takes no diacritics
VOWELS = ["0", "\u09be", "\u09bf"]
LETTERS = [chr(code) for code in range(0x0981, 0x09E0)]  # all of Bengali's, and what lies between
SPELLING = dict(zip(HEADS, (ROOTS, VOWELS, CONSONANT_COMPONENTS), strict=True))


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_font(
        tmp_path_factory.mktemp("fonts") / "boxes.ttf",
        sorted(CONSONANTS | set("".join(ROOTS[3:] + VOWELS[1:] + CONSONANT_COMPONENTS[1:]))),
    )


def draw_font(path: Path, letters: list[str]) -> Path:
    """Write a font in which each letter is a frame, its width and height by its place."""
    names = [".notdef", *(f"letter{place}" for place in range(len(letters)))]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    glyphs = {}
    for place, name in enumerate(names):
        pen = TTGlyphPen(None)
        width, height = 300 + 17 * (place % 20), 500 + 13 * (place % 17)
        for inset, corners in ((0, (0, 1, 2, 3)), (90, (3, 2, 1, 0))):
            box = [(inset, inset), (inset, height - inset), (width - inset, height - inset), (width - inset, inset)]
            pen.moveTo(box[corners[0]])
            for corner in corners[1:]:
                pen.lineTo(box[corner])
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (720, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    """A competition's tables: root 0 has a hundred images in six combinations, each other root two in one."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [(head, label, text) for head, texts in SPELLING.items() for label, text in enumerate(texts)]
    pd.DataFrame(rows, columns=["component_type", "label", "component"]).to_csv(folder / "class_map.csv", index=False)
    labels = [(0, place % 3, place % 2) for place in range(100)] + [(root, 1, 2) for root in (1, 2) for _ in range(2)]
    labels += [(3, 0, 0)] * 2
    pd.DataFrame(labels, columns=list(HEADS)).to_csv(folder / "train.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((0, 0, 0), "\u0995"),
        ((2, 1, 0), "\u0995\u09cd\u09b7\u09be"),
        ((0, 1, 1), "\u0995\u09be\u0981"),
        ((0, 2, 2), "\u09b0\u09cd\u0995\u09bf"),
        ((0, 1, 3), "\u09b0\u09cd\u0995\u09cd\u09af\u09be"),
        ((1, 1, 4), "\u0996\u09cd\u09af\u09be"),
        ((1, 1, 5), "\u0996\u09cd\u09b0\u09be"),
        ((1, 0, 6), "\u0996\u09cd\u09b0\u09cd\u09af"),
    ],
)
def test_a_grapheme_is_spelled_as_unicode_orders_its_parts(labels: tuple[int, int, int], text: str) -> None:
    assert spelled(labels, SPELLING) == text


def test_rare_roots_come_more_often_and_only_new_combinations_are_unknown_to_train(competition: Path) -> None:
    table, components = pd.read_csv(competition / "train.csv"), read_components(competition)
    assert components == SPELLING
    known = set(table[list(HEADS)].itertuples(index=False, name=None))
    plain = draw_labels(table, components, 4000, 0, np.random.default_rng(0))
    assert set(plain) == known
    shares = np.bincount([root for root, _, _ in plain], minlength=4) / len(plain)
    assert np.allclose(shares, [0.5 * 6 / 9 + 0.125] + 3 * [0.5 / 9 + 0.125], atol=0.03)
    mixed = draw_labels(table, components, 4000, 0.3, np.random.default_rng(0))
    unknown = [labels for labels in mixed if labels not in known]
    assert 0.05 < len(unknown) / len(mixed) < 0.3
    assert not any(root == 3 for root, _, _ in unknown)


@given(arrays(np.bool_, st.tuples(st.integers(3, 24), st.integers(3, 24))))
def test_thinning_keeps_what_hangs_together_and_takes_nothing_twice(mask: NDArray[np.bool_]) -> None:
    wide = cv2.dilate(np.asarray(mask, np.uint8), np.ones((3, 3), np.uint8)) > 0
    ink = np.where(np.pad(wide, 2), np.uint8(255), np.uint8(0))
    thin = thinned(ink)
    assert not thin[ink == 0].any()
    assert cv2.connectedComponents(thin)[0] == cv2.connectedComponents(ink)[0]
    assert np.array_equal(thinned(thin), thin)


def test_a_thick_stroke_becomes_a_line() -> None:
    ink = np.zeros((30, 80), np.uint8)
    ink[10:19, 10:70] = 255
    thin = thinned(ink)
    assert (thin[:, 20:60] > 0).sum(axis=0).tolist() == [1] * 40


def test_the_files_are_as_the_competition_s_and_the_same_each_time(
    competition: Path, font: Path, tmp_path: Path
) -> None:
    images = []
    for name in ("one", "two"):
        assert main([str(competition), str(tmp_path / name), str(font.parent), "--images", "26", "--new", "0.2"]) == 0
        found = images_to_train(tmp_path / name, BENGALI)
        assert len(found.parts) == 4
        shards = [read_shard(part, BENGALI.image_shape, found.labels) for part in found.parts]
        images.append(np.concatenate([shard.images for shard in shards]))
    assert images[0].shape == (26, 137, 236, 1)
    assert np.array_equal(images[0], images[1])
    for image in images[0][..., 0]:
        ink = ink_mask(image, dark_ink=True) > 0
        assert 0.002 < ink.mean() < 0.5
        assert image[~ink].mean() - image[ink].mean() > 60
    other = tmp_path / "other"
    main([str(competition), str(other), str(font), "--images", "26", "--new", "0.2", "--seed", "1"])
    assert not np.array_equal(pd.read_csv(other / "train.csv"), pd.read_csv(tmp_path / "one" / "train.csv"))


def test_a_font_without_bengali_is_passed_over_and_none_is_an_error(font: Path, tmp_path: Path) -> None:
    draw_font(tmp_path / "latin.ttf", list(string.ascii_letters))
    assert find_fonts([tmp_path, font]) == [font]
    with pytest.raises(SystemExit, match="error: no font with Bengali letters in"):
        find_fonts([tmp_path])


def test_a_file_that_is_no_font_is_an_error_where_it_is_named_and_passed_over_in_a_folder(
    font: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.ttf"
    page.write_text("<html>")
    assert find_fonts([tmp_path, font]) == [font]
    assert re.search(r"warning: .*page\.ttf: not a font that can be read .*; passed over", capsys.readouterr().out)
    with pytest.raises(SystemExit, match=r"error: .*page\.ttf: not a font that can be read"):
        find_fonts([font, page])


def test_a_font_draws_only_what_it_has_all_letters_of(competition: Path, font: Path, tmp_path: Path) -> None:
    few = draw_font(tmp_path / "few.ttf", ROOTS[:2])
    texts = [ROOTS[0], ROOTS[0] + VOWELS[1]] * 20
    both, one = (draw_many(texts, 0, fonts, seed=0) for fonts in ([few, font], [font]))
    is_same = (both == one).all(axis=(1, 2))
    assert is_same[1::2].all()
    assert not is_same[::2].all()
    with pytest.raises(SystemExit, match=r"error: no font has all letters of .*U\+0985"):
        main([str(competition), str(tmp_path / "out"), str(few)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "label", "problem"),
    [("vowel_diacritic", 3, "vowel_diacritic 3 is not in class_map"), ("grapheme_root", None, "no column grapheme")],
)
def test_labels_that_class_map_does_not_explain_are_an_error(
    competition: Path, font: Path, column: str, label: int | None, problem: str
) -> None:
    table = pd.read_csv(competition / "train.csv")
    changed = table.drop(columns=column) if label is None else table.assign(**{column: label})
    changed.to_csv(competition / "train.csv", index=False)
    with pytest.raises(SystemExit, match=rf"error: .*train\.csv: {problem}"):
        main([str(competition), str(competition / "out"), str(font)])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--images", "3"], "3: expected a whole number, 4 or more"),
        (["--new", "1.5"], "1.5: expected a number from 0 to 1"),
        (["--new", "some"], "some: expected a number from 0 to 1"),
        (["--seed", "-1"], "-1: expected a whole number, 0 or more"),
    ],
)
def test_an_impossible_option_is_one_line(
    options: list[str], problem: str, competition: Path, font: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(competition), str(competition / "out"), str(font), *options])
    assert capsys.readouterr().err.strip().endswith(problem)


def test_a_folder_without_the_competition_s_tables_is_refused(tmp_path: Path, font: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: no class_map\.csv and no train\.csv in"):
        main([str(tmp_path), str(tmp_path / "out"), str(font)])


def test_components_that_are_not_in_bengali_are_named_before_anything_is_written(
    competition: Path, font: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(competition / "class_map.csv", dtype=str)
    table.loc[2, "component"] = "root 2"
    table.to_csv(competition / "class_map.csv", index=False)
    with pytest.raises(SystemExit, match=r"error: .*class_map\.csv: 'root 2' is not in Bengali letters"):
        main([str(competition), str(tmp_path / "out"), str(font)])
    assert not (tmp_path / "out").exists()


def test_a_competition_is_never_written_over_but_what_was_rendered_is(
    competition: Path, font: Path, tmp_path: Path
) -> None:
    before = (competition / "train.csv").read_bytes()
    with pytest.raises(SystemExit, match="has files that were not rendered; name another folder"):
        main([str(competition), str(competition), str(font), "--images", "4"])
    assert (competition / "train.csv").read_bytes() == before
    for count in ("4", "5"):
        main([str(competition), str(tmp_path / "out"), str(font), "--images", count])
    assert len(pd.read_csv(tmp_path / "out" / "train.csv")) == 5


def test_a_pillow_that_cannot_join_letters_is_refused(
    competition: Path, font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "raqm")
    with pytest.raises(SystemExit, match="this Pillow has no raqm"):
        main([str(competition), str(competition / "out"), str(font)])
