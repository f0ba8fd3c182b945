"""Build both kernels, and check what Kaggle would not take of them."""

from datetime import date

from bundler.build.image import age_in_words
from bundler.build.kernel import build_kernel
from bundler.build.package_files import data_files, left_out
from bundler.build.parts import IMAGE_FILE
from bundler.check.preflight import PUSHES, preflight, require_preflight
from bundler.metadata import SUFFIXES, set_owner
from bundler.repository import KERNELS, Repository


def build(repository: Repository, owner: str | None = None) -> None:
    """Write each kernel as the script or notebook that its metadata choose, and first the owner into all metadata.

    What an earlier build left of the other form is removed: it is of other sources.
    """
    if owner is not None:
        for path in set_owner(repository.root, owner):
            print(f"{repository.shown(path)}: owner {owner}")
    require_preflight(repository.root)
    for name in KERNELS:
        form = repository.form(name)
        source = build_kernel(form, repository.package, repository.settings(name), name, repository.dataset)
        repository.built(name).write_bytes(source)
        print(f"{repository.shown(repository.built(name))}: {len(source):,} bytes")
        for stale in (repository.built(name, other) for other in SUFFIXES if other != form):
            if stale.exists():
                stale.unlink()
                print(f"{repository.shown(stale)}: removed, the kernel is a {form} now")
    _say_what_travels(repository)


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
    if age := age_in_words(IMAGE_FILE, date.today()):
        print(f"  note: {age}")
    return 0


def _say_what_travels(repository: Repository) -> None:
    for name, size in data_files(repository.package).items():
        print(f"{name}: {size:,} bytes, travels in the kernels")
    for name in left_out(repository.package):
        print(f"{name}: left out of the kernels")
