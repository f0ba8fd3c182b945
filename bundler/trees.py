"""What a module's syntax tree says: which of it runs on Kaggle, which names it binds, what it imports by a call."""

import ast
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# What a condition on system and Python is made of; anything else could be different on Kaggle
KNOWABLE = (
    ast.expr_context, ast.boolop, ast.unaryop, ast.cmpop, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Name,
    ast.Attribute, ast.Subscript, ast.Slice, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Call, ast.keyword,
)  # fmt: skip
IMPORTERS = ("importlib", "builtins")


class _Version(NamedTuple):
    major: int
    minor: int
    micro: int = 0
    releaselevel: str = "final"
    serial: int = 0


def running(tree: ast.AST, python: tuple[int, int]) -> Iterator[ast.AST]:
    """Yield all nodes of a tree, in order, but for the branches that Kaggle's Python never takes."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(_children(node, python))


def bound_names(tree: ast.Module, python: tuple[int, int]) -> set[str]:
    """Return the names that a module itself binds: at its own level, or as a global of a function."""
    bound: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Delete):
            bound -= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        else:
            bound |= {name for node in _own_level(statement, python) for name in _bound_by(node)}
    return bound.union(*(node.names for node in running(tree, python) if isinstance(node, ast.Global)))


def is_open(tree: ast.Module) -> bool:
    """Tell whether a module may get names that its text does not show."""
    if "__getattr__" in (getattr(statement, "name", "") for statement in tree.body):
        return True
    for node in ast.walk(tree):
        if _is_call_of(node, "exec", "globals") or (_is_call_of(node, "vars", "locals") and not _arguments(node)):
            return True
        # sys.modules[__name__]
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and node.slice.id == "__name__":
            return True
    return False


def listed_names(tree: ast.Module) -> set[str] | None:
    """Return the names in __all__, or None where it is not there, not literal, or changed."""
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    uses = sum(isinstance(node, ast.Name) and node.id == "__all__" for node in ast.walk(tree))
    try:
        return set(ast.literal_eval(values[0])) if len(values) == uses == 1 else None
    except (ValueError, TypeError):
        return None


def starred(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield (level, module as it stands there) of each import of all names."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            yield node.level, node.module or ""


def adds_modules(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether a module changes where others are looked for, or puts one into sys.modules."""
    return any(
        (isinstance(node, ast.Name) and node.id == "__path__" and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "__path__")
        or (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "modules"
        )
        for node in nodes
    )


def assigned_attributes(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that a module assigns to whatever it imported: names that another module gets from outside."""
    nodes = list(nodes)
    imported = {name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in _bound_by(node)}
    stored = (node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return {node.attr for node in stored if _root(node) in imported}


def dynamic_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (line, level, module, "") of each importlib.import_module and __import__ of a literal name."""
    for node in nodes:
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name, rest = node.args[0].value, [*node.args[1:], *(keyword.value for keyword in node.keywords)]
        if not isinstance(name, str) or not name:
            continue
        is_plain = _is_call_of(node, "__import__") and len(rest) < 4 and all(k.arg != "level" for k in node.keywords)
        if is_plain or (_is_call_of(node, "import_module") and not name.startswith(".")):
            yield node.lineno, 0, name, ""
        elif _is_call_of(node, "import_module") and rest:
            level, origin = len(name) - len(name.lstrip(".")), rest[0]
            if isinstance(origin, ast.Name) and origin.id == "__package__":
                yield node.lineno, level, name.lstrip("."), ""
            elif isinstance(origin, ast.Constant) and level == 1:
                yield node.lineno, 0, str(origin.value) + name, ""


def _arguments(node: ast.AST) -> list[ast.expr]:
    return node.args if isinstance(node, ast.Call) else []


def _is_call_of(node: ast.AST, *names: str) -> bool:
    """Tell whether a node calls a function of one of these names, by itself or as importlib's or builtins'."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr in names and isinstance(function.value, ast.Name) and function.value.id in IMPORTERS
    return isinstance(function, ast.Name) and function.id in names


def _root(node: ast.Attribute) -> str:
    """Return the name that an attribute's chain begins with, or nothing."""
    value = node.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _children(node: ast.AST, python: tuple[int, int]) -> list[ast.AST]:
    """Return a node's children; of a condition whose outcome on Kaggle is known, those of the branch taken."""
    truth = _truth(node.test, python) if isinstance(node, ast.If | ast.IfExp) else None
    if truth is None:
        return list(ast.iter_child_nodes(node))
    branch: Any = node.body if truth else node.orelse  # type: ignore[attr-defined]
    return branch if isinstance(branch, list) else [branch]


def _truth(test: ast.expr, python: tuple[int, int]) -> bool | None:
    """Return what a condition is on Kaggle, or None where its text does not say."""
    known = {
        "TYPE_CHECKING": False,
        "sys": SimpleNamespace(platform="linux", version_info=_Version(*python)),
        "os": SimpleNamespace(name="posix"),
    }
    known |= {name: SimpleNamespace(TYPE_CHECKING=False) for name in ("typing", "t")}
    nodes = list(ast.walk(test))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    calls = {getattr(node.func, "attr", "") for node in nodes if isinstance(node, ast.Call)}
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if known.keys().isdisjoint(names) or not calls <= {"startswith"} or not all(isinstance(n, KNOWABLE) for n in nodes):
        return None
    try:
        return bool(eval(compile(ast.Expression(test), "", "eval"), {"__builtins__": {}}, known))
    except Exception:  # whatever else it names is not known
        return None


def _own_level(statement: ast.AST, python: tuple[int, int]) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that bind names where it stands: not those in functions and classes."""
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        children = _children(node, python)
        if isinstance(node, SCOPES):
            body = node.body if isinstance(node.body, list) else [node.body]
            children = [child for child in children if child not in body]
        elif isinstance(node, COMPREHENSIONS):
            children = [child for child in ast.walk(node) if isinstance(child, ast.NamedExpr)]
        elif isinstance(node, ast.AnnAssign) and node.value is None:
            children = []
        waiting += children


def _bound_by(node: ast.AST) -> list[str]:
    """Return the names that a node binds where it stands, without those in its children."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    if isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler):
        return [node.name] if node.name else []
    return []
