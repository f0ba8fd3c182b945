"""How long and how much: `make bench` measures, RESULTS.md keeps the last table."""
