"""The keys of the metadata files that the kaggle client reads: the rules of their values, and the check of a file.

The rules follow the client (2.2) and its documentation as of September 2026; the client itself checks few of them, and
ignores a key that it does not know.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bundler.check.project import MISSING, Finding, finding_of, one_line, shown
from bundler.errors import BundlerError
from bundler.metadata import (
    DATASET_FILE,
    OWNER,
    SLUG,
    SUFFIXES,
    flag_of,
    read_object,
    repeated_keys,
    with_flags,
    without_version,
)
from bundler.text_files import has_byte_order_mark
from multihead.config.checking import nearest, suggestion

# Some are only for the participants of certain competitions
MACHINES = ("NvidiaTeslaT4", "NvidiaTeslaA100", "NvidiaL4", "NvidiaL4X1", "NvidiaH100", "NvidiaRtxPro6000")
RETIRED_MACHINES = ("NvidiaTeslaP100",)
INTERNAL_MACHINES = ("NvidiaTeslaT4Highmem",)
LICENCES = ("CC0-1.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "GPL-2.0", "ODbL-1.0", "DbCL-1.0",
            "copyright-authors", "other", "unknown", "CC-BY-4.0", "CC-BY-NC-4.0", "PDDL", "CC-BY-3.0", "CC-BY-3.0-IGO",
            "US-Government-Works", "CC-BY-NC-SA-3.0-IGO", "CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "CC-BY-ND-4.0",
            "CC-BY-NC-ND-4.0", "ODC-BY-1.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "EU-ODP-Legal-Notice", "apache-2.0",
            "GPL-3.0")  # fmt: skip


class Rule(NamedTuple):
    """What must hold of a value, what is said where it does not, and what to write instead, where that can be seen."""

    holds: Callable[[Any], bool]
    text: str
    cure: Callable[[Any], str] = lambda _: ""

    def says(self, value: Any) -> str:
        """Return the whole message about a value for which the rule does not hold."""
        return "; ".join(filter(None, (self.text, self.cure(value))))


@dataclass(frozen=True)
class Key:
    """A key of a metadata file: what its value is, what holds of it or of each item, whether it must be written.

    may_be_null: the client reads null as if the key were absent; of the other keys it breaks on it.
    """

    kind: Rule
    rules: tuple[Rule, ...] = ()
    item_rules: tuple[Rule, ...] = ()
    is_needed: bool = False
    may_be_null: bool = False

    @property
    def missing(self) -> str:
        """Return what is said where the key is not there: its type, or what its first rule asks for."""
        return (self.kind if self.kind is TEXTS or not self.rules else self.rules[0]).text


def reference_in(text: str) -> str:
    """Return a source's name without what an address, a mount or a pulled metadata file has around it."""
    bare = re.sub(AROUND_A_SOURCE, "", re.split(r"[?#]", text.strip())[0].strip("/"))
    return re.sub(r"/versions?/(\d+)$", r"/\1", bare)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _one_or_nearest(value: Any, choices: Collection[str]) -> str:
    return suggestion(value if isinstance(value, str) else "", choices)


def _one_of(allowed: Collection[str], text: str) -> Rule:
    return Rule(lambda value: value in allowed, text)


def _like(pattern: str, text: str, cure: Callable[[str], str]) -> Rule:
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, text, cure)


def _competition_cure(value: str) -> str:
    bare = reference_in(value)
    if bare == value.strip() and "/" in bare:
        return "a competition has no owner" if re.fullmatch(SOURCE_PATTERN, bare) else ""
    return _put(bare.split("/")[0], SLUG)


def _put(bare: str, pattern: str) -> str:
    return f"put {json.dumps(bare)}" if re.fullmatch(pattern, bare) else ""


def _source_cure(value: str) -> str:
    bare = reference_in(value)
    if re.fullmatch(MODEL_PATTERN, bare):
        return f"a model: put {json.dumps(bare)} into model_sources"
    if "kaggle.com/" in value and not re.fullmatch(SOURCE_PATTERN, bare):
        bare = without_version(bare)  # of a page about it, such as its /data
    return _put(bare, SOURCE_PATTERN)


def _length(low: int, high: int, text: str = "") -> Rule:
    return Rule(lambda value: low <= len(value) <= high, f"expected {low} to {high} characters{text}")


def _slug_length(low: int, high: int) -> Rule:
    return Rule(lambda value: low <= len(value.split("/")[1]) <= high, f"expected a slug of {low} to {high} characters")


