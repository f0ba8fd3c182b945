"""The command line at home, as `python -m multihead_study`."""

from multihead_study.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
