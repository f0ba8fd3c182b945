"""Which column of a table holds its ids, by its name and by what is known to be there."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd

from multihead.data.identity import Spellings
from multihead.runtime.errors import UserError, listed

UNNAMED = "Unnamed: "  # and its number: a column without a name
MAX_COUNTED = 1000  # ids that are looked up to find out which column holds them
MIN_AGREEMENT = 0.5  # of those, or of what they stand for
MAX_MISTAKES = 0.1  # of the ids in a column: repeated, or empty


def id_column(
    columns: Sequence[str],
    values_of: Callable[[str], Sequence[str]],
    named: str = "",
    likely: Sequence[str] = (),
    there: Sequence[str] | None = None,
) -> str:
    """Return which column of a table holds its ids, "" where none could.

    columns: those that hold neither labels nor pixels. values_of: returns a column's values. named: the name that the
    task gives it; likely: names that it has in other tables; case does not count. there: ids or file names that those
    in the table stand for, where they are known. A column agrees with them where half of it, or of them, may mean the
    same. The one that is named is taken if it agrees or nothing is known to agree with; then the one that agrees best,
    by names rather than by numbers, one without a name only where no other agrees; of several a likely one. Where none
    agrees, the one that is named or likely, or else the first whose values nearly all differ and are no fractions.
    Raises UserError for columns between which nothing decides.
    """
    folded = {name.casefold(): name for name in reversed(columns)}
    chosen = folded.get(named.casefold(), "")
    likely = [folded[name.casefold()] for name in likely if name.casefold() in folded]
    others = [name for name in dict.fromkeys(columns) if name not in (chosen, *likely)]
    could_be = cache(lambda: [n for n in others if _differ(values_of(n)) and not _are_fractions(values_of(n))])
    if there is not None and len(there):
        if chosen and set(there).issuperset(_some_of(values_of(chosen))):
            return chosen
        spellings = Spellings(there)
        if chosen and max(_agreement(values_of(chosen), there, spellings)) >= MIN_AGREEMENT:
            return chosen
        candidates = [*filter(None, [chosen]), *likely, *could_be()]
        found = {name: _agreement(values_of(name), there, spellings) for name in dict.fromkeys(candidates)}
        agreeing = [name for name in found if max(found[name]) >= MIN_AGREEMENT]
        agreeing = [name for name in agreeing if not name.startswith(UNNAMED)] or agreeing
        best = max((found[name] for name in agreeing), default=None)
        equals = [name for name in agreeing if found[name] == best]
        if len(equals) > 1 and equals[0] not in likely:
            raise UserError(f"{listed(equals)} could each hold the ids; id_column in the task says which")
        if equals:
            return equals[0]
    if chosen or likely:
        return chosen or likely[0]
    return next((name for name in could_be() if not name.startswith(UNNAMED)), "")


def _agreement(values: Sequence[str], there: Sequence[str], spellings: Spellings) -> tuple[float, float]:
    """Return which share of ids, or of what they stand for, may mean the same: by names, if half does, and at all."""
    names, at_all = spellings.share_of(_some_of(values))
    if at_all < MIN_AGREEMENT and len(values) > len(there):  # a table of much that is not there
        names, at_all = Spellings(values).share_of(_some_of(there))
    return (names if names >= MIN_AGREEMENT else 0.0), at_all


def _some_of(names: Sequence[str]) -> list[str]:
    """Return at most MAX_COUNTED names from all over."""
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), MAX_COUNTED)).astype(int))
    return [names[place] for place in places.tolist()]


def _differ(values: Sequence[str]) -> bool:
    """Tell whether nearly all values are there and different: a repeated id is a mistake, and still an id."""
    different = len(set(values) - {""})
    return different > len(values) / 2 and len(values) - different <= max(1, MAX_MISTAKES * len(values))


def _are_fractions(values: Sequence[str]) -> bool:
    """Tell whether one of the values is a number with a fraction, which no id is by itself."""
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return bool((np.isfinite(numbers) & (numbers != np.round(numbers))).any())
