"""What a module's syntax tree says: which of it runs on Kaggle, which names it binds, what it imports by a call."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.MatchAs, ast.MatchStar, ast.ExceptHandler)
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: eq, ast.NotEq: ne, ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge,
    ast.In: lambda one, others: one in others, ast.NotIn: lambda one, others: one not in others,
}  # fmt: skip


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
    return bound.union(*(node.names for node in ast.walk(tree) if isinstance(node, ast.Global)))


def is_open(tree: ast.Module) -> bool:
    """Tell whether a module may get names that its text does not show."""
    return any(
        (isinstance(node, ast.Call) and _returns_own_names(node))
        or (isinstance(node, ast.Subscript) and getattr(node.slice, "id", "") == "__name__")  # sys.modules[__name__]
        or _last_name(node) in ("global_enum", "_convert_")  # of an enumeration, its members become names
        for node in ast.walk(tree)
    )


def _returns_own_names(call: ast.Call) -> bool:
    """Tell whether a call returns the names of the module that it stands in, or that module; exec may change them."""
    if isinstance(call.func, ast.Name):
        return call.func.id in ("exec", "globals") or (call.func.id in ("vars", "locals") and not call.args)
    names_itself = any(getattr(argument, "id", "") == "__name__" for argument in call.args)
    return names_itself and _last_name(call.func) in ("get", "import_module")  # sys.modules.get(__name__)


def fills_others(nodes: Sequence[ast.AST]) -> bool:
    """Tell whether a module may give names to any other: by a frame, or by one that it takes from sys.modules."""
    owners = [node.value for node in nodes if isinstance(node, ast.Attribute | ast.Subscript) and _is_stored(node)]
    owners += [call.args[0] for call in _calls(nodes) if _last_name(call.func) == "setattr" and call.args]
    return any(_is_of_modules(part) for owner in owners for part in ast.walk(owner))


def _is_of_modules(node: ast.AST) -> bool:
    """Tell whether an expression is one of sys.modules, or a frame's or function's names."""
    if isinstance(node, ast.Attribute) and node.attr in ("f_globals", "__globals__"):
        return True
    container = node.value if isinstance(node, ast.Subscript) else getattr(node, "func", None)
    if isinstance(container, ast.Attribute) and container.attr in ("get", "__getitem__"):
        container = container.value
    return _is_sys_modules(container)


def _is_sys_modules(node: ast.AST | None) -> bool:
    """Tell whether an expression is sys.modules, as such or imported by its name."""
    if isinstance(node, ast.Attribute):
        return node.attr == "modules" and "sys" in _first_name(node)
    return isinstance(node, ast.Name) and node.id == "modules"


def functions_named(name: str, tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions of that name at a module's own level."""
    return [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name]


def takes_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function can be called with one argument, and does something then."""
    takes = function.args
    most = len(takes.posonlyargs) + len(takes.args)
    needs = most - len(takes.defaults) + sum(default is None for default in takes.kw_defaults)
    return bool(function.decorator_list) or (  # what a decorator makes of it is not known
        isinstance(function, ast.FunctionDef) and needs <= 1 and (most > 0 or takes.vararg is not None)
    )


def listed_names(tree: ast.Module) -> set[str] | None:
    """Return the names in __all__, or None where it is not there, not literal, or changed."""
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and node.value
        and any("__all__" in _bound_by(child) for child in ast.iter_child_nodes(node))
    ]
    uses = sum(isinstance(node, ast.Name) and node.id == "__all__" for node in ast.walk(tree))
    try:
        return set(ast.literal_eval(values[0])) if len(values) == uses == 1 else None
    except (ValueError, TypeError):
        return None


def starred(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield (level, module as it stands there) of each import of all names."""
    stars = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.names[0].name == "*")
    return ((node.level, node.module or "") for node in stars)


