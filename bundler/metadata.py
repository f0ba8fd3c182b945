"""The metadata files that the kaggle client reads: how they are read, and whose they are."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError
from bundler.text_files import has_byte_order_mark, text_of

TRAIN_FILE = "kernel/train/kernel-metadata.json"
PREDICT_FILE = "kernel/predict/kernel-metadata.json"
DATASET_FILE = "dataset_meta/dataset-metadata.json"
METADATA_FILES = (TRAIN_FILE, PREDICT_FILE, DATASET_FILE)
OWNER = "[A-Za-z0-9][A-Za-z0-9-]{1,49}"
SLUG = "[A-Za-z0-9][A-Za-z0-9_-]*"
PLAIN_TITLE = "[A-Za-z0-9 ._-]+"  # of other characters Kaggle makes what only its own tables know
PLACEHOLDER = "OWNER"  # the owner of the project's kernels and dataset until somebody writes their own
SCRIPT, NOTEBOOK = "script", "notebook"  # the kernel_type of a kernel, which is its form
SUFFIXES = {SCRIPT: ".py", NOTEBOOK: ".ipynb"}  # of its code_file
SOURCES = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources")  # what a kernel attaches
FLAGS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")  # of a kernel


def read_object(path: Path) -> dict[str, Any]:
    """Return the keys and values of a file that holds one JSON object."""
    try:
        read = json.loads(text_of(path))
    except ValueError as error:
        raise BundlerError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict):
        raise BundlerError(f"{path}: expected a JSON object, with keys and values")
    return read


def read_metadata(path: Path) -> dict[str, Any]:
    """Return a metadata file's keys and values, its flags as the client reads them."""
    metadata = with_flags(read_object(path))
    if not isinstance(metadata.get("id"), str) or "/" not in metadata["id"]:
        raise BundlerError(f'{path}: expected an object with "id": "<owner>/<slug>"')
    return metadata


def flag_of(value: Any) -> Any:
    """Return a flag as the client reads it, which takes the texts "true" and "false" in any case; all else as it is."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def with_flags(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metadata file's keys and values with flag_of the flags of a kernel."""
    return {key: flag_of(value) if key in FLAGS else value for key, value in metadata.items()}


def without_version(source: str) -> str:
    """Return what attaches a source whatever its version: owner/slug of owner/slug/2."""
    return "/".join(source.split("/")[:2])


def slug_of(title: str) -> str:
    """Return the slug that Kaggle makes of a title, which must be like PLAIN_TITLE."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def repeated_keys(path: Path) -> list[str]:
    """Return the keys that a JSON file has twice in one object, of which only the last counts."""
    found: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    json.loads(text_of(path), object_pairs_hook=collect)
    return found


def check_owner(repository: Path) -> None:
    """Raise BundlerError while a metadata file still has the placeholder for an owner."""
    for name in METADATA_FILES:
        metadata = read_metadata(repository / name)
        texts = [("id", metadata["id"]), *((key, one) for key in SOURCES for one in metadata.get(key) or [])]
        for key, reference in texts:
            if str(reference).split("/", 1)[0] == PLACEHOLDER:
                cure = "build_kernel.py --owner NAME writes your Kaggle user name"
                raise BundlerError(f"{name}: {key} {reference} has no owner yet; {cure}")


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
        new = old.replace(f'"{PLACEHOLDER}/', f'"{owner}/')
        for reference in ours:
            slug = reference.split("/", 1)[1]
            new = re.sub(rf'"{re.escape(reference)}(/\d+)?"', rf'"{owner}/{slug}\1"', new, flags=re.IGNORECASE)
        if new != old or has_byte_order_mark(path):
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
