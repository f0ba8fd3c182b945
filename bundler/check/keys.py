"""The check of single keys in one metadata file: unknown, missing, of a wrong type or value."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundler.check.metadata_keys import DATASET_KEYS, FLAG, KERNEL_KEYS, Key, nearest
from bundler.check.project import MISSING, Finding, finding_of, one_line, shown
from bundler.errors import BundlerError
from bundler.metadata import DATASET_FILE, flag_of, read_object, repeated_keys, with_flags
from bundler.text_files import has_byte_order_mark


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
