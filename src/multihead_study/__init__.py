"""What is done at home with many trainings: run a study, join its answers, list runs, compare two of them.

It stands above the package and above bundler/, and nothing of it travels in a script.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # bundler/ lies beside src/, and is not installed