def adds_modules(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether a module changes where others are looked for, or puts one into sys.modules."""
    return any(
        (isinstance(node, ast.Name) and node.id == "__path__" and _is_stored(node))
        or (isinstance(node, ast.Attribute) and (_first_name(node.value) == "__path__" or node.attr == "meta_path"))
        or (isinstance(node, ast.Subscript) and _is_stored(node) and _is_sys_modules(node.value))
        or (isinstance(node, ast.Attribute) and node.attr in ("update", "setdefault") and _is_sys_modules(node.value))
        for node in nodes
    )


def changes_path(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether a module reaches for sys.path, and so may add folders that nobody here knows."""
    return any(isinstance(node, ast.Attribute) and node.attr == "path" and _first_name(node) == "sys" for node in nodes)


def assigned_attributes(nodes: Sequence[ast.AST]) -> set[str]:
    """Return the names that a module assigns to whatever it imported: names that another module gets from outside."""
    imported = {name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in _bound_by(node)}
    stored = [(node.value, node.attr) for node in nodes if isinstance(node, ast.Attribute) and _is_stored(node)]
    stored += [
        (call.args[0], str(getattr(call.args[1], "value", "")))
        for call in _calls(nodes)
        if _last_name(call.func) == "setattr" and len(call.args) == 3
    ]
    return {name for value, name in stored if _first_name(value) in imported}


def dynamic_imports(nodes: Sequence[ast.AST]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (line, level, module, "") of each importlib.import_module and __import__ of a literal name."""
    callers = {name for node in nodes for name in _callers(node)}
    for node in _calls(nodes):
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        values = [*node.args, *(keywords.pop(key) for key in ("name",) if key in keywords)]
        function, rest = _dotted(node.func), [*values[1:], *keywords.values()]
        name = values[0].value if values and isinstance(values[0], ast.Constant) else None
        if not isinstance(name, str) or not name:
            continue
        has_level = len(rest) > 3 or any(keyword.arg == "level" for keyword in node.keywords)
        is_builtin = function in ("__import__", "builtins.__import__") and not has_level
        if is_builtin or (function in callers and not name.startswith(".")):
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
        names = [alias.asname or alias.name for alias in node.names if f"{alias.name}.".startswith("importlib.")]
        return [f"{name.partition('.')[0]}.import_module" for name in names]
    if isinstance(node, ast.ImportFrom) and node.module == "importlib":
        return [alias.asname or alias.name for alias in node.names if alias.name == "import_module"]
    return []


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in nodes if isinstance(node, ast.Call))


def _is_stored(node: ast.Name | ast.Attribute | ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store)


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
    """Return what a condition on system and Python is on Kaggle, or None where its text does not say."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _truth(test.operand, python)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        decides = isinstance(test.op, ast.Or)  # a single true part decides an or, a single false one an and
        parts = [_truth(part, python) for part in test.values]
        return decides if decides in parts else None if None in parts else not decides
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if _last_name(test) == "TYPE_CHECKING":
        return False
    return _compared(test, python)


def _compared(test: ast.expr, python: tuple[int, int]) -> bool | None:
    """Return what a comparison of sys.platform, os.name or sys.version_info with a constant is, or None."""
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and len(test.args) == 1:
        start = getattr(test.args[0], "value", None)
        is_known = _dotted(test.func.value) == "sys.platform" and test.func.attr == "startswith"
        return "linux".startswith(start) if is_known and isinstance(start, str) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    if getattr(test.left, "id", "") == "__name__" and isinstance(test.ops[0], ast.Eq):
        return False if getattr(test.comparators[0], "value", "") == "__main__" else None  # modules are only imported
    value = _known(test.left, python)
    try:
        other = ast.literal_eval(test.comparators[0])
        has_third = isinstance(value, tuple) and isinstance(other, tuple) and other[:2] == python and len(other) > 2
        # which third number Kaggle's Python has is not known
        return None if value is None or has_third else COMPARISONS[type(test.ops[0])](value, other)
    except (ValueError, TypeError, KeyError):
        return None


def _known(node: ast.expr, python: tuple[int, int]) -> Any:
    """Return what an expression is on Kaggle, None where that is not known."""
    if _first_name(node.value if isinstance(node, ast.Subscript) else node) not in ("sys", "os"):
        return None
    return {
        "sys.platform": "linux",
        "os.name": "posix",
        "sys.version_info": (*python, 1),
        "sys.version_info[0]": python[0],
        "sys.version_info[1]": python[1],
        "sys.version_info[:2]": python,
        "sys.version_info.major": python[0],
        "sys.version_info.minor": python[1],
    }.get(ast.unparse(node))


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
    if isinstance(node, NAMED):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    if isinstance(node, ast.Name):
        return [node.id] if _is_stored(node) else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return []
