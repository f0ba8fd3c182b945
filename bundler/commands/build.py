"""Build both kernels, and check what Kaggle would not take of them."""

from datetime import date

from bundler.build.image import age_in_words
from bundler.build.package_files import data_files, left_out
from bundler.build.script import IMAGE_FILE, build_script
from bundler.check.preflight import PUSHES, preflight, require_preflight
from bundler.metadata import set_owner
from bundler.repository import KERNELS, Repository


def build(repository: Repository, owner: str | None = None) -> None:
    """Write kernel/<name>/<name>_kernel.py for both kernels, and first the owner into all metadata."""
    if owner is not None:
        for path in set_owner(repository.root, owner):
            print(f"{repository.shown(path)}: owner {owner}")
    require_preflight(repository.root)
    for name in KERNELS:
        script = build_script(repository.package, repository.settings(name), name, dataset=repository.dataset)
        repository.script(name).write_bytes(script)
        print(f"{repository.shown(repository.script(name))}: {len(script):,} bytes")
    _say_what_travels(repository)
    print(age_in_words(IMAGE_FILE, date.today()))


def check(repository: Repository) -> int:
    """Print all that Kaggle would not take, or else what each push asks for on top; return 1 if a build is refused."""
    findings = preflight(repository.root)
    for finding in findings:
        print(finding)
    if findings:
        return 1
    print("no findings")
    _say_what_travels(repository)
    for push in PUSHES:
        for finding in preflight(repository.root, push):
            print(f"  before {push}: {'note: ' if finding.is_note else ''}{finding}")
    return 0


def _say_what_travels(repository: Repository) -> None:
    for name, size in data_files(repository.package).items():
        print(f"{name}: {size:,} bytes, travels in the scripts")
    for name in left_out(repository.package):
        print(f"{name}: left out of the scripts")
