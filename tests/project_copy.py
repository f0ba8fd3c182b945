"""A copy of the project that the tests of the preflight break, and what they read off it."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bundler.check import preflight
from bundler.metadata import METADATA_FILES
from multihead.config.manifest import FORMAT

HOUSE = Path(__file__).resolve().parent.parent
ABSENT = object()
SETTINGS = {name: f"kernel/{name}/settings.toml" for name in ("train", "predict")}
DATASET = "OWNER/multihead-weights"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of all that the preflight looks at, without weights and built scripts."""
    for file in (*METADATA_FILES, *SETTINGS.values()):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOUSE / file, tmp_path / file)
    (tmp_path / "src").symlink_to(HOUSE / "src")
    return tmp_path


@pytest.fixture
def owned(house: Path) -> Path:
    """The same with an owner's name."""
    for file in METADATA_FILES:
        (house / file).write_text((house / file).read_text().replace("OWNER", "some-body"))
    return house


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without building the scripts in memory."""
    monkeypatch.setattr(preflight, "build_script", lambda *_, **__: b"")


def own_source(house: Path) -> None:
    """Put a copy in the place of the link to the package, so that it can be broken."""
    (house / "src").unlink()
    shutil.copytree(HOUSE / "src", house / "src", ignore=shutil.ignore_patterns("__pycache__"))


def change(house: Path, file: str, **values: Any) -> None:
    metadata = json.loads((house / file).read_text()) | values
    (house / file).write_text(json.dumps({key: value for key, value in metadata.items() if value is not ABSENT}))


def write_settings(house: Path, kernel: str, run: str, model: str = "") -> None:
    """Put other settings in the place of a kernel's, with a time budget, which predicting should have."""
    (house / SETTINGS[kernel]).write_text(f"[model]\n{model}\n[run]\ntime_budget_minutes = 60\n{run}\n")


def notes(house: Path, action: str) -> list[str]:
    return [str(finding) for finding in preflight.preflight(house, action) if finding.is_note]


def lines(house: Path, action: str = "build") -> list[str]:
    return [str(finding) for finding in preflight.preflight(house, action)]


def stage(house: Path, name: str = "", model: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Put weights and a manifest that belong together into the dataset."""
    start = f"{name}." if name else ""
    manifest = {"format": FORMAT, "sha256": hashlib.sha256(b"weights").hexdigest(), "model": model or {}} | more
    (house / "dataset_meta" / f"{start}model.weights.h5").write_bytes(b"weights")
    (house / "dataset_meta" / f"{start}manifest.json").write_text(json.dumps(manifest))