def _each_once(address: Callable[[Any], Any], text: str) -> Rule:
    """Return the rule that no two items have the same address; of more than one, the later are passed over."""

    def repeated(items: list[Any]) -> list[Any]:
        addresses = [address(item) for item in items]
        return [found for place, found in enumerate(addresses) if found in addresses[:place] and found is not None]

    return Rule(lambda items: not repeated(items), text, lambda items: f"{repeated(items)[0]} is there twice")


AROUND_A_SOURCE = (
    r"^(https?://)?(www\.)?(kaggle\.com/|kaggle/input/)?((datasets|code|notebooks|models|competitions|c)/)?"
)
CONTROLS = r"[\x00-\x1f\x7f\x85\u2028\u2029]"
SOURCE_PATTERN = rf"{SLUG}/{SLUG}(/\d+)?"
MODEL_PATTERN = rf"({SLUG}/){{4}}\d+"

TEXT = Rule(lambda value: isinstance(value, str), "expected a text")
FLAG = Rule(lambda value: isinstance(flag_of(value), bool), "expected true or false")
NUMBER = Rule(lambda value: type(value) is int, "expected a whole number")
TEXTS = Rule(_is_list_of(str), "expected a list of texts")
OBJECTS = Rule(_is_list_of(dict), "expected a list of objects")

REFERENCE = _like(
    f"{OWNER}/{SLUG}",
    "expected <owner>/<slug>",
    lambda value: _put(without_version(reference_in(value)), f"{OWNER}/{SLUG}"),
)
SOURCE = _like(SOURCE_PATTERN, "expected <owner>/<slug>", _source_cure)
MODEL = _like(
    MODEL_PATTERN,
    "expected <owner>/<model>/<framework>/<variation>/<version>",
    lambda value: _put(reference_in(value), MODEL_PATTERN),
)
COMPETITION = _like(SLUG, "expected the slug in the competition's address", _competition_cure)
NO_TEMPLATE = Rule(
    lambda value: not re.search("INSERT_[A-Z_]*HERE", value), "as the client's template has it; put in your own"
)
ONE_LINE = Rule(lambda value: not re.search(CONTROLS, value), "expected one line, without control characters")
HAS_LETTERS = Rule(
    lambda value: any(map(str.isalnum, value)), "expected letters or digits, of which Kaggle makes the slug"
)
SOURCES_ONCE = _each_once(lambda source: without_version(source).lower(), "expected each source once")

KERNEL_KEYS: Mapping[str, Key] = {
    "id": Key(TEXT, (REFERENCE, NO_TEMPLATE, _slug_length(5, 50)), is_needed=True),
    "id_no": Key(NUMBER, may_be_null=True),
    "title": Key(
        TEXT,
        (_length(5, 50, "; over 50 Kaggle's server fails"), ONE_LINE, HAS_LETTERS, NO_TEMPLATE),
        is_needed=True,
    ),
    "code_file": Key(TEXT, is_needed=True),
    "language": Key(TEXT, (_one_of(["python"], "expected python, which the built kernel is"),), is_needed=True),
    "kernel_type": Key(
        TEXT, (_one_of(SUFFIXES, "expected script or notebook, of which one is built"),), is_needed=True
    ),
    "is_private": Key(FLAG),
    "enable_gpu": Key(FLAG, is_needed=True),
    "enable_tpu": Key(FLAG),
    "enable_internet": Key(
        FLAG,
        (Rule(lambda value: not value, "expected false: the competition allows no internet, the default is true"),),
        is_needed=True,
    ),
    "machine_shape": Key(  # a TPU is refused by a rule that sees enable_tpu as well
        TEXT,
        (
            Rule(lambda value: value not in RETIRED_MACHINES, f"retired by Kaggle; {MACHINES[0]} is two T4s"),
            Rule(lambda value: value not in INTERNAL_MACHINES, f"Kaggle's own, no user's; {MACHINES[0]} is two T4s"),
            Rule(
                lambda value: is_tpu(value) or value in ("", "None", *MACHINES),
                "no machine of Kaggle's",
                lambda value: _one_or_nearest(value, MACHINES),
            ),
        ),
        may_be_null=True,
    ),
    "docker_image": Key(TEXT, may_be_null=True),
    "docker_image_pinning_type": Key(
        TEXT, (_one_of(["original", "latest"], "expected original or latest"),), may_be_null=True
    ),
    "keywords": Key(TEXTS),
    "competition_sources": Key(
        TEXTS, (_each_once(str.lower, "expected each source once"),), (COMPETITION,), is_needed=True
    ),
    "dataset_sources": Key(TEXTS, (SOURCES_ONCE,), (SOURCE,), is_needed=True),
    "kernel_sources": Key(TEXTS, (SOURCES_ONCE,), (SOURCE,)),
    "model_sources": Key(TEXTS, (_each_once(str.lower, "expected each source once"),), (MODEL,)),
}

