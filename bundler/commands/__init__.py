"""The commands of build_kernel.py, as functions of the repository that they work in."""
