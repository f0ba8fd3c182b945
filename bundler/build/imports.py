"""The imports of a package, checked without running any: what Kaggle's Python would not find there is an error.

A module is compiled, and its tree is read. Branches that Kaggle never takes (TYPE_CHECKING, another system, another
Python) are passed over. Where a module may get names that its text does not show, any name may be in it.
"""

import ast
import contextlib
import hashlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bundler.build.image import read_image
from bundler.build.library import read_library
from bundler.build.trees import (
    adds_modules,
    assigned_attributes,
    bound_names,
    changes_path,
    dynamic_imports,
    fills_others,
    functions_named,
    is_open,
    listed_names,
    running,
    starred,
    takes_arguments,
)
from bundler.errors import BundlerError

PACKAGE = "multihead"
ENDING = re.compile(r"(\.py|(\.abi3|\.cpython-\d+-x86_64-linux-gnu)?\.so)$")  # what Linux imports
# Modules of the library of another system, or of another Python than Kaggle's
OF_OTHERS = {
    *("winreg", "msvcrt", "winsound", "nt", "_winapi", "msilib", "_scproxy", "_osx_support"),
    *("asynchat", "asyncore", "distutils", "imp", "smtpd", "annotationlib", "compression", "compression.zstd"),
}
OF_A_MODULE = {"name", "doc", "loader", "spec", "package", "dict", "class", "builtins", "annotations"}


class Kaggle(NamedTuple):
    """What a script finds on Kaggle besides itself.

    python: the version. image: top-level names of what is installed. library: the standard library's modules, each
    with its public names, or * where any may be in it. source: the file that lists the image.
    """

    python: tuple[int, int]
    image: frozenset[str]
    library: Mapping[str, frozenset[str]]
    source: str


def read_kaggle(image: Path) -> Kaggle:
    """Return what the image file and the list of the library say; UserError where one cannot be read."""
    read = read_image(image)
    major, minor = map(int, read.python.split("."))
    return Kaggle((major, minor), read.names, read_library(), image.name)


def check_imports(files: Mapping[str, bytes], wheels: Mapping[str, bytes], kaggle: Kaggle) -> None:
    """Raise BundlerError, a line for each, for what of the package's modules cannot run on Kaggle.

    files: those of the package, by path below its parent, with /. wheels: those in all bundled wheels.
    """
    digest = _digest(files, wheels, kaggle)
    if digest in _sound:
        return
    trees, problems = {}, []
    for path, source in files.items():
        if path.endswith(".py") and all(part.isidentifier() for part in path.removesuffix(".py").split("/")):
            try:
                trees[path] = compiled(path, source, kaggle.python)
            except BundlerError as error:
                problems.append(str(error))
    modules = Modules(files, wheels, trees, kaggle)
    problems += [problem for path in trees for problem in modules.problems(path)]
    called = modules.names(f"{PACKAGE}.cli") if f"{PACKAGE}.cli" in modules.paths else set()
    tree = trees.get(f"{PACKAGE}/cli.py", ast.Module([], []))
    if (called is not None and "main" not in called) or not all(map(takes_arguments, functions_named("main", tree))):
        problems.append(f"{PACKAGE}/cli.py: expected a function main(arguments) there, which the script calls")
    if problems:
        raise BundlerError("\n".join(dict.fromkeys(problems)))
    _sound.add(digest)


_sound: set[str] = set()  # digests of what this process has checked: a command builds the same package several times


