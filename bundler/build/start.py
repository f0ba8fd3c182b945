"""The start of a kernel as text, the same in a script and in a notebook."""

from bundler.build.imports import PACKAGE


def start_text(command: str) -> str:
    """Return the source of run(root, arguments), which runs the command of what lies unpacked in a folder."""
    return _RUN.replace("@COMMAND@", repr(command)).replace("@PACKAGE@", PACKAGE)


_RUN = '''\
def run(root, arguments):
    """Run the command of the package in a folder, with its settings and these arguments, and end as it does."""
    import sys

    sys.path[:0] = [str(root / "src"), *map(str, sorted(root.glob("wheels/*.whl")))]
    from @PACKAGE@.cli import main

    # Kaggle knows only success and failure
    raise SystemExit(1 if main([@COMMAND@, "--settings", str(root / "settings.toml"), *arguments]) else 0)
'''
