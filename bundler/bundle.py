"""Modules to one script.

The script is plain text: a header, the settings as they stand in settings.toml, every module whole and
unchanged, the wheels that Kaggle's image lacks, and a start that unpacks them and calls
multihead.app.main. The same sources give the same bytes on any machine and any day.
"""

import ast
import base64
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from bundler.data_files import matching
from bundler.errors import BundlerError
from bundler.tasks import TASK_FILE
from bundler.text_files import read_toml, text_of

PACKAGE = "multihead"
MAX_SCRIPT_BYTES = 1_000_000  # Kaggle's server refuses more, and the client hides why
BASE64_COLUMNS = 100
GONE_IN_PYTHON_3_12 = {"asynchat", "asyncore", "distutils", "imp", "smtpd"}  # Kaggle's Python; ours may be 3.11

HOUSE = Path(__file__).resolve().parent
IMAGE_FILE = HOUSE / "kaggle_image.toml"
WHEELS_FOLDER = HOUSE / "wheels"


def build_script(package: Path, settings: Path, command: str, wheels: Path = WHEELS_FOLDER) -> bytes:
    """Return the script that runs `command` of the package with these settings.

    package: the folder multihead/. settings: the file; a task.toml beside it comes along. wheels: a folder of wheels
    with their SHA256SUMS and licences. Raises BundlerError for an import that Kaggle could not resolve, a wheel that is
    not the one listed, or a script that Kaggle would refuse for its size.
    """
    modules = read_modules(package)
    wheel_bytes = read_wheels(wheels)
    check_imports(modules, provided_imports(wheel_bytes))
    body = "".join(
        [
            _settings_part(settings),
            _modules_part(modules),
            _wheels_part(wheel_bytes),
            _START.replace("@COMMAND@", repr(command)).replace("@PACKAGE@", PACKAGE),
        ]
    )
    script = (_header(command, modules, wheel_bytes, wheels) + body).encode("utf-8")
    _check_size(script, modules, wheel_bytes)
    return script


def read_modules(package: Path) -> dict[str, str]:
    """Return {path below the package's parent, with /: source}, sorted by path."""
    files = sorted(matching(package, "**/*.py"), key=lambda f: f.relative_to(package).as_posix())
    if not files:
        raise BundlerError(f"{package}: no modules there")
    return {f.relative_to(package.parent).as_posix(): _source(f) for f in files}


