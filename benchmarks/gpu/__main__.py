"""Measure on this machine's GPU: python run_kit.py --help."""

from benchmarks.gpu.run import main

raise SystemExit(main())
