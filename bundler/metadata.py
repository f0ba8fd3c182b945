"""The metadata files that the kaggle client reads: what may stand in them, and whose they are.

The rules of each key follow the client (2.2) and its documentation as of September 2026; the client itself checks few
of them, and ignores a key that it does not know.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bundler.errors import BundlerError
from bundler.text_files import has_byte_order_mark, text_of

TRAIN_FILE = "kernel/train/kernel-metadata.json"
PREDICT_FILE = "kernel/predict/kernel-metadata.json"
DATASET_FILE = "dataset_meta/dataset-metadata.json"
METADATA_FILES = (TRAIN_FILE, PREDICT_FILE, DATASET_FILE)
OWNER = "[A-Za-z0-9][A-Za-z0-9-]{1,49}"
SLUG = "[A-Za-z0-9][A-Za-z0-9_-]*"
PLACEHOLDER = "OWNER"  # the owner of the project's kernels and dataset until somebody writes their own

# Some are only for the participants of certain competitions
MACHINES = ("NvidiaTeslaT4", "NvidiaTeslaT4Highmem", "NvidiaTeslaA100", "NvidiaL4", "NvidiaL4X1", "NvidiaH100",
            "NvidiaRtxPro6000", "TpuV5E8", "TpuV6E8")  # fmt: skip
RETIRED_MACHINES = ("NvidiaTeslaP100", "TpuV38", "Tpu1VmV38")
LICENCES = ("CC0-1.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "GPL-2.0", "ODbL-1.0", "DbCL-1.0",
            "copyright-authors", "other", "unknown", "CC-BY-4.0", "CC-BY-NC-4.0", "PDDL", "CC-BY-3.0", "CC-BY-3.0-IGO",
            "US-Government-Works", "CC-BY-NC-SA-3.0-IGO", "CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "CC-BY-ND-4.0",
            "CC-BY-NC-ND-4.0", "ODC-BY-1.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "EU-ODP-Legal-Notice", "apache-2.0",
            "GPL-3.0")  # fmt: skip


class Rule(NamedTuple):
    """What must hold of a value, and what is said where it does not."""

    holds: Callable[[Any], bool]
    text: str


@dataclass(frozen=True)
class Key:
    """A key of a metadata file: what its value is, what holds of it or of each item, whether it must be written."""

    kind: Rule
    rules: tuple[Rule, ...] = ()
    item_rules: tuple[Rule, ...] = ()
    is_needed: bool = False


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _one_of(allowed: Collection[str], text: str) -> Rule:
    return Rule(lambda value: value in allowed, text)


def _like(pattern: str, text: str) -> Rule:
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, text)


def _length(low: int, high: int, text: str = "") -> Rule:
    return Rule(lambda value: low <= len(value) <= high, f"expected {low} to {high} characters{text}")


def _slug_length(low: int, high: int) -> Rule:
    return Rule(lambda value: low <= len(value.split("/")[1]) <= high, f"expected a slug of {low} to {high} characters")


TEXT = Rule(lambda value: isinstance(value, str), "expected a text")
FLAG = Rule(lambda value: isinstance(value, bool), "expected true or false, without quotes")
NUMBER = Rule(lambda value: type(value) is int, "expected a whole number")
TEXTS = Rule(_is_list_of(str), "expected a list of texts")
OBJECTS = Rule(_is_list_of(dict), "expected a list of objects")

REFERENCE = _like(f"{OWNER}/{SLUG}", "expected <owner>/<slug>")
SOURCE = _like(rf"{SLUG}/{SLUG}(/\d+)?", "expected <owner>/<slug>")
MODEL = _like(rf"({SLUG}/){{4}}\d+", "expected <owner>/<model>/<framework>/<variation>/<version>")

KERNEL_KEYS: Mapping[str, Key] = {
    "id": Key(TEXT, (REFERENCE, _slug_length(5, 50)), is_needed=True),
    "id_no": Key(NUMBER),
    "title": Key(TEXT, (_length(5, 50, "; over 50 Kaggle's server fails"),), is_needed=True),
    "code_file": Key(TEXT, is_needed=True),
    "language": Key(TEXT, (_one_of(["python"], "expected python, which the built script is"),), is_needed=True),
    "kernel_type": Key(TEXT, (_one_of(["script"], "expected script, which the built script is"),), is_needed=True),
    "is_private": Key(FLAG),
    "enable_gpu": Key(FLAG, is_needed=True),
    "enable_tpu": Key(FLAG),
    "enable_internet": Key(
        FLAG,
        (Rule(lambda value: not value, "expected false: the competition allows no internet, the default is true"),),
        is_needed=True,
    ),
    "machine_shape": Key(
        TEXT,
        (
            Rule(lambda value: value not in RETIRED_MACHINES, f"retired by Kaggle; {MACHINES[0]} is two T4s"),
            _one_of(("", "None", *MACHINES), f"no machine of Kaggle's; one of {', '.join(MACHINES)}"),
        ),
    ),
    "docker_image": Key(TEXT),
    "docker_image_pinning_type": Key(TEXT, (_one_of(["original", "latest"], "expected original or latest"),)),
    "keywords": Key(TEXTS),
    "competition_sources": Key(
        TEXTS, item_rules=(_like(SLUG, "expected the slug in the competition's address"),), is_needed=True
    ),
    "dataset_sources": Key(TEXTS, item_rules=(SOURCE,), is_needed=True),
    "kernel_sources": Key(TEXTS, item_rules=(SOURCE,)),
    "model_sources": Key(TEXTS, item_rules=(MODEL,)),
}

DATASET_KEYS: Mapping[str, Key] = {
    "id": Key(TEXT, (REFERENCE, _slug_length(6, 50)), is_needed=True),
    "id_no": Key(NUMBER),
    "title": Key(TEXT, (_length(6, 50),), is_needed=True),
    "subtitle": Key(TEXT, (_length(20, 80),)),
    "description": Key(TEXT),
    "licenses": Key(
        OBJECTS,
        (Rule(lambda value: len(value) == 1, 'expected exactly one, as [{"name": "CC0-1.0"}]'),),
        (Rule(lambda item: item.get("name") in LICENCES, f"no licence of Kaggle's; one of {', '.join(LICENCES)}"),),
        is_needed=True,
    ),
    "keywords": Key(TEXTS),
    "resources": Key(OBJECTS),
    "expectedUpdateFrequency": Key(TEXT),
    "userSpecifiedSources": Key(TEXT),
    "image": Key(TEXT),
}


def read_object(path: Path) -> dict[str, Any]:
    """Return the keys and values of a file that holds one JSON object."""
    text = text_of(path)
    try:
        read = json.loads(text)
    except ValueError as error:
        raise BundlerError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict):
        raise BundlerError(f"{path}: expected a JSON object, with keys and values")
    return read


def read_metadata(path: Path) -> dict[str, Any]:
    """Return a metadata file's keys and values."""
    metadata = read_object(path)
    if not isinstance(metadata.get("id"), str) or "/" not in metadata["id"]:
        raise BundlerError(f'{path}: expected an object with "id": "<owner>/<slug>"')
    return metadata