def read_wheels(folder: Path) -> dict[str, bytes]:
    """Return {file name: bytes} of the wheels in SHA256SUMS, each proved to be the one listed there."""
    wheels = {}
    for line in text_of(folder / "SHA256SUMS").splitlines():
        expected, name = line.split()
        try:
            wheels[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BundlerError(f"{folder / name}: listed in SHA256SUMS, but {error.strerror}") from error
        found = hashlib.sha256(wheels[name]).hexdigest()
        if found != expected:
            raise BundlerError(f"{folder / name}: SHA-256 is {found}, SHA256SUMS says {expected}")
    return dict(sorted(wheels.items()))


def provided_imports(wheels: Mapping[str, bytes]) -> frozenset[str]:
    """Return the top-level names that a script can import on Kaggle: standard library, image and wheels."""
    image = read_toml(IMAGE_FILE)["imports"]
    library = sys.stdlib_module_names - GONE_IN_PYTHON_3_12
    return frozenset(image) | library | {name for w in wheels.values() for name in _names_in(w)}


def check_imports(modules: Mapping[str, str], provided: frozenset[str]) -> None:
    """Raise BundlerError, with file and line, for each import that neither Kaggle nor the script provides."""
    ours = {_module_name(path): path for path in modules}
    problems = []
    for path, source in modules.items():
        for line, module, name in _imports(path, source):
            top = module.partition(".")[0]
            if top == PACKAGE:
                if module not in ours:
                    problems.append(f"{path}, line {line}: {module} is not in the package")
                elif (
                    name
                    and f"{module}.{name}" not in ours
                    and name not in _bound_names(ours[module], modules[ours[module]])
                ):
                    problems.append(f"{path}, line {line}: {module} has no {name}")
            elif top not in provided:
                problems.append(
                    f"{path}, line {line}: {module} is not in Kaggle's image as {IMAGE_FILE.name} lists it, "
                    "nor in a bundled wheel"
                )
    if problems:
        raise BundlerError("; ".join(problems))


def literal(text: str) -> str:
    """Return Python source of an expression that is `text`, readable where a raw string can hold it."""
    for quotes in ("'''", '"""'):
        raw = f"r{quotes}{text}{quotes}"
        if "\r" not in text and "\0" not in text and _evaluates_to(raw, text):
            return raw
    return "(\n" + "".join(f"    {line!r}\n" for line in text.splitlines(keepends=True)) + ")"


def _evaluates_to(source: str, text: str) -> bool:
    try:
        return bool(ast.literal_eval(source) == text)
    except (SyntaxError, ValueError):
        return False


def _source(path: Path) -> str:
    """Return a module's source, its line ends as they are; without a byte order mark, which Python passes over too."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BundlerError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BundlerError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _parsed(path: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise BundlerError(f"{path}, line {error.lineno}: {error.msg}") from error


@cache
def _bound_names(path: str, source: str) -> set[str]:
    """Return every name that a module binds anywhere, and "*"."""
    bound = {"*"}
    for node in ast.walk(_parsed(path, source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return bound


def _imports(path: str, source: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, absolute name of the module, name taken from it or nothing) for each import, wherever it stands."""
    tree = _parsed(path, source)
    package = _module_name(path).split(".")
    if not path.endswith("/__init__.py"):
        package.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            yield from ((node.lineno, ".".join(module), alias.name) for alias in node.names)


def _names_in(wheel: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    return {top.removesuffix(".py") for top in tops if not top.endswith((".dist-info", ".data"))}


def _header(command: str, modules: Mapping[str, str], wheels: Mapping[str, bytes], folder: Path) -> str:
    lines = [
        f"{PACKAGE} {command}: one self-contained script for a Kaggle kernel without internet.",
        "",
        "Generated by build_kernel.py from src/, bundler/wheels/ and the kernel's settings.toml. To change the",
        "code, change it there and run `python build_kernel.py`. Only SETTINGS and TASK are meant to be edited here.",
        "",
        "SHA-256 of what is inside:",
        *(f"  {hashlib.sha256(source.encode()).hexdigest()}  {path}" for path, source in modules.items()),
        *(f"  {hashlib.sha256(data).hexdigest()}  {name}" for name, data in wheels.items()),
        "",
        "Licences of the wheels:",
        *(f"  {name}: {_licence(folder, name)}" for name in wheels),
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _licence(folder: Path, wheel: str) -> str:
    """Return the copyright line and the licence's name, from the full text beside a wheel."""
    text = text_of(folder / ("-".join(wheel.split("-")[:2]) + ".LICENSE"))
    copyright_line = re.search(r"Copyright .*\d{4}.*", text)
    name = re.search(r"(MIT|Apache|BSD) License", text)
    if not copyright_line or not name:
        raise BundlerError(f"{folder}: the licence of {wheel} names no copyright or no known licence")
    return f"{copyright_line[0].strip()} {name[0]}; full text in the wheel"


def _settings_part(settings: Path) -> str:
    """Return the settings' text, and that of the task beside them, where there is one."""
    task = settings.with_name(TASK_FILE)
    own = f"\nTASK = {literal(text_of(task))}\n" if task.is_file() else "\nTASK = None\n"
    return f"\nSETTINGS = {literal(text_of(settings))}\n{own}"


def _modules_part(modules: Mapping[str, str]) -> str:
    return "\nMODULES = {}\n" + "".join(
        f"\nMODULES[{path!r}] = {literal(source)}\n" for path, source in modules.items()
    )


def _wheels_part(wheels: Mapping[str, bytes]) -> str:
    parts = ["\nWHEELS = {}  # base64\n"]
    for name, data in wheels.items():
        text = base64.b64encode(data).decode("ascii")
        lines = [text[i : i + BASE64_COLUMNS] for i in range(0, len(text), BASE64_COLUMNS)]
        parts.append(f'\nWHEELS[{name!r}] = """\n' + "\n".join(lines) + '\n"""\n')
    return "".join(parts)


def _check_size(script: bytes, modules: Mapping[str, str], wheels: Mapping[str, bytes]) -> None:
    if len(script) < MAX_SCRIPT_BYTES:
        return
    sizes = {path: len(source.encode()) for path, source in modules.items()}
    sizes |= {name: len(data) * 4 // 3 for name, data in wheels.items()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    told = ", ".join(f"{name} {size:,}" for name, size in largest)
    raise BundlerError(
        f"the script has {len(script):,} bytes, Kaggle takes fewer than {MAX_SCRIPT_BYTES:,}; largest: {told}"
    )


_START = '''

def start():
    """Unpack modules and wheels outside the working folder, and run the command."""
    import atexit
    import base64
    import pathlib
    import shutil
    import sys
    import tempfile

    root = pathlib.Path(tempfile.mkdtemp(prefix="@PACKAGE@-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)  # after a traceback has read its lines
    files = {"src/" + path: source.encode() for path, source in MODULES.items()}
    files |= {"wheels/" + name: base64.b64decode(text) for name, text in WHEELS.items()}
    files["settings.toml"] = SETTINGS.encode()
    if TASK:
        files["task.toml"] = TASK.encode()
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    sys.path[:0] = [str(root / "src"), *(str(root / "wheels" / name) for name in WHEELS)]
    from @PACKAGE@.app import main

    # a notebook editor has arguments of its own
    arguments = sys.argv[1:] if sys.argv[1:2] and sys.argv[1].startswith("--set") else []
    # Kaggle knows only success and failure
    raise SystemExit(1 if main([@COMMAND@, "--settings", str(root / "settings.toml"), *arguments]) else 0)


if __name__ == "__main__":  # processes that the run spawns import this script again
    start()
'''