DATASET_KEYS: Mapping[str, Key] = {
    "id": Key(TEXT, (REFERENCE, NO_TEMPLATE, _slug_length(6, 50)), is_needed=True),
    "id_no": Key(NUMBER, may_be_null=True),
    "title": Key(TEXT, (_length(6, 50), ONE_LINE, HAS_LETTERS, NO_TEMPLATE), is_needed=True),
    "subtitle": Key(
        TEXT,
        (Rule(lambda value: not value or 20 <= len(value) <= 80, "expected 20 to 80 characters"),),
        may_be_null=True,
    ),
    "description": Key(TEXT, may_be_null=True),
    "licenses": Key(
        OBJECTS,
        (Rule(lambda value: len(value) == 1, 'expected exactly one, as [{"name": "CC0-1.0"}]'),),
        (
            Rule(
                lambda item: item.get("name") in LICENCES,
                "no licence of Kaggle's",
                lambda item: _one_or_nearest(item.get("name"), LICENCES),
            ),
        ),
        is_needed=True,
    ),
    "keywords": Key(TEXTS),
    "resources": Key(
        OBJECTS,
        (_each_once(lambda item: item.get("path"), "expected each path once"),),
        (
            Rule(
                lambda item: bool(item.get("path")) and isinstance(item["path"], str), 'expected a file name as "path"'
            ),
        ),
        may_be_null=True,
    ),
    "expectedUpdateFrequency": Key(TEXT),
    "userSpecifiedSources": Key(TEXT),
    "image": Key(TEXT),
}


def is_tpu(machine: str) -> bool:
    """Tell whether a machine_shape is one of Kaggle's TPUs, whatever its generation."""
    return machine.lower().startswith("tpu")


def read_checked(repository: Path, file: str, findings: list[Finding]) -> dict[str, Any] | None:
    """Return what a metadata file says, without the keys that are findings; None where it cannot be read.

    Flags are as the client reads them.
    """
    try:
        metadata = read_object(repository / file)
    except BundlerError as error:
        findings.append(finding_of(repository, file, error))
        return None
    if has_byte_order_mark(repository / file):
        rule = "begins with a byte order mark, which the kaggle client does not read; "
        findings.append(Finding(file, "", "", f"{rule}build_kernel.py --owner NAME removes it"))
    twice = dict.fromkeys(repeated_keys(repository / file))
    findings += [Finding(file, "", "", f"{one_line(key)} is there twice; only the last counts") for key in twice]
    found = key_findings(file, metadata)
    findings += found
    return {key: value for key, value in with_flags(metadata).items() if key not in {finding.key for finding in found}}


def key_findings(file: str, metadata: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with single keys of one of METADATA_FILES: unknown, missing, of a wrong type or value."""
    keys = DATASET_KEYS if file == DATASET_FILE else KERNEL_KEYS
    unknown = [_unknown(file, key, metadata[key], keys) for key in metadata if key not in keys]
    needed = [key for key in keys if keys[key].is_needed and key not in metadata]
    missing = [Finding(file, key, MISSING, keys[key].missing) for key in needed]
    faults = [fault for key in keys if key in metadata for fault in _faults(file, key, metadata[key], keys[key])]
    return [*unknown, *missing, *faults]


def _unknown(file: str, key: str, value: Any, keys: Mapping[str, Key]) -> Finding:
    near = nearest(key, keys)
    hint = f"; did you mean {near}?" if near else ""
    return Finding(file, one_line(key), shown(value), f"no key of this file, silently ignored{hint}")


def _faults(file: str, name: str, value: Any, key: Key) -> Iterator[Finding]:
    """Yield what is wrong with one value: its type, or else the first rule that it breaks, or that each item breaks."""
    if value is None and key.may_be_null:
        return
    if not key.kind.holds(value):
        yield Finding(file, name, shown(value), key.kind.text)
        return
    meant = flag_of(value) if key.kind is FLAG else value
    checks = [(meant, key.rules), *((item, key.item_rules) for item in (value if key.item_rules else []))]
    for part, rules in checks:
        broken = next((rule for rule in rules if not rule.holds(part)), None)
        if broken:
            yield Finding(file, name, shown(value if part is meant else part), broken.says(part))