def without_version(source: str) -> str:
    """Return what attaches a source whatever its version: owner/slug of owner/slug/2."""
    return "/".join(source.split("/")[:2])


def check_owner(repository: Path) -> None:
    """Raise BundlerError while a metadata file still has the placeholder for an owner."""
    for name in METADATA_FILES:
        reference = read_metadata(repository / name)["id"]
        if reference.split("/", 1)[0] == PLACEHOLDER:
            raise BundlerError(
                f"{name}: id {reference} has no owner yet; build_kernel.py --owner NAME writes your Kaggle user name"
            )


def set_owner(repository: Path, owner: str) -> list[Path]:
    """Put the Kaggle user name into every reference to this project's own kernels and dataset.

    References to other people's datasets stay as they are. A byte order mark, which the kaggle client does not read, is
    taken away. Returns the files that changed.
    """
    if not re.fullmatch(OWNER, owner):
        raise BundlerError(
            f"--owner {owner}: expected the user name in your Kaggle profile's address: letters, digits, dashes"
        )
    paths = [repository / name for name in METADATA_FILES]
    ours = {read_metadata(path)["id"] for path in paths}
    changed = []
    for path in paths:
        old = text_of(path)
        new = old
        for reference in ours:
            new = new.replace(json.dumps(reference), json.dumps(f"{owner}/{reference.split('/', 1)[1]}"))
        if new != old or has_byte_order_mark(path):
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
