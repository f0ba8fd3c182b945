"""The start of a kernel as text, the same in a script and in a notebook."""

from bundler.build.attached_wheels import Attached, source_of_install
from bundler.build.imports import PACKAGE

INSTALL = '    sys.path.insert(1, install_attached(root / "attached"))\n'


def start_text(command: str, attached: Attached | None) -> str:
    """Return the source of run(root, arguments), which runs the command of what lies unpacked in a folder.

    attached: the wheels that it installs before, None where there are none.
    """
    run = _RUN.replace("@COMMAND@", repr(command)).replace("@PACKAGE@", PACKAGE)
    if attached is None:
        return run.replace("@INSTALL@", "")
    return source_of_install(attached) + "\n\n" + run.replace("@INSTALL@", INSTALL)


_RUN = '''\
def run(root, arguments):
    """Run the command of the package in a folder, with its settings and these arguments, and end as it does."""
    import sys

    sys.path[:0] = [str(root / "src"), *map(str, sorted(root.glob("wheels/*.whl")))]
@INSTALL@    from @PACKAGE@.cli import main

    # Kaggle knows only success and failure
    raise SystemExit(1 if main([@COMMAND@, "--settings", str(root / "settings.toml"), *arguments]) else 0)
'''
