"""The metadata files that the kaggle client reads."""

import json
import re
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError

METADATA_FILES = (
    "kernel/train/kernel-metadata.json",
    "kernel/predict/kernel-metadata.json",
    "dataset_meta/dataset-metadata.json",
)
NO_OWNER = "OWNER"  # as committed


def read_metadata(path: Path) -> dict[str, Any]:
    """Return a metadata file's keys and values."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundlerError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BundlerError(f"{path}: not JSON ({error})") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("id"), str) or "/" not in metadata["id"]:
        raise BundlerError(f'{path}: expected an object with "id": "<owner>/<slug>"')
    return metadata


def check_owner(repository: Path) -> None:
    """Raise BundlerError while a metadata file still has the placeholder for an owner."""
    for name in METADATA_FILES:
        reference = read_metadata(repository / name)["id"]
        if reference.split("/", 1)[0] == NO_OWNER:
            raise BundlerError(
                f"{name}: id {reference} has no owner yet; build_kernel.py --owner NAME writes your Kaggle user name"
            )


def set_owner(repository: Path, owner: str) -> list[Path]:
    """Put the Kaggle user name into every reference to this project's own kernels and dataset.

    References to other people's datasets stay as they are. Returns the files that changed.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{1,49}", owner):
        raise BundlerError(
            f"--owner {owner}: expected the user name in your Kaggle profile's address: letters, digits, dashes"
        )
    paths = [repository / name for name in METADATA_FILES]
    ours = {read_metadata(path)["id"] for path in paths}
    changed = []
    for path in paths:
        old = path.read_text(encoding="utf-8")
        new = old
        for reference in ours:
            new = new.replace(json.dumps(reference), json.dumps(f"{owner}/{reference.split('/', 1)[1]}"))
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
