#!/usr/bin/env python3
"""Render graphemes in fonts as train files in the competition's form: further images to train on.

    python render_graphemes.py DATA OUT FONT [FONT ...] [--images 36000] [--new 0.1] [--seed 0]

DATA is the competition's folder, of which class_map.csv and train.csv are read. OUT takes train.csv and four
train_image_data_*.parquet. A FONT is a file, or a folder with font files at any depth; those without Bengali are passed
over, and a font draws only what it has all letters of. The same arguments and font files give the same images.

Half of the images have a root drawn evenly, so that rare roots come more often, and one of the label combinations that
train.csv has of it; half have any of train.csv's combinations, each as likely. In some (--new) the two diacritics
are drawn anew. Most are thinned to the middle of their strokes and drawn again with a pen; size, proportions, slant,
bends, width of the strokes, ink and paper vary.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from arguments import at_least
from competition_files import HEIGHT, SHARDS, WIDTH, write_shard
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

HEADS = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")
NO_COMPONENT = "0"
BENGALI = re.compile(r"[\u0980-\u09ff\u200c\u200d]+")  # and the joiners that its spelling takes
NAMED = "Rendered_"  # and a number: an image's id
CANDRABINDU, VIRAMA, REPH = "\u0981", "\u09cd", "\u09b0\u09cd"
SOME_LETTERS, NO_LETTER, JOINERS = "\u0995\u0996", "\U0010fffe", "\u200c\u200d"
CONSONANTS = {*map(chr, range(0x0995, 0x09BA)), "\u09dc", "\u09dd", "\u09df"}  # letters that take diacritics
FONT_SUFFIXES = {".ttf", ".otf", ".woff", ".woff2"}
FONT_SIZE = 80  # pixels, of the text before it is bent and scaled
MARGIN = 24  # around it
WITH_PEN = 0.75  # share of the images
CHUNK = 250  # images of one task of a process

Labels = tuple[int, int, int]
Components = Mapping[str, Sequence[str]]


def spelled(labels: Sequence[int], components: Components) -> str:
    """Return how a root with two diacritics is written; components: for each head, class_map.csv's by label.

    A reph, with which a consonant diacritic may begin, is written before the root, a candrabindu after the vowel.
    """
    root, vowel, consonant = (components[head][label] for head, label in zip(HEADS, labels, strict=True))
    vowel, consonant = ("" if component == NO_COMPONENT else component for component in (vowel, consonant))
    if consonant == CANDRABINDU:
        return root + vowel + consonant
    if consonant.startswith(REPH):
        below = consonant.removeprefix(REPH)
        return REPH + root + (VIRAMA + below if below else "") + vowel
    return root + consonant + vowel


def read_components(data: Path) -> dict[str, list[str]]:
    """Return the components of class_map.csv, for each head by label; SystemExit where one is not in Bengali."""
    table = pd.read_csv(data / "class_map.csv", dtype={"component": str}).sort_values("label")
    for component in table["component"]:
        if component != NO_COMPONENT and not BENGALI.fullmatch(str(component)):
            raise SystemExit(f"error: {data / 'class_map.csv'}: {component!r} is not in Bengali letters")
    return {head: table["component"][table["component_type"] == head].tolist() for head in HEADS}


def read_labels(data: Path, components: Components) -> pd.DataFrame:
    """Return train.csv; SystemExit where a head has no column, or a label that class_map.csv does not have."""
    path = data / "train.csv"
    table = pd.read_csv(path)
    for head in HEADS:
        if head not in table:
            raise SystemExit(f"error: {path}: no column {head}")
        unknown = table[head][~table[head].isin(range(len(components[head])))]
        if len(unknown):
            raise SystemExit(f"error: {path}: {head} {unknown.iloc[0]} is not in class_map.csv")
    return table


def refuse_other_files(out: Path) -> None:
    """End the program where a folder holds what was not rendered, such as a competition's files."""
    if out.is_dir() and any(out.iterdir()):
        table = out / "train.csv"
        first = table.read_text(encoding="utf-8", errors="replace").split("\n", 2)[1:2] if table.is_file() else []
        if not "".join(first).startswith(NAMED):
            raise SystemExit(f"error: {out}: has files that were not rendered; name another folder")


def draw_labels(
    table: pd.DataFrame, components: Components, count: int, new: float, rng: np.random.Generator
) -> list[Labels]:
    """Return the labels of `count` images. table: train.csv's, a column for each of HEADS."""
    combinations = table[list(HEADS)].drop_duplicates().sort_values(list(HEADS)).to_numpy()
    roots, of_root = np.unique(combinations[:, 0], return_inverse=True)
    sizes = np.bincount(of_root)
    weights = 0.5 / len(combinations) + 0.5 / (len(roots) * sizes[of_root])
    drawn = combinations[rng.choice(len(combinations), count, p=weights / weights.sum())]
    takes_diacritics = np.array([component[-1] in CONSONANTS for component in components[HEADS[0]]])
    is_new = (rng.random(count) < new) & takes_diacritics[drawn[:, 0]]
    for column in (1, 2):
        others = table[HEADS[column]].to_numpy()[rng.integers(0, len(table), count)]
        drawn[is_new, column] = others[is_new]
    return [(int(root), int(vowel), int(consonant)) for root, vowel, consonant in drawn]


