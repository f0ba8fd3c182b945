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
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("exec", "globals") or (node.func.id in ("vars", "locals") and not node.args):
                return True
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and node.slice.id == "__name__":
            return True  # sys.modules[__name__]
        elif isinstance(node, ast.Name | ast.Attribute) and _last_name(node) in ("global_enum", "_convert_"):
            return True  # of an enumeration, its members become names
    return False


def fills_others(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether a module may give names to any other: by a frame, or by setattr to one of sys.modules."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "f_globals")
        or (
            isinstance(node, ast.Call)
            and _last_name(node.func) == "setattr"
            and isinstance(node.args[0], ast.Subscript)
        )
        for node in nodes
    )


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
    stored = [(n.value, n.attr) for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    for node in nodes:
        if isinstance(node, ast.Call) and _last_name(node.func) == "setattr" and len(node.args) == 3:
            stored.append((node.args[0], str(getattr(node.args[1], "value", ""))))
    return {name for value, name in stored if _first_name(value) in imported}


def dynamic_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (line, level, module, "") of each importlib.import_module and __import__ of a literal name."""
    nodes = list(nodes)
    callers = {name for node in nodes for name in _callers(node)}
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        function, rest = _dotted(node.func), [*node.args[1:], *(keyword.value for keyword in node.keywords)]
        name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if not isinstance(name, str) or not name:
            continue
        if function in ("__import__", "builtins.__import__"):
            if len(rest) < 4 and all(keyword.arg != "level" for keyword in node.keywords):
                yield node.lineno, 0, name, ""
        elif function in callers and not name.startswith("."):
            yield node.lineno, 0, name, ""
        elif function in callers and rest:
            level, origin = len(name) - len(name.lstrip(".")), rest[0]
            if isinstance(origin, ast.Name) and origin.id == "__package__":
                yield node.lineno, level, name.lstrip("."), ""
            elif isinstance(origin, ast.Constant) and level == 1:
                yield node.lineno, 0, str(origin.value) + name, ""


def _callers(node: ast.AST) -> list[str]:
    """Return what importlib.import_module is called by after an import."""
    if isinstance(node, ast.Import):
        return [f"{a.asname or a.name}.import_module" for a in node.names if a.name == "importlib"]
    if isinstance(node, ast.ImportFrom) and node.module == "importlib":
        return [alias.asname or alias.name for alias in node.names if alias.name == "import_module"]
    return []


def _dotted(node: ast.expr) -> str:
    """Return a name, or a name and its attribute, as they stand there; nothing for whatever else is called."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _first_name(node: ast.AST) -> str:
    """Return the name that a chain of attributes begins with, or nothing."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last_name(node: ast.AST) -> str:
    """Return the last of the names in a chain of attributes, or nothing."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


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