def _digest(files: Mapping[str, bytes], wheels: Mapping[str, bytes], kaggle: Kaggle) -> str:
    digest = hashlib.sha256(repr((kaggle.python, sorted(kaggle.image), len(kaggle.library))).encode())
    for path, content in [*files.items(), *wheels.items()]:
        digest.update(f"{path} {len(content)} ".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()


def compiled(path: str, source: bytes, python: tuple[int, int]) -> ast.Module:
    """Return a module's tree; BundlerError, with file and line, where Kaggle's Python would not compile it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path, feature_version=python)
            compile(source, path, "exec", dont_inherit=True)  # some errors only the compiler finds
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise BundlerError(f"{path}{line}: {error.msg}{_older_than(python)}") from error
    except (RecursionError, MemoryError) as error:
        raise BundlerError(f"{path}: an expression is nested too deeply for Python to compile") from error
    except ValueError as error:  # null bytes, to some versions
        raise BundlerError(f"{path}: {error}") from error
    return tree


def _older_than(python: tuple[int, int]) -> str:
    here = sys.version_info[:2]
    if here >= python:
        return ""
    ours, theirs = (".".join(map(str, version)) for version in (here, python))
    return f" (to this Python {ours}; if it is new in {theirs}, which Kaggle has, build with that)"


def module_paths(files: Iterable[str]) -> dict[str, str]:
    """Return {module: the path of its file, or "" for a folder without an __init__.py}, of paths with /.

    A folder hides a module of the same name if it has an __init__.py, and is hidden by it if not.
    """
    paths = sorted(files, key=lambda path: path.endswith("/__init__.py"))
    found = {".".join(folder.parts): "" for path in paths for folder in PurePosixPath(path).parents if folder.parts}
    modules = [path for path in paths if ENDING.search(path)]
    found |= {ENDING.sub("", path).removesuffix("/__init__").replace("/", "."): path for path in modules}
    plain = {module for module, path in found.items() if path and not _is_package(path)}
    return {module: path for module, path in found.items() if plain.isdisjoint(_parents(module))}


def _parents(module: str) -> list[str]:
    """Return the packages that a module is in, from the inmost."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def _children(module: str, modules: Iterable[str]) -> set[str]:
    return {child.rpartition(".")[2] for child in modules if child.rpartition(".")[0] == module}


def _is_package(path: str) -> bool:
    return not path or path.endswith("/__init__.py")


def _package_of(module: str, path: str) -> str:
    return module if _is_package(path) else module.rpartition(".")[0]


def _absolute(package: str, level: int, name: str) -> str:
    """Return the module that a package's module names with so many dots in front; nothing if it is beyond the top."""
    parts = package.split(".")
    base = parts[: len(parts) - level + 1] if level else []
    return ".".join([*base, name] if name else base) if level <= len(parts) else ""


class Modules:
    """The modules of a script: those of the package and of the bundled wheels, and the names in each."""

    def __init__(
        self, files: Mapping[str, bytes], wheels: Mapping[str, bytes], trees: Mapping[str, ast.Module], kaggle: Kaggle
    ) -> None:
        self.paths = module_paths([*files, *wheels])
        self._modules = {path: module for module, path in self.paths.items() if path}
        self._tops = {module for module in self.paths if "." not in module}
        self._trees, self._wheels, self._kaggle = dict(trees), wheels, kaggle
        self._names: dict[str, set[str] | None] = {}
        self._nodes: dict[str, list[ast.AST]] = {}
        nodes = [self._running(path) for path in trees]
        self._assigned = set().union(*map(assigned_attributes, nodes))
        self._adds_modules, self._fills_others = any(map(adds_modules, nodes)), any(map(fills_others, nodes))
        # what a changed sys.path may lead to
        self._anywhere = {PurePosixPath(p).stem for p in files} if any(map(changes_path, nodes)) else set()

    def problems(self, path: str) -> Iterator[str]:
        """Yield, with file and line, what a module of the package imports and Kaggle would not find."""
        module = self._modules.get(path)
        if module is None:  # hidden by another of its name: nothing imports it
            return
        nodes, package = self._running(path), _package_of(module, path)
        always = {node.lineno for node in self._trees[path].body}
        for line, level, imported, name in [*_statements(nodes), *dynamic_imports(nodes)]:
            origin = _absolute(package, level, imported)
            problem = self._problem(origin, name) if origin else f"{'.' * level}{imported} goes beyond {PACKAGE}"
            if problem and (origin not in OF_OTHERS or line in always):  # else there is a condition, or may be
                yield f"{path}, line {line}: {problem}"

    def _running(self, path: str) -> list[ast.AST]:
        """Return the nodes of a module at hand that run on Kaggle."""
        if path not in self._nodes:
            self._nodes[path] = list(running(self._trees[path], self._kaggle.python))
        return self._nodes[path]

    def _problem(self, module: str, name: str) -> str | None:
        """Return what is wrong with an import of a module, and of a name in it, or None."""
        top, package = module.partition(".")[0], module.removesuffix(".__init__")
        if self.paths.get(package, "").endswith("/__init__.py"):
            module = package
        if top not in self._tops:
            return self._elsewhere(top, module, name)
        if module not in self.paths:
            where = "in the package" if top == PACKAGE else "in the wheels"
            is_shared = top in self._kaggle.image and not self.paths.get(
                top
            )  # a namespace that the image has a part of
            return None if self._adds_modules or is_shared else f"{module} is not {where}"
        names = self.names(module)
        if names is None:
            return None
        wanted = (self._listed(module) or set()) if name == "*" else {name} - {""}
        return next((f"{module} has no {lacking}" for lacking in sorted(wanted - names)), None)

    def _elsewhere(self, top: str, module: str, name: str) -> str | None:
        """Return what is wrong with an import from the image, of which only the top is known, or from the library."""
        library = self._kaggle.library
        if top in self._kaggle.image or top in self._anywhere or top == "__main__":
            return None
        if top not in library:
            return f"{module} is not in Kaggle's image as {self._kaggle.source} lists it, nor in a wheel"
        nearest = next(parent for parent in [module, *_parents(module)] if parent in library)
        if "*" in library[nearest] or f"{module}.{name}" in library:
            return None
        python = ".".join(map(str, self._kaggle.python))
        if nearest != module:
            return f"{module} is not in the standard library of Python {python} on Linux"
        is_there = not name or name == "*" or name.startswith("_") or name in library[module]
        return None if is_there else f"{module} has no {name} in Python {python} on Linux"

    def names(self, module: str) -> set[str] | None:
        """Return the names that can be imported from a module at hand, or None where any may be in it."""
        if module not in self._names:
            self._names[module] = self._with_stars(module)
        return self._names[module]

    def _with_stars(self, module: str) -> set[str] | None:
        """Return a module's own names and those that stars bring to it, also over others, or None."""
        found: set[str] = set()
        waiting, seen = [module], {module}
        while waiting:
            current = waiting.pop()
            names = self._own_names(current)
            if names is None:
                return None
            found |= names
            for origin in self._stars(current) - seen:
                seen.add(origin)
                exported = self._exported(origin)
                if exported is not None:
                    found |= exported
                elif origin in self.paths:
                    waiting.append(origin)
                else:
                    return None
        return found

    def _own_names(self, module: str) -> set[str] | None:
        path = self.paths[module]
        own = OF_A_MODULE | ({"path"} if _is_package(path) else set()) | ({"file", "cached"} if path else set())
        names = _children(module, self.paths) | {f"__{name}__" for name in own} | self._assigned
        if not path:
            return names
        tree = self._tree(path)
        if tree is None or is_open(tree) or self._fills_others:
            return None
        names |= bound_names(tree, self._kaggle.python)
        return None if "__getattr__" in names else names

    def _stars(self, module: str) -> set[str]:
        """Return the modules that a module takes all names from."""
        path = self.paths[module]
        nodes = self._running(path) if path and self._tree(path) else []
        return {_absolute(_package_of(module, path), level, source) for level, source in starred(nodes)}

    def _exported(self, module: str) -> set[str] | None:
        """Return the names that a star takes from a module if that is known at once: by its __all__, or the library."""
        if module in self.paths:
            return self._listed(module)
        known = self._kaggle.library.get(module, {"*"})
        return None if "*" in known else _children(module, self._kaggle.library).union(known)

    def _listed(self, module: str) -> set[str] | None:
        """Return the names in a module's __all__, or None where it has none that is literal."""
        tree = self._tree(self.paths[module]) if self.paths[module] else None
        return None if tree is None else listed_names(tree)

    def _tree(self, path: str) -> ast.Module | None:
        """Return a module's tree; None for one that is no text, or of a wheel's that this Python cannot read."""
        if path not in self._trees and path in self._wheels and path.endswith(".py"):
            with contextlib.suppress(BundlerError):
                self._trees[path] = compiled(path, self._wheels[path], self._kaggle.python)
        return self._trees.get(path)


def _statements(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (line, level, module as it stands there, name taken from it or nothing) of import statements."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.level, node.module or "", alias.name) for alias in node.names)
