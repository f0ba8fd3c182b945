"""Wheels drawn for the tests: pure and compiled ones, in a folder that pip looks in instead of an index."""

import shutil
import subprocess
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CODE = """\
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "counted", .m_size = -1};

PyMODINIT_FUNC PyInit_counted(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module)
        PyModule_AddIntConstant(module, "ANSWER", 42);
    return module;
}
"""


def draw_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    tag: str = "py3-none-any",
    needs: Sequence[str] = (),
) -> Path:
    """Write a wheel of some files into a folder, and return its path. needs: its requirements."""
    info = f"{name}-{version}.dist-info"
    metadata = "".join(f"Requires-Dist: {one}\n" for one in needs)
    of_info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str('any' in tag).lower()}\nTag: {tag}\n",
    }
    content = {**files, **{f"{info}/{file}": text for file, text in of_info.items()}}
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return wheel


def draw_compiled_wheel(folder: Path, scratch: Path) -> Path:
    """Write the wheel of counted, whose ANSWER is compiled for any Python from 3.11 on, this one and Kaggle's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not compiler or not header.is_file():
        pytest.skip("no compiler, or no header of Python, on this machine")
    (scratch / "counted.c").write_text(CODE)
    library = scratch / "counted.abi3.so"
    command = [compiler, "-shared", "-fPIC", f"-I{header.parent}", str(scratch / "counted.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    return draw_wheel(folder, "counted", "1.0", {library.name: library.read_bytes()}, "cp311-abi3-linux_x86_64")
