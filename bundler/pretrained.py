"""Pretrained EfficientNet files, fetched where there is internet, for a kernel that has none."""

import ast
import hashlib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

from bundler.bundle import WHEELS_FOLDER
from bundler.errors import BundlerError

# kind: the file's name without its top; where the efficientnet package keeps address and checksums
KINDS = {
    "noisy-student": ("{}_noisy-student_notop.h5", "NS_WEIGHTS_PATH", "NS_WEIGHTS_HASHES"),
    "imagenet": (
        "{}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5",
        "IMAGENET_WEIGHTS_PATH",
        "IMAGENET_WEIGHTS_HASHES",
    ),
}
BLOCK = 1 << 20
PATIENCE_SECONDS = 60


class Pretrained(NamedTuple):
    """One published file: its name, its address, and its SHA-256 or MD5, whichever is published."""

    name: str
    address: str
    checksum: str


def published(kind: str, backbone: str) -> Pretrained:
    """Return what the efficientnet wheel says of a backbone's pretrained weights; backbone "b0" to "b7"."""
    name, path_key, hashes_key = KINDS[kind]
    wheel = next(WHEELS_FOLDER.glob("efficientnet-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read("efficientnet/weights.py"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    backbone = f"efficientnet-{backbone.removeprefix('efficientnet-')}"
    checksums = values[hashes_key]
    if backbone not in checksums:
        raise BundlerError(f"{backbone}: no such weights; one of {', '.join(sorted(checksums))}")
    file = name.format(backbone)
    return Pretrained(file, values[path_key] + file, checksums[backbone][1])


def fetch(file: Pretrained, folder: Path) -> Path:
    """Download a file into the folder, unless it is there already, and return its path.

    Raises BundlerError, with the folder left as it was, where it cannot be had or is not the one published.
    """
    path, new = folder / file.name, folder / f".new-{file.name}"
    if path.is_file() and _checksum(path, file) == file.checksum:
        return path
    try:
        with urllib.request.urlopen(file.address, timeout=PATIENCE_SECONDS) as answer, new.open("wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
        found = _checksum(new, file)
        if found != file.checksum:
            raise BundlerError(f"{file.address}: its checksum is {found[:16]}..., not {file.checksum[:16]}...")
        new.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise BundlerError(f"{file.address}: {getattr(error, 'reason', error)}") from error
    finally:
        new.unlink(missing_ok=True)
    return path


def _checksum(path: Path, file: Pretrained) -> str:
    kind = {64: "sha256", 32: "md5"}[len(file.checksum)]
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, kind).hexdigest()
