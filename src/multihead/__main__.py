"""The command line, as `python -m multihead`."""

from multihead.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
