# ruff: noqa: E501 - the tables have a program a line
"""Small packages, each run as it stands and as a script: what they print, and how they end, is the same.

Then packages that Kaggle's Python could not run, each with the line that its build is refused with.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.build.script import build_script
from bundler.errors import BundlerError

Files = Mapping[str, str | bytes]

IS_OLDER = sys.version_info < (3, 12)
START = "raise SystemExit(1 if main(['train', '--settings', 'settings.toml']) else 0)"
PLAIN = f"""import sys
sys.path.insert(0, "src")
if __name__ == "__main__":
    from multihead.cli import main
    {START}
"""


def app(imports: str, *shown: str) -> str:
    """Return an app that imports, and prints what it is told."""
    lines = "".join(f"    print(ascii([{expression}]))\n" for expression in shown or ("'no more'",))
    return f"{textwrap.dedent(imports)}\n\ndef main(argv):\n{lines}    return 0\n"


def does(imports: str, body: str) -> str:
    """Return an app whose main does what stands in the body."""
    return f"{textwrap.dedent(imports)}\n\ndef main(argv):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


LEAF = "N = 7\n_P = 8\n\n\ndef f():\n    return N\n"

IMPORTS: dict[str, Files] = {
    "one file": {"cli.py": app("")},
    "the standard library": {"cli.py": app("import json, os.path, xml.etree.ElementTree as E", "json.dumps({})", "E.Element('a').tag")},
    "a module": {"cli.py": app("import multihead.leaf", "multihead.leaf.N"), "leaf.py": LEAF},
    "a module by another name": {"cli.py": app("import multihead.leaf as l", "l.N"), "leaf.py": LEAF},
    "a value": {"cli.py": app("from multihead.leaf import N", "N"), "leaf.py": LEAF},
    "a value by another name": {"cli.py": app("from multihead.leaf import N as M", "M"), "leaf.py": LEAF},
    "several values": {"cli.py": app("from multihead.leaf import (\n    N,\n    f,\n)", "N", "f()"), "leaf.py": LEAF},
    "several modules": {"cli.py": app("import multihead.leaf, multihead.sub.leaf", "multihead.sub.leaf.N"), "leaf.py": LEAF, "sub/__init__.py": "", "sub/leaf.py": LEAF},
    "one dot": {"cli.py": app("from . import leaf\nfrom .leaf import f", "leaf.N", "f()"), "leaf.py": LEAF},
    "two dots": {"cli.py": app("from .sub import leaf", "leaf.M"), "root.py": LEAF, "sub/__init__.py": "", "sub/leaf.py": "from .. import root\nfrom ..root import N\nM = root.N + N\n"},
    "three dots": {"cli.py": app("from .a.b import c", "c.N"), "leaf.py": LEAF, "a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": "from ...leaf import N\n"},
    "in an init": {"cli.py": app("from . import sub", "sub.N, sub.leaf.N"), "sub/__init__.py": "from . import leaf\nfrom .leaf import N\n", "sub/leaf.py": LEAF},
    "a package's init runs first": {"cli.py": app("import multihead.sub.leaf", "multihead.SEEN"), "__init__.py": "SEEN = ['top']\n", "sub/__init__.py": "import multihead\nmultihead.SEEN.append('sub')\n", "sub/leaf.py": ""},
    "a circle": {"cli.py": app("from . import a", "a.f()"), "a.py": "from . import b as other\nX = 1\n\n\ndef f():\n    return other.g()\n", "b.py": "from . import a as other\n\n\ndef g():\n    return other.X\n"},
    "in a function and a class": {"cli.py": does("", "from .leaf import N\nclass C:\n    from multihead import leaf\nprint(N, C.leaf.N)"), "leaf.py": LEAF},
    "by a literal": {"cli.py": app("import importlib\nfrom importlib import import_module", "importlib.import_module('multihead.leaf').N", "import_module('.leaf', __package__).N", "import_module('.leaf', package='multihead').N", "__import__('multihead.leaf').leaf.N"), "leaf.py": LEAF},
    "by a name made at run time": {"cli.py": app("import importlib", "importlib.import_module('multihead.' + 'fael'[::-1]).N"), "leaf.py": LEAF},
    "modules named as the library's": {"cli.py": app("from . import json, types, random\nimport json as theirs", "json.N", "types.N", "random.N", "theirs.dumps(1)"), "json.py": LEAF, "types.py": LEAF, "random.py": LEAF},
    "a package without an init": {"cli.py": app("from multihead.ns import leaf\nfrom .ns import leaf as l\nimport multihead.ns\nimport multihead.ns.deep.leaf as d\nfrom . import ns", "leaf.N", "l.N", "d.N", "list(ns.__path__) == list(multihead.ns.__path__)"), "ns/leaf.py": "from . import other\nN = other.N\n", "ns/other.py": LEAF, "ns/deep/leaf.py": LEAF},
    "no init at all": {"cli.py": app("from . import leaf", "leaf.N"), "leaf.py": LEAF, "__init__.py": None},  # type: ignore[dict-item]
    "a folder of data only is a package": {"cli.py": app("import multihead.assets as a", "list(a.__path__) != []"), "assets/x.txt": "x"},
    "a star": {"cli.py": app("from .leaf import *", "N", "f()"), "leaf.py": LEAF},
    "a star with __all__": {"cli.py": app("from .leaf import *", "_P", "'N' in globals()"), "leaf.py": LEAF + "__all__ = ['_P']\n"},
    "a star passed on": {"cli.py": app("from multihead.sub import N, f", "N"), "sub/__init__.py": "from .leaf import *\n", "sub/leaf.py": LEAF},
    "a chain of stars": {"cli.py": app("from .a import N", "N"), "a.py": "from .b import *\n", "b.py": "from .c import *\n", "c.py": LEAF},
    "a circle of stars": {"cli.py": app("from .a import A, B\nfrom .b import A as C", "A, B, C"), "a.py": "A = 1\nfrom .b import *\n", "b.py": "from .a import *\nB = 2\n"},
    "a star of the library": {"cli.py": app("from .a import dumps, path, AF_INET", "dumps(1)", "path.sep", "int(AF_INET)"), "a.py": "from json import *\nfrom os import *\nfrom socket import *\n"},
    "__all__ added to": {"cli.py": app("from .sub import *", "N"), "sub/__init__.py": "from . import leaf\nfrom .leaf import *\n__all__ = ['leaf']\n__all__ += leaf.__all__\n", "sub/leaf.py": LEAF + "__all__ = ['N']\n"},
    "__all__ names a module": {"cli.py": app("from .sub import *", "leaf.N"), "sub/__init__.py": "__all__ = ['leaf']\n", "sub/leaf.py": LEAF},
    "names bound by case": {"cli.py": app("from .m import d, rest, kw, whole, single", "d, rest, kw, whole, single"), "m.py": "match [1, 2, 3]:\n    case [d, *rest] as whole:\n        pass\nmatch {'a': 1, 'b': 2}:\n    case {'a': single, **kw}:\n        pass\n"},
    "names bound by every statement": {"cli.py": app("from .m import a, b, c, d, e, f, g, h, i, j, k, l", "a, b, c, d, e, f.closed, g, h, i.__name__, j, k, l"), "m.py": "import io\na = b = 1\n(c, [d, *e]) = 1, [2, 3]\nwith io.StringIO() as f:\n    pass\nfor g in range(3):\n    pass\nif (h := 5):\n    pass\n\n\nasync def i():\n    pass\n\n\nj: int = 3\nk = [y for x in [1] if (l := x) for y in [x]]\n"},
    "a global of a function": {"cli.py": app("from .m import late\nfrom .m import Made", "late, Made.__name__"), "m.py": "def fill():\n    global late, Made\n    late = 3\n    class Made: pass\n\n\nfill()\n"},
    "a name deleted and bound anew": {"cli.py": app("from .m import x", "x"), "m.py": "x = 1\ndel x\nx = 2\n"},
    "a name assigned from outside": {"cli.py": does("from . import m\nm.added = 5", "from .m import added\nprint(added)"), "m.py": ""},
    "a module's __getattr__": {"cli.py": app("from .m import thing", "thing"), "m.py": "def __getattr__(name):\n    if name == 'thing':\n        return 9\n    raise AttributeError(name)\n"},
    "globals()": {"cli.py": app("from .m import thing, other, third", "thing, other, third"), "m.py": "globals().update(thing=1)\nglobals()['other'] = 2\nvars()['third'] = 3\n"},
    "sys.modules": {"cli.py": app("from .m import thing\nimport multihead.alias\nfrom multihead.alias import N", "thing, N"), "m.py": "import sys\nfrom . import leaf\nsetattr(sys.modules[__name__], 'thing', 4)\nsys.modules['multihead.alias'] = leaf\n", "leaf.py": LEAF},
    "exec": {"cli.py": app("from .m import x", "x"), "m.py": "exec('x = 1')\n"},
    "__path__": {"cli.py": app("import multihead.far as far", "far.N"), "__init__.py": "import os\n__path__.append(os.path.join(__path__[0], 'more'))\n", "more/far.py": LEAF},
    "a module's own names": {"cli.py": app("from multihead import __file__, __path__, __name__, __doc__, __spec__, __package__, __loader__\nfrom .leaf import __file__ as g, __dict__ as d", "__name__, __doc__, __package__, g[-7:], d['N']"), "leaf.py": LEAF, "__init__.py": '"""Words."""\n'},
    "TYPE_CHECKING": {"cli.py": app("from typing import TYPE_CHECKING\nimport typing\nif TYPE_CHECKING:\n    import onnxruntime\n    from _typeshed import Incomplete\nelse:\n    import json\nif typing.TYPE_CHECKING and json:\n    from .nowhere import x\nif not TYPE_CHECKING:\n    from .leaf import N", "json.dumps(N)"), "leaf.py": LEAF},
    "other systems and Pythons": {"cli.py": app("import os, sys\nif sys.platform == 'win32':\n    import winreg\nelif sys.platform.startswith('linux'):\n    import fcntl\nif os.name == 'nt':\n    import msvcrt\nif sys.version_info >= (3, 99):\n    import tomlkit_of_the_future\nif sys.version_info[:2] < (3, 8) or sys.version_info.major == 2:\n    import cPickle\nif False:\n    import onnxruntime", "fcntl.__name__")},
    "what other systems have": {"cli.py": app("import sys\nfrom sys import platform\nIS_WINDOWS = platform == 'win32'\ntry:\n    import msvcrt\nexcept ImportError:\n    msvcrt = None\nif IS_WINDOWS:\n    import winreg\ndef keys():\n    if not IS_WINDOWS:\n        return 'none'\n    import winsound\n    return winsound\nif __name__ == '__main__':\n    import tool_of_mine", "keys()", "msvcrt")},
    "variables called as modules are": {"cli.py": app("from .m import A, B, f, g, h", "A, B, f(), g(3), h"), "m.py": "for t in (1, 2):\n    if t == 2:\n        A = t\nt = None\nif t:\n    C = 1\nelse:\n    B = 2\nif t is None:\n    def f(): return 1\ndef g(t):\n    if t == 3:\n        global h\n        h = {}\n    return t\ng(3)\ntyping = False\nif typing:\n    pass\nelse:\n    D = 1\n"},
    "the third number of the version": {"cli.py": app("from .m import A", "A"), "m.py": "import sys\nif sys.version_info >= (3, 12, 1) or sys.version_info[:3] > (3, 5, 0):\n    A = 1\nelse:\n    A = 2\n"},
    "calls of things named setattr": {"cli.py": app("from .m import A", "A.setattr(name='a')"), "m.py": "class Delta:\n    def setattr(self, **kw): return kw\nA = Delta()\nA.setattr(name='b')\n"},
    "modules of C in others": {"cli.py": app("import xml.parsers.expat.errors\nfrom xml.parsers.expat.model import XML_CTYPE_ANY", "XML_CTYPE_ANY")},
    "a folder in sys.path": {"cli.py": app("import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'vendor'))\nimport vendored", "vendored.N"), "vendor/vendored.py": LEAF},
    "modules that nobody can import": {"cli.py": app("from .leaf import N", "N"), "leaf.py": LEAF, "old-style.py": "print 'x'\n", "templates/{{ name }}.py": "class {{ name }}:\n"},
    "stars of stars": {"cli.py": app("from .m0a import *", "N"), **{f"m{i}{x}.py": f"from .m{i + 1}a import *\nfrom .m{i + 1}b import *\n" for i in range(20) for x in "ab"}, "m20a.py": "N = 7\n", "m20b.py": "M = 8\n"},
    "import_module by keyword": {"cli.py": app("import importlib.util", "importlib.import_module(name='multihead.leaf').N"), "leaf.py": LEAF},
    "try and else": {"cli.py": app("try:\n    import json\nexcept ImportError:\n    json = None\nelse:\n    from .leaf import N\nfinally:\n    from .leaf import f", "json.dumps(N)", "f()"), "leaf.py": LEAF},
    "a module and a folder of one name": {"cli.py": app("from . import a\nfrom .b import N", "a.N, N"), "a.py": LEAF, "a/data.txt": "x", "b.py": "N = 'hidden'\n", "b/__init__.py": "N = 'init'\n"},
    "__main__ of a package": {"cli.py": does("import runpy", "runpy.run_module('multihead.sub', run_name='__main__')\nreturn 0"), "sub/__init__.py": "", "sub/__main__.py": "from .leaf import N\nprint(N)\n", "sub/leaf.py": LEAF},
    "annotations of the future": {"cli.py": app("from __future__ import annotations\nimport dataclasses, typing\nfrom .leaf import N\n\n\n@dataclasses.dataclass\nclass A:\n    x: int = N\n", "typing.get_type_hints(A)", "A()"), "leaf.py": LEAF},
    "pickling": {"cli.py": app("import pickle\nfrom .leaf import f", "pickle.loads(pickle.dumps(f))()"), "leaf.py": LEAF},
    "inspection": {"cli.py": app("import inspect, linecache, pkgutil\nimport multihead\nfrom .leaf import f", "inspect.getsource(f)", "sorted(m.name for m in pkgutil.iter_modules(multihead.__path__))", "linecache.getline(f.__code__.co_filename, 4)"), "leaf.py": LEAF},
    "200 modules": {"cli.py": app("".join(f"from .m{i} import N as n{i}\n" for i in range(200)), "n0 + n199"), **{f"m{i}.py": f"N = {i}\n" for i in range(200)}},
    "lambdas and defaults": {"cli.py": app("from .m import f, g", "f(), g()"), "m.py": "from .leaf import N\nf = lambda x=N: x\n\n\ndef g(y=(z := 3)):\n    return y + z\n", "leaf.py": LEAF},
    "an import of a package's own attribute": {"cli.py": app("from multihead.sub import alias\nimport multihead.sub as s", "alias.N, s.alias.N"), "sub/__init__.py": "from .. import leaf as alias\n", "leaf.py": LEAF},
    "a submodule taken as a name": {"cli.py": app("from xml import dom\nfrom concurrent import futures\nfrom importlib import metadata, resources\nfrom os import path, _exit", "dom.__name__, futures.__name__, path.sep")},
    "what the library finds by __getattr__": {"cli.py": app("from concurrent.futures import ThreadPoolExecutor\nfrom ast import Constant", "ThreadPoolExecutor.__name__")},
    "bound in every corner": {"cli.py": app("from .m import G, w, v, B, saved, q", "G, w, v.__name__, B.__name__, str(saved), q"), "m.py": "class A:\n    global G\n    G = 4\n\n\ndef f(a=(w := 3)): pass\n@(v := staticmethod)\ndef g(): pass\nclass C((B := dict)): pass\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    saved = e\nq = [z := 1]\n"},
    "__all__ of others": {"cli.py": app("from .m import *\nfrom .a import *", "N, A, B"), "m.py": "from . import leaf\nfrom .leaf import *\n__all__ = leaf.__all__ + []\n", "leaf.py": LEAF + "__all__ = ['N']\n", "a.py": "__all__: list[str] = ['A']\n__all__.append('B')\nA = B = 1\n"},
    "imports in blocks": {"cli.py": app("import contextlib; from .leaf import \\\n    f\nwith contextlib.suppress(ImportError):\n    from .leaf import (N, _P as P,)\nmatch N:\n    case 7:\n        from . import leaf as l", "N, P, l.N, f()"), "leaf.py": LEAF},
    "modules named as the package and a package": {"cli.py": app("from .multihead import N\nimport multihead.multihead as m\nfrom .logging import N as o\nimport logging", "m.N, N, o, logging.INFO"), "multihead.py": LEAF, "logging/__init__.py": LEAF},
    "a module that is replaced": {"cli.py": app("from .m import attr", "attr"), "m.py": "import sys\n\n\nclass M:\n    attr = 3\n\n\nsys.modules[__name__] = M()\n"},
    "literals from a sub-package": {"cli.py": app("from .sub import a\nimport importlib as il", "a.m.N, a.n.N, a.o.N", "il.import_module('xml.dom').__name__"), "leaf.py": LEAF, "sub/__init__.py": "", "sub/a.py": "from importlib import import_module as load\nm = load('..leaf', __package__)\nn = load('.leaf', 'multihead')\no = load('..leaf', 'multihead.sub')\n"},
    "functions that only sound like imports": {"cli.py": app("class T:\n    def import_module(self, x): return x\n\n\ndef import_module(x): return x", "T().import_module('nothing'), import_module('nothing')")},
    "a lazy package": {"cli.py": app("from . import lazy\nfrom .lazy import leaf", "lazy.leaf.N, leaf.N"), "lazy/__init__.py": "import importlib\n\n\ndef __getattr__(name):\n    return importlib.import_module('.' + name, __name__)\n", "lazy/leaf.py": LEAF},
    "a __getattr__ from elsewhere": {"cli.py": app("from .lazy import thing", "thing"), "lazy.py": "from .make import __getattr__\n", "make.py": "def __getattr__(name):\n    if name.startswith('__'):\n        raise AttributeError(name)\n    return 5\n"},
    "names given by another module": {"cli.py": app("from .m import a, b, c\nfrom . import m\nsetattr(m, 'd', 4)\nfrom .m import d", "a, b, c, d"), "m.py": "from .h import fill, fill_caller\nfill(__name__)\nfill_caller()\nc = 3\n", "h.py": "import sys\n\n\ndef fill(name):\n    setattr(sys.modules[name], 'a', 1)\n\n\ndef fill_caller():\n    sys._getframe(1).f_globals['b'] = 2\n"},
    "the members of an enumeration": {"cli.py": app("from .m import RED", "RED.value"), "m.py": "import enum\n\n\n@enum.global_enum\nclass C(enum.Enum):\n    RED = 1\n"},
    "a name set by setattr": {"cli.py": does("from . import m\nsetattr(m, 'q', 3)", "from .m import q\nprint(q)"), "m.py": ""},
    "an init by its name": {"cli.py": app("from .__init__ import V\nimport multihead.__init__ as i\nfrom .__main__ import M\nfrom __main__ import __name__ as n", "V, i.V, M, n"), "__init__.py": "V = 1\n", "__main__.py": "M = 2\n"},
    "a conditional expression": {"cli.py": app("import sys\nx = __import__('winreg') if sys.platform == 'win32' else 2\nif 'win' == sys.platform[:3]:\n    import msvcrt", "x")},
    "what the library has in unlikely places": {"cli.py": app("from email.mime.text import MIMEText\nfrom logging import handlers\nfrom multiprocessing import Pool, shared_memory\nfrom unittest import mock\nfrom signal import SIGTERM\nfrom ssl import PROTOCOL_TLS\nfrom re import NOFLAG\nfrom errno import ENOENT\nfrom os import environb, sched_getaffinity\nfrom curses.ascii import ESC\nfrom select import epoll", "int(SIGTERM), ENOENT, ESC")},
}  # fmt: skip

HERE = "from pathlib import Path\n"
DATA: dict[str, Files] = {
    "text": {"cli.py": app(HERE, "(Path(__file__).parent / 'data.txt').read_bytes()"), "data.txt": "a\n'''\"\"\"\\ \u0995 \ufeff \u2028\n"},
    "line ends": {"cli.py": app(HERE, "(Path(__file__).parent / 'data.txt').read_bytes()"), "data.txt": b"a\r\nb\rc\n\n"},
    "a mark": {"cli.py": app(HERE, "(Path(__file__).parent / 'data.txt').read_bytes()"), "data.txt": b"\xef\xbb\xbfa"},
    "bytes": {"cli.py": app(HERE, "(Path(__file__).parent / 'd' / 'data.bin').read_bytes()"), "d/data.bin": bytes(range(256)) * 3},
    "nothing": {"cli.py": app(HERE, "(Path(__file__).parent / 'empty').read_bytes()"), "empty": b""},
    "a null byte": {"cli.py": app(HERE, "(Path(__file__).parent / 'n').read_bytes()"), "n": b"a\0b"},
    "resources": {"cli.py": app("from importlib import resources\nimport pkgutil", "resources.files('multihead').joinpath('d/data.txt').read_text()", "sorted(p.name for p in resources.files('multihead.d').iterdir())", "pkgutil.get_data('multihead', 'd/data.txt')"), "d/data.txt": "x\n", "d/more.toml": "y = 1\n"},
    "odd names": {"cli.py": app(HERE, "sorted(p.name for p in (Path(__file__).parent / 'd').iterdir())"), "d/a b'c\"d.txt": "x", "d/\u0995.txt": "x", "d/new\nline.txt": "x", "d/back\\slash.txt": "x", "d/no_suffix": "x"},
}  # fmt: skip

SOURCES: dict[str, Files] = {
    "quotes and backslashes": {"cli.py": app("from .m import *", "A, B, C"), "m.py": "A = '''it's \\ '''\nB = \"\"\"a \"b\" \\\\\"\"\"\nC = r'\\n'\n"},
    "a script's own words": {"cli.py": app("from .m import *", "A, B"), "m.py": "A = \"MODULES['x'] = r'''\"\nB = '@PACKAGE@ @COMMAND@'\n# if __name__ == '__main__':\n"},
    "line ends of Windows": {"cli.py": app("import inspect\nfrom . import m", "m.A, inspect.getsource(m.f)"), "m.py": b"A = '''a\r\nb'''\r\n\r\n\r\ndef f():\r\n    return 1\r\n"},
    "line ends of old and mixed": {"cli.py": app("from .m import A, B", "A, B"), "m.py": b"A = 1\rB = '''x\ny\r\nz'''\n"},
    "a byte order mark": {"cli.py": app("from .m import A", "A"), "m.py": b"\xef\xbb\xbfA = '\xc3\xa9'\n"},
    "a latin-1 cookie over latin-1": {"cli.py": app("import inspect\nfrom . import m", "m.A, inspect.getsource(m)"), "m.py": b"# -*- coding: latin-1 -*-\nA = '\xe9'\n"},
    "a latin-1 cookie over utf-8": {"cli.py": app("from .m import A", "A"), "m.py": b"# coding: latin-1\nA = '\xc3\xa9'\n"},
    "a cp1252 cookie in line 2": {"cli.py": app("from .m import A", "A"), "m.py": b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nA = '\x80'\n"},
    "tabs and form feeds": {"cli.py": app("from .m import f", "f()"), "m.py": "\x0cdef f():\n\tif True:\n\t\treturn 1\n"},
    "separators of Unicode": {"cli.py": app("from .m import A", "A"), "m.py": "A = '\u2028\x85\x0b\x1c\u2029'\n"},
    "null and surrogate escapes": {"cli.py": app("from .m import A", "A"), "m.py": "A = '\\0\\ud800'\n"},
    "other scripts": {"cli.py": app("from .\u0995 import \u0996\nfrom .m import \ufb01n", "\u0996, fin"), "\u0995.py": "\u0996 = 1\n", "m.py": "fin = 2\n"},
    "no line end at the end": {"cli.py": app("from .m import A", "A"), "m.py": "A = 1  # \\"},
    "a long line": {"cli.py": app("from .m import A", "len(A)"), "m.py": f"A = '{'x' * 200_000}'\n"},
    "a deep expression that Python takes": {"cli.py": app("from .m import A", "A"), "m.py": f"A = {' + '.join(['1'] * 1400)}\n"},
    "a long chain of calls": {"cli.py": app("from .m import A", "A"), "m.py": f"A = 'x'{'.strip()' * 400}\n"},
    "an escape that warns": {"cli.py": app("import warnings\nwarnings.simplefilter('ignore')\nfrom .m import A", "A"), "m.py": "A = '\\d'\n"},
    "a shebang": {"cli.py": "#!/usr/bin/env python3\n" + app("")},
}  # fmt: skip

NEWER: dict[str, Files] = {
    "type parameters": {"cli.py": app("from .m import f, C, X", "f(3), C.__name__, X.__name__"), "m.py": "def f[T](x: T) -> T:\n    return x\n\n\nclass C[T]:\n    pass\n\n\ntype X = int\n"},
    "quotes within f-strings": {"cli.py": app("from .m import A", "A"), "m.py": "A = f\"{'a' + f'{\"b\"}'}\"\n"},
}  # fmt: skip

ENDS: dict[str, Files] = {
    "code 0": {"cli.py": does("", "return 0")},
    "nothing returned": {"cli.py": does("", "print('x')")},
    "code 2": {"cli.py": does("", "return 2")},
    "code 256": {"cli.py": does("", "return 256")},
    "sys.exit with text": {"cli.py": does("import sys", "sys.exit('words')")},
    "sys.exit with 3": {"cli.py": does("import sys", "sys.exit(3)")},
    "sys.exit with nothing": {"cli.py": does("import sys", "sys.exit()")},
    "os._exit": {"cli.py": does("import os", "os._exit(5)")},
    "an exception": {"cli.py": does("from .leaf import g", "g()"), "leaf.py": "def g():\n    raise ValueError('here')\n"},
    "a chain": {"cli.py": does("", "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('k') from error")},
    "a group": {"cli.py": does("", "raise ExceptionGroup('all', [ValueError(1), KeyError(2)])")},
    "SIGTERM": {"cli.py": does("import os, signal", "print('x', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)")},
    "SIGKILL": {"cli.py": does("import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")},
    "interrupted": {"cli.py": does("", "raise KeyboardInterrupt")},
    "at exit the package is still there": {"cli.py": does("import atexit", "atexit.register(lambda: __import__('multihead.leaf'))\natexit.register(lambda: print(open(__file__).read()[:6]))\nreturn 0"), "leaf.py": "print('late')\n"},
    "a thread that outlives main": {"cli.py": does("import threading, time", "def late():\n    time.sleep(0.05)\n    from .leaf import N\n    print(N)\nthreading.Thread(target=late).start()\nreturn 0"), "leaf.py": LEAF},
    "a forked child that ends as usual": {"cli.py": does("import os, sys", "child = os.fork()\nif not child:\n    sys.exit(0)\nos.waitpid(child, 0)\nfrom . import leaf\nprint(leaf.N)\nreturn 0"), "leaf.py": LEAF},
    "a task group": {"cli.py": does("import asyncio\nfrom .leaf import f", "async def go():\n    async with asyncio.TaskGroup() as group:\n        tasks = [group.create_task(asyncio.to_thread(f)) for _ in range(3)]\n    print([task.result() for task in tasks])\nasyncio.run(go())\nreturn 0"), "leaf.py": LEAF},
    "warnings and logs name the file": {"cli.py": does("import logging, sys, warnings", "warnings.showwarning = lambda *a, **k: print(a[0], a[2].rpartition('/')[2], a[3])\nwarnings.simplefilter('always')\nwarnings.warn('w')\nlogging.basicConfig(stream=sys.stdout, format='%(filename)s %(lineno)d')\nlogging.error('e')\nreturn 0")},
    "a traceback's lines": {"cli.py": does("import traceback\nfrom .leaf import g", "try:\n    g()\nexcept ValueError as error:\n    print([(f.lineno, f.line) for f in traceback.extract_tb(error.__traceback__)])\nreturn 0"), "leaf.py": "def g():\n    raise ValueError('here')\n"},
}  # fmt: skip

WORK = "import os\n\n\ndef work(x):\n    return x + 1\n"
PROCESSES: dict[str, Files] = {
    f"{kind} {method}": {"cli.py": does(f"import multiprocessing as mp\nfrom concurrent.futures import ProcessPoolExecutor\nfrom .work import work\nm = mp.get_context('{method}')", body), "work.py": WORK}
    for kind, body in {
        "process": "p = m.Process(target=print, args=(work(1),))\np.start()\np.join()\nprint(p.exitcode)\nreturn 0",
        "pool": "with ProcessPoolExecutor(2, mp_context=m) as pool:\n    print(list(pool.map(work, range(3))))\nfrom . import work as w\nprint(w.__name__)\nreturn 0",
    }.items()
    for method in ("spawn", "fork", "forkserver")
}  # fmt: skip


def make(folder: Path, files: Files) -> Path:
    package = folder / "src" / "multihead"
    for name, content in {"__init__.py": "", **files}.items():
        if content is None:
            continue
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "settings.toml").write_text("[run]\n")
    return package


def run(script: Path) -> tuple[int, str, str]:
    """Return exit code, output, and the last line of the errors, of a script run in its folder."""
    environment = os.environ | {"PYTHONUTF8": "1"}
    command = [sys.executable, "-S", script.name]  # without the installed multihead, which hides one that has no init
    done = subprocess.run(command, cwd=script.parent, env=environment, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode().rpartition("\n")[0].rpartition("\n")[2]


def behave_alike(folder: Path, files: Files) -> int:
    """Run a package as it stands and as a script, and return the exit code of both."""
    package = make(folder / "plain", files)
    plain, script = folder / "plain" / "script.py", folder / "alone" / "script.py"
    plain.write_text(PLAIN)
    script.parent.mkdir()
    script.write_bytes(build_script(package, folder / "plain" / "settings.toml", "train"))
    expected = run(plain)
    assert run(script) == expected
    return expected[0]


@pytest.mark.parametrize("name", IMPORTS)
def test_imports(tmp_path: Path, name: str) -> None:
    assert behave_alike(tmp_path, IMPORTS[name]) == 0


@pytest.mark.parametrize("name", DATA)
def test_data(tmp_path: Path, name: str) -> None:
    assert behave_alike(tmp_path, DATA[name]) == 0


@pytest.mark.parametrize("name", SOURCES)
def test_source_text(tmp_path: Path, name: str) -> None:
    assert behave_alike(tmp_path, SOURCES[name]) == 0


@pytest.mark.parametrize("name", ENDS)
def test_ends(tmp_path: Path, name: str) -> None:
    behave_alike(tmp_path, ENDS[name])


@pytest.mark.parametrize("name", PROCESSES)
def test_processes(tmp_path: Path, name: str) -> None:
    assert behave_alike(tmp_path, PROCESSES[name]) == 0


@pytest.mark.parametrize("name", NEWER)
def test_syntax_of_kaggle_s_python(tmp_path: Path, name: str) -> None:
    if IS_OLDER:
        with pytest.raises(
            BundlerError, match=r"^multihead/m\.py, line 1: .* \(to this Python 3\.11; if it is new in 3\.12"
        ):
            build_script(make(tmp_path, NEWER[name]), tmp_path / "settings.toml", "train")
    else:
        assert behave_alike(tmp_path, NEWER[name]) == 0


IN_LIBRARY, LACKS = (
    "in Python 3.12 on Linux",
    "is not in Kaggle's image as kaggle_image.toml lists it, nor in a wheel",
)
NOT_IN_LIBRARY = "is not in the standard library of Python 3.12 on Linux"

# name: (module bad.py, what is said of it after "multihead/bad.py", other files)
REFUSED: dict[str, tuple[str | bytes, str, Files]] = {
    "what Kaggle lacks": ("\n\nimport onnxruntime.capi as c\n", f", line 3: onnxruntime.capi {LACKS}", {}),
    "it, taken from": ("from onnxruntime import a, b\n", f", line 1: onnxruntime {LACKS}", {}),
    "it, in a try": ("try:\n    import onnxruntime\nexcept ImportError:\n    pass\n", f", line 2: onnxruntime {LACKS}", {}),
    "it, in the branch that runs": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import onnxruntime\n", f", line 5: onnxruntime {LACKS}", {}),
    "it, by import_module": ("import importlib\nx = importlib.import_module('onnxruntime')\n", f", line 2: onnxruntime {LACKS}", {}),
    "it, by __import__": ("x = __import__('onnxruntime')\n", f", line 1: onnxruntime {LACKS}", {}),
    "it, by a class": ("class A:\n    import onnxruntime\n", f", line 2: onnxruntime {LACKS}", {}),
    "a top-level import of its own": ("import leaf\n", f", line 1: leaf {LACKS}", {"leaf.py": LEAF}),
    "no module": ("from . import leaf\nfrom .nowhere import x\n", ", line 2: multihead.nowhere is not in the package", {"leaf.py": LEAF}),
    "no module, by a literal": ("from importlib import import_module\nimport_module('multihead.nowhere')\n", ", line 2: multihead.nowhere is not in the package", {}),
    "no module, by a relative literal": ("from importlib import import_module\nimport_module('.nowhere', __package__)\n", ", line 2: multihead.nowhere is not in the package", {}),
    "no module, by a literal of the package": ("from importlib import import_module\nimport_module('.nowhere', 'multihead')\n", ", line 2: multihead.nowhere is not in the package", {}),
    "no name": ("from .leaf import M\n", ", line 1: multihead.leaf has no M", {"leaf.py": LEAF}),
    "no name in the package": ("from . import nowhere\n", ", line 1: multihead has no nowhere", {}),
    "no name in a package without an init": ("from .ns import nowhere\n", ", line 1: multihead.ns has no nowhere", {"ns/leaf.py": ""}),
    "no name in a circle of stars": ("from .a import nowhere\n", ", line 1: multihead.a has no nowhere", {"a.py": "from .b import *\n", "b.py": "from .a import *\n"}),
    "no name in __all__": ("from .a import f\n", ", line 1: multihead.a has no f", {"a.py": "from .leaf import *\n", "leaf.py": LEAF + "__all__ = ['N']\n"}),
    "__all__ names what is not there": ("from .a import *\n", ", line 1: multihead.a has no M", {"a.py": "__all__ = ['N', 'M']\nN = 1\n"}),
    "a name of a function": ("from .a import local\n", ", line 1: multihead.a has no local", {"a.py": "def f():\n    local = 1\n"}),
    "a name of a class": ("from .a import member\n", ", line 1: multihead.a has no member", {"a.py": "class C:\n    member = 1\n"}),
    "a name of a comprehension": ("from .a import x\n", ", line 1: multihead.a has no x", {"a.py": "y = [x for x in ()]\n"}),
    "a name of a lambda": ("from .a import x\n", ", line 1: multihead.a has no x", {"a.py": "y = lambda x: (z := x)\n"}),
    "a name that is only annotated": ("from .a import x\n", ", line 1: multihead.a has no x", {"a.py": "x: int\n"}),
    "a name that is deleted": ("from .a import x\n", ", line 1: multihead.a has no x", {"a.py": "x = 1\ndel x\n"}),
    "a name for type checkers": ("from .a import json\n", ", line 1: multihead.a has no json", {"a.py": "import typing as t\nif t.TYPE_CHECKING:\n    import json\n"}),
    "a module's __path__": ("from .leaf import __path__\n", ", line 1: multihead.leaf has no __path__", {"leaf.py": LEAF}),
    "an attribute as a module": ("import multihead.leaf.N\n", ", line 1: multihead.leaf.N is not in the package", {"leaf.py": LEAF}),
    "a module in a module's folder": ("import multihead.a.b\n", ", line 1: multihead.a.b is not in the package", {"a.py": "", "a/b.py": ""}),
    "beyond the top": ("from ..json import loads\n", ", line 1: ..json goes beyond multihead", {}),
    "beyond the top of all": ("from ... import x\n", ", line 1: ... goes beyond multihead", {}),
    "the library's other module": ("import os.nothing\n", f", line 1: os.nothing {NOT_IN_LIBRARY}", {}),
    "the library's attribute as a module": ("import os.environ\n", f", line 1: os.environ {NOT_IN_LIBRARY}", {}),
    "the library's other name": ("from json import lods\n", f", line 1: json has no lods {IN_LIBRARY}", {}),
    "the library's module deeper": ("from xml.etree.nothing import x\n", f", line 1: xml.etree.nothing {NOT_IN_LIBRARY}", {}),
    "a package's name that is no module": ("from xml import nothing\n", f", line 1: xml has no nothing {IN_LIBRARY}", {}),
    "another system's module": ("import winreg\n", f", line 1: winreg {LACKS}", {}),
    "names that a subscript hides": ("from .a import nothing\nfor layer in []:\n    setattr(layer[0], 'x', 1)\n", ", line 1: multihead.a has no nothing", {"a.py": "class C:\n    def f(self):\n        self.modules['x'] = 1\n"}),
    "import_module by keyword": ("import importlib.util\nimportlib.import_module(name='onnxruntime')\n", f", line 2: onnxruntime {LACKS}", {}),
    "what 3.12 dropped": ("import imp\n", f", line 1: imp {LACKS}", {}),
    "a name that 3.12 dropped": ("from configparser import SafeConfigParser\n", f", line 1: configparser has no SafeConfigParser {IN_LIBRARY}", {}),
    "a name that 3.13 brought": ("from copy import replace\n", f", line 1: copy has no replace {IN_LIBRARY}", {}),
    "a wheel's other module": ("import efficientnet.nothing\n", ", line 1: efficientnet.nothing is not in the wheels", {}),
    "a wheel's other name": ("from efficientnet.model import nothing\n", ", line 1: efficientnet.model has no nothing", {}),
}  # fmt: skip

# name: (module bad.py, the line that is at fault, part of what Python says of it)
BROKEN: dict[str, tuple[str | bytes, str, str]] = {
    "no syntax": ("x = 1\ndef f(:\n", ", line 2", ""),
    "return outside": ("return 1\n", ", line 1", "'return' outside function"),
    "an argument twice": ("\ndef f(a, a): pass\n", ", line 2", "duplicate argument 'a'"),
    "nonlocal at the top": ("nonlocal q\n", ", line 1", "nonlocal declaration not allowed"),
    "await outside": ("def f():\n    await g()\n", ", line 2", "'await' outside async function"),
    "a late future": ("x = 1\nfrom __future__ import annotations\n", ", line 2", "must occur at the beginning"),
    "an unknown future": ("from __future__ import nothing\n", ", line 1", "not defined"),
    "a star in a function": ("def f():\n    from json import *\n", "", "import * only allowed at module level"),
    "break outside": ("break\n", ", line 1", "'break' outside loop"),
    "a star twice": ("*a, *b = x\n", ", line 1", "multiple starred"),
    "null bytes": (b"x = 1\0\n", "", "null bytes"),
    "no UTF-8": (b"x = '\xe9'\n", "", "can't decode byte 0xe9"),
    "an unknown encoding": ("# coding: nonsense\n", "", "nonsense"),
    "a mark and another encoding": (b"\xef\xbb\xbf# coding: latin-1\n", "", "with BOM"),
    "Python 2": ("print 'x'\n", ", line 1", "Missing parentheses"),
    "an indent": ("if x:\npass\n", ", line 2", "expected an indented block"),
    "too deep": (f"x = {'-' * 100_000}1\n", "", ""),
    "too many brackets": (f"x = {'(' * 300}{')' * 300}\n", ", line 1", "nested parentheses"),
}  # fmt: skip


def refused(folder: Path, files: Files) -> str:
    package = make(folder, {"cli.py": app(""), **files})
    with pytest.raises(BundlerError) as raised:
        build_script(package, folder / "settings.toml", "train")
    return str(raised.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_kaggle_would_not_find_is_refused(tmp_path: Path, name: str) -> None:
    bad, message, files = REFUSED[name]
    assert refused(tmp_path, {"bad.py": bad, **files}) == f"multihead/bad.py{message}"


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_compile_is_refused(tmp_path: Path, name: str) -> None:
    bad, line, words = BROKEN[name]
    message = refused(tmp_path, {"bad.py": bad})
    assert message.startswith(f"multihead/bad.py{line}")
    assert words in message
    assert "\n" not in message


@pytest.mark.skipif(sys.version_info < (3, 13), reason="this Python does not know the syntax itself")
def test_syntax_newer_than_kaggle_s_python_is_refused(tmp_path: Path) -> None:
    message = "multihead/bad.py, line 1: Type parameter defaults are only supported in Python 3.13 and greater"
    assert refused(tmp_path, {"bad.py": "class A[T=int]: pass\n"}) == message


@pytest.mark.parametrize(
    "source",
    [
        None,
        "",
        "def f():\n    def main(argv): pass\n",
        "import typing\nif typing.TYPE_CHECKING:\n    from .leaf import main\n",
        "def main():\n    pass\n",
        "async def main(argv):\n    pass\n",
        "def main(argv, more):\n    pass\n",
        "def main(*, argv):\n    pass\n",
    ],
)
def test_without_a_main_there_is_no_script(tmp_path: Path, source: str | None) -> None:
    files: dict[str, str | bytes] = {"leaf.py": "def main(argv): pass\n", "cli.py": source}  # type: ignore[dict-item]
    assert (
        refused(tmp_path, files)
        == "multihead/cli.py: expected a function main(arguments) there, which the script calls"
    )


@pytest.mark.parametrize(
    "source",
    [
        "from .leaf import main",
        "import multihead.leaf\nmain = multihead.leaf.main",
        "from .leaf import *",
        "class main:\n    def __new__(cls, argv): print(1)",
    ],
)
def test_main_may_come_from_elsewhere(tmp_path: Path, source: str) -> None:
    assert behave_alike(tmp_path, {"leaf.py": "def main(argv):\n    print('leaf')\n", "cli.py": source + "\n"}) == 0


def test_each_fault_has_its_line(tmp_path: Path) -> None:
    files = {
        "a.py": "import onnxruntime, winsound\nfrom . import nowhere\n",
        "b.py": "return\n",
        "c.py": "from . import b\nfrom .b import any_name\n",
    }
    assert refused(tmp_path, files).splitlines() == [
        "multihead/b.py, line 1: 'return' outside function" + refused_by_older(),
        f"multihead/a.py, line 1: onnxruntime {LACKS}",
        f"multihead/a.py, line 1: winsound {LACKS}",
        "multihead/a.py, line 2: multihead has no nowhere",
    ]


def refused_by_older() -> str:
    return " (to this Python 3.11; if it is new in 3.12, which Kaggle has, build with that)" if IS_OLDER else ""
