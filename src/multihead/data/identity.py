"""Which image an id means: tables, files and people spell one name in several ways.

An id is what its table or file says it is. Two spellings mean the same image where they are equal, or else where
nothing else could be meant by them: see `match`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.files import without_suffix

NONE, SEVERAL = -1, -2  # in place of a position, both below 0


def one_form(text: str) -> str:
    """Return a text with its accents as one letter each, Unicode's NFC: file systems take them apart."""
    return unicodedata.normalize("NFC", text)


def canonical(name: str) -> str:
    """Return an id in the one form that others are compared in.

    It is that of one_form, and a path has plain slashes and does not begin with one.
    """
    return one_form(name.strip()).replace("\\", "/").removeprefix("./").lstrip("/")


def as_number(name: str) -> str:
    """Return a name that is a whole number without the zeros before it and without a point; of all others nothing.

    It may be the last part of a path, and have an image's suffix.
    """
    folder, slash, last = name.rpartition("/")
    bare = without_suffix(last)
    whole = re.fullmatch(r"([0-9]{1,18})(?:\.0+)?", bare)
    return f"{folder}{slash}{int(whole[1])}{last[len(bare) :]}" if whole else ""


def match(wanted: Sequence[str], there: Sequence[str]) -> NDArray[np.int64]:
    """Return for each id of `wanted` its position in `there`, int64 (n,), or NONE or SEVERAL where no one is meant.

    there: ids, or paths of files, each different from the others. In turn, for what has no match yet: the same text;
    the same in canonical form; a suffix in another case; an image's suffix that one of the two lacks; a number with
    zeros before it or a point. But for the first, a path is also matched by its end. What could mean two of `there`
    means neither, and of two spellings in `wanted` that would mean the same one neither does.
    """
    rows = pd.Index(list(there), dtype=str).get_indexer(pd.Index(list(wanted), dtype=str)).astype(np.int64)
    left = {number: canonical(wanted[number]) for number in np.flatnonzero(rows == NONE).tolist()}
    if not left:
        return rows
    taken = set(rows.tolist())
    free = {row: canonical(name) for row, name in enumerate(there) if row not in taken}
    for digits in (str, as_number):
        for form, form_there in (
            (str, str),
            (_folded, _folded),
            (_plain, without_suffix),
            (without_suffix, _plain),
        ):
            found = _found(
                {number: digits(form(name)) for number, name in left.items()},
                {row: digits(form_there(name)) for row, name in free.items()},
            )
            spellings = Counter(row for row, _ in {(row, wanted[number]) for number, row in found.items() if row >= 0})
            for number, row in found.items():
                if row == SEVERAL or spellings[row] == 1:
                    rows[number] = row
                    del left[number]
                    free.pop(row, None)
    return rows


def _found(wanted: Mapping[int, str], there: Mapping[int, str]) -> dict[int, int]:
    """Return which of `there` is meant by which of `wanted`, by their numbers; "" means nothing."""
    whole: dict[str, int] = {}
    ends: dict[str, int] = {}
    for row, text in there.items():
        if text:
            whole[text] = row if text not in whole else SEVERAL
            for end in _ends(text):
                ends[end] = row if end not in ends else SEVERAL
    found = {}
    for number, text in wanted.items():
        row = whole.get(text, ends.get(text, NONE))
        found[number] = row if row != NONE else next((whole[end] for end in _ends(text) if end in whole), NONE)
    return found


class Spellings:
    """All spellings of many names, to tell which share of others may mean one of them."""

    def __init__(self, names: Iterable[str]) -> None:
        folded = (_folded(canonical(name)) for name in names)
        self._strict = {text for name in folded for text in (name, *_ends(name))}
        self._loose = {
            form
            for text in self._strict
            for form in (text, without_suffix(text), as_number(text), as_number(without_suffix(text)))
            if form
        }

    def share_of(self, names: Sequence[str]) -> tuple[float, float]:
        """Return which share of names is spelled so but for case and path, numbers not counted; and which at all."""
        folded = [_folded(canonical(name)) for name in names]
        strict = [text in self._strict and not text.isdecimal() for text in folded]
        loose = [
            not self._loose.isdisjoint((text, without_suffix(text), as_number(text), *_ends(text))) for text in folded
        ]
        return sum(strict) / max(1, len(names)), sum(loose) / max(1, len(names))


def _ends(path: str) -> list[str]:
    """Return what a path ends with, folder by folder, the longest first, without the path itself."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def _folded(name: str) -> str:
    bare = without_suffix(name)
    return bare + name[len(bare) :].lower().replace(".jpeg", ".jpg")


def _plain(name: str) -> str:
    """Return a name that has no image's suffix; of all others nothing."""
    return name if without_suffix(name) == name else ""