def find_fonts(places: Sequence[Path]) -> list[Path]:
    """Return the files, in order, that have Bengali letters.

    What cannot be read is passed over in a folder, with a warning. SystemExit for a file that is named, and where there
    are no fonts.
    """
    files = [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    fonts = [
        file for file in files if file.suffix.lower() in FONT_SUFFIXES and _has_bengali(file, is_named=file in places)
    ]
    if not fonts:
        raise SystemExit(f"error: no font with Bengali letters in {', '.join(map(str, places))}")
    return fonts


def _has_bengali(file: Path, *, is_named: bool) -> bool:
    """Tell whether a font has Bengali letters; one that cannot be read and is named is SystemExit, else a warning."""
    try:
        return draws(file, SOME_LETTERS)
    except OSError as error:
        problem = f"{file}: not a font that can be read ({error})"
        if is_named:
            raise SystemExit(f"error: {problem}") from error
        print(f"warning: {problem}; passed over")
        return False


def draws(file: Path, text: str) -> bool:
    """Tell whether a font has something to draw for each letter of a text; OSError where it cannot be read."""
    return all(_has_glyph(file, letter) for letter in text if letter not in JOINERS)


@cache
def _has_glyph(file: Path, letter: str) -> bool:
    font = ImageFont.truetype(str(file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    mask = font.getmask(letter)
    return mask.getbbox() is not None and bytes(mask) != bytes(font.getmask(NO_LETTER))


@cache
def _font(file: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)


def draw(text: str, file: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image of a text in a font, uint8 (HEIGHT, WIDTH), dark on light."""
    ink = text_mask(text, _font(file))
    width = rng.uniform(2.0, 5.5)  # of a stroke, in pixels of the image
    height, breadth = ink.shape[0] - 2 * MARGIN, ink.shape[1] - 2 * MARGIN
    scale = rng.uniform(50, 115) / height
    scales = np.minimum((scale * rng.uniform(0.7, 1.45), scale), (0.98 * WIDTH / breadth, 0.98 * HEIGHT / height))
    if rng.random() < WITH_PEN:
        ink = thicker(thinned(ink), width / float(scales.mean()))
    elif rng.random() < 0.5:
        ink = thicker(ink, rng.uniform(1, 4))
    coverage = bent(ink, scales, rng)
    dark, paper = rng.triangular(0, 15, 140), rng.uniform(235, 255)
    grain = rng.normal(0, rng.uniform(0, 3), coverage.shape)
    return np.clip(paper + (dark - paper) * coverage + grain, 0, 255).astype(np.uint8)


def text_mask(text: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """Return a text as uint8 (h, w) of 0 and 255, with MARGIN on all sides."""
    left, top, right, bottom = map(int, font.getbbox(text))
    image = Image.new("L", (right - left + 2 * MARGIN, bottom - top + 2 * MARGIN))
    ImageDraw.Draw(image).text((MARGIN - left, MARGIN - top), text, 255, font)
    return np.where(np.asarray(image) > 127, np.uint8(255), np.uint8(0))


def bent(ink: NDArray[np.uint8], scales: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the ink scaled, slanted, turned and bent somewhere in an image: float32 (HEIGHT, WIDTH), 0 to 1.

    scales: horizontal, vertical. Bends are displacements that a coarse grid of random ones is interpolated to
    (P. Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis, 2003).
    """
    size = np.array([ink.shape[1], ink.shape[0]])
    angle, slant = np.radians(rng.normal(0, 5)), rng.normal(0, 0.18)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forth = turn @ np.array([[1, slant], [0, 1]]) @ np.diag(scales)
    drawn = np.abs(forth) @ (size - 2 * MARGIN)
    room = np.maximum(np.array([WIDTH, HEIGHT]) - drawn, 0) / 2
    centre = np.array([WIDTH, HEIGHT]) / 2 + room * rng.uniform(-0.8, 0.8, 2)
    back = np.linalg.inv(forth)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    offset = size / 2 - back @ centre
    nodes = (int(rng.integers(3, 7)), int(rng.integers(3, 8)))
    bend = rng.uniform(1, 7) * rng.normal(size=(2, *nodes)).astype(np.float32)
    right, down = (cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for grid in bend)
    x = (back[0, 0] * columns + back[0, 1] * rows + offset[0] + right).astype(np.float32)
    y = (back[1, 0] * columns + back[1, 1] * rows + offset[1] + down).astype(np.float32)
    smooth = cv2.GaussianBlur(ink, (0, 0), max(0.5, 0.5 / float(scales.mean())))
    return np.asarray(cv2.remap(smooth, x, y, cv2.INTER_LINEAR) / 255, np.float32)


def thicker(ink: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """Return the ink, uint8 (h, w), as a round pen of so many pixels draws over it."""
    size = max(1, round(width))
    return np.asarray(cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.uint8)


def thinned(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle of the strokes, one pixel wide: uint8 (h, w) of 0 and 255, as the ink is.

    T. Y. Zhang, C. Y. Suen, A Fast Parallel Algorithm for Thinning Digital Patterns, 1984. It takes dots away, where
    they come down to two pixels by two; here one pixel is left of them, for a dot makes another letter.
    """
    rest = np.asarray(ink > 0, np.uint8)
    while True:
        before = int(rest.sum())
        for removable in _removable():
            around = cv2.filter2D(rest, cv2.CV_8U, _PLACES, borderType=cv2.BORDER_CONSTANT)
            rest[np.asarray(cv2.LUT(around, removable)) > 0] = 0
        if int(rest.sum()) == before:
            break
    count, pieces = cv2.connectedComponents(ink)
    for lost in set(range(1, count)) - set(np.unique(pieces[rest > 0]).tolist()):
        rows, columns = np.nonzero(pieces == lost)
        rest[rows[len(rows) // 2], columns[len(rows) // 2]] = 1
    return rest * np.uint8(255)


# A pixel's eight neighbours as the bits of a number, clockwise from the one above
_PLACES = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


@cache
def _removable() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return for both half-steps of the thinning whether a pixel with these neighbours is taken away, uint8 (256,)."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    north, east, south, west = bits[:, 0], bits[:, 2], bits[:, 4], bits[:, 6]
    starts = ((bits == 0) & (np.roll(bits, -1, axis=1) == 1)).sum(axis=1)
    is_edge = (bits.sum(axis=1) >= 2) & (bits.sum(axis=1) <= 6) & (starts == 1)
    first = is_edge & (north * east * south == 0) & (east * south * west == 0)
    second = is_edge & (north * east * west == 0) & (north * south * west == 0)
    return first.astype(np.uint8), second.astype(np.uint8)


def draw_many(texts: Sequence[str], first: int, fonts: Sequence[Path], seed: int) -> NDArray[np.uint8]:
    """Return images of texts, uint8 (n, HEIGHT, WIDTH), each in one of the fonts that have its letters, drawn evenly.

    first: the first one's number.
    """
    cv2.setNumThreads(1)
    images = np.empty((len(texts), HEIGHT, WIDTH), np.uint8)
    for number, text in enumerate(texts):
        rng = np.random.default_rng([seed, first + number])
        having = [font for font in fonts if draws(font, text)]
        images[number] = draw(text, having[int(rng.integers(len(having)))], rng)
    return images


def render(data: Path, out: Path, fonts: Sequence[Path], count: int, new: float, seed: int) -> None:
    """Write train.csv and train_image_data_*.parquet into a folder."""
    components = read_components(data)
    rng = np.random.default_rng(seed)
    labels = draw_labels(read_labels(data, components), components, count, new, rng)
    texts = [spelled(of_image, components) for of_image in labels]
    for text in sorted(set(texts)):
        if not any(draws(font, text) for font in fonts):
            raise SystemExit(
                f"error: no font has all letters of {text} ({' '.join(f'U+{ord(sign):04X}' for sign in text)})"
            )
    ids = [f"{NAMED}{number}" for number in range(count)]
    out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(labels, columns=list(HEADS))
    table.insert(0, "image_id", ids)
    table.assign(grapheme=texts).to_csv(out / "train.csv", index=False)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:  # a fork has no threads of others
        for shard, rows in enumerate(np.array_split(np.arange(count), SHARDS)):
            starts = range(rows[0], rows[-1] + 1, CHUNK)
            chunks = [texts[start : min(start + CHUNK, rows[-1] + 1)] for start in starts]
            parts = processes.map(partial(draw_many, fonts=fonts, seed=seed), chunks, starts)
            images = np.concatenate(list(parts))
            path = out / f"train_image_data_{shard}.parquet"
            write_shard(path, ids[rows[0] : rows[-1] + 1], np.ascontiguousarray(images.reshape(len(rows), -1).T))
            print(f"{path.name}: {len(rows)} images rendered", flush=True)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return share


def main(argv: Sequence[str] | None = None) -> int:
    """Render images; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("fonts", type=Path, nargs="+", metavar="FONT")
    parser.add_argument("--images", type=at_least(SHARDS), default=36_000, help="how many (default: %(default)s)")
    parser.add_argument(
        "--new", type=_share, default=0.1, help="share of the images with diacritics drawn anew (default: %(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0)
    arguments = parser.parse_args(argv)
    if not features.check("raqm"):
        raise SystemExit("error: this Pillow has no raqm, without which conjuncts are not joined")
    missing = [name for name in ("class_map.csv", "train.csv") if not (arguments.data / name).is_file()]
    if missing:
        raise SystemExit(f"error: no {' and no '.join(missing)} in {arguments.data}")
    refuse_other_files(arguments.out)
    fonts = find_fonts(arguments.fonts)
    print(f"{len(fonts)} fonts: {', '.join(file.stem for file in fonts)}")
    render(arguments.data, arguments.out, fonts, arguments.images, arguments.new, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
