"""Patterns of files: globs below the data folder, in which {head} stands for the class of a head."""

import re
from collections.abc import Mapping, Sequence

PLACEHOLDER = r"\{\w+\}"
LEADS_OUT = r"^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)"  # of the data folder, on any system


def glob_of(pattern: str) -> str:
    """Return a pattern of files for a search, without heads in braces."""
    return re.sub(rf"({PLACEHOLDER}|\*)+", "*", pattern)


def path_names(pattern: str, names: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Return a pattern of files as a regular expression with a group for each head that it places, by the head's name.

    names: for each head, what may stand in its place; if none, anything. Without braces, the only head stands where
    the last folder is left open.
    """
    folders = pattern.split("/")
    is_open = [number for number, folder in enumerate(folders[:-1]) if re.search(r"[*?[]", folder)]
    if len(names) == 1 and is_open and not re.search(PLACEHOLDER, pattern):
        folders[is_open[-1]] = "{" + next(iter(names)) + "}"
    text = ""
    for piece in re.split(r"(\{\w+\}|\*|\?|\[[^]]+\])", "/".join(folders)):
        if piece.startswith("{") and piece.strip("{}") in names:
            head = piece.strip("{}")
            known = "|".join(map(re.escape, sorted(names[head], key=len, reverse=True)))
            text += f"(?P<{head}>{known or '[^/]+?'})"
        else:
            text += {"*": "[^/]*?", "?": "[^/]"}.get(piece) or (
                piece.replace("[!", "[^") if piece.startswith("[") else re.escape(piece)
            )
    return re.compile(text, re.IGNORECASE)


def heads_in(pattern: str) -> list[str]:
    """Return the heads that a pattern of files has in braces."""
    return [found.strip("{}") for found in re.findall(PLACEHOLDER, pattern)]
