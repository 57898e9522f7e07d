"""What the code of a pipeline's step does with MLflow and with credentials, read from its syntax tree.

Nothing is executed. Values are followed through names, attributes, dictionaries, concatenation, formatting, branches and calls of the
code's own functions, whatever the order of the statements is. What comes from the environment, a parameter, a file or another package is
outside of the code.
"""

from __future__ import annotations

import ast
import builtins
import re
import string
import sys
import warnings
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from threading import Lock

from trivet.contracts.ir.credentials import credential_in, is_credential, masked

VARIABLE = "MLFLOW_TRACKING_URI"

_LITERAL = re.compile(r"[a-zA-Z][\w+.-]*:/|databricks")
_IN_SHELL = re.compile(rf"{VARIABLE}\s*=\s*[\"']?([a-zA-Z][\w+.-]*:/[^\s\"';]+)")
_REST = re.compile(r"https?://[^/]+(/.*)?/api/2\.0/(preview/)?mlflow")
_RECORDERS = {"trivet.operations.steps.train", "trivet.operations.training.train_and_register"}
_RECORDS = re.compile(r"(start_run|create_run|autolog|log_\w+|set_tags?|register_model|create_model_version)$")
_FROM_ENVIRONMENT = ("get", "getenv", "setdefault", "putenv")
_PROCESSES = ("system", "popen", "Popen", "run", "call", "check_call", "check_output")
_URI_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "set_tracking_uri": ("uri",),
    "set_registry_uri": ("uri",),
    "MlflowClient": ("tracking_uri", "registry_uri"),
}
"""MLflow's functions that take URIs of servers, and the names of these parameters in their order (mlflow 2.17.2 and 3.17.2)."""
_UNCHANGED = (
    "strip",
    "rstrip",
    "lstrip",
    "lower",
    "upper",
    "encode",
    "decode",
    "removesuffix",
    "removeprefix",
    "replace",
)
_REFLECTION = {"locals", "globals", "vars", "eval", "exec"}
"""With one of these, a function can use a parameter without naming it."""
_BASIC_AUTH = ("HTTPBasicAuth", "HTTPDigestAuth", "HTTPProxyAuth", "BasicAuth")
_NEWER_SYNTAX = re.compile(
    r"f-string|\bt[\"']|^\s*(async\s+)?(def|class)\s+\w+\[|^\s*type\s+\w+|^\s*except\*?\s+\w[\w.]*\s*,"
)
"""Errors and lines that may be syntax of Python 3.12 to 3.14 (PEPs 695, 701, 750 and 758)."""

_RESULT = "mlflow.*"
"""What the code of MLflow returned."""

DEPTH = 25
"""Steps over which a value is followed."""
LONGEST_INTEGER = 256
"""Bits of an integer that is read as part of a text."""
ALTERNATIVES = 12
"""Values of one expression that are looked at."""
BOUND = 50
"""Values that one name is bound to, and calls of one function, that are looked at."""
PARTS = 100
"""Parts of one text that are joined."""
WORK = 100_000
"""Look-ups in one program, after which what is left is taken to come from outside; the largest step in KFP's repository needs 16,400."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the code of a step does. ``literals`` and ``secrets`` are sentences, one per hard-coded tracking URI and credential.

    ``tracking_parameters`` are the parameters of the step's function that become the tracking URI. ``artifact_uris`` are the URIs that it
    gives to its artifacts, and ``unused`` the parameters that its functions never name.
    """

    literals: tuple[str, ...] = ()
    uses_mlflow: bool = False
    records: bool = False
    secrets: tuple[str, ...] = ()
    tracking_parameters: frozenset[str] = frozenset()
    artifact_uris: tuple[ArtifactUri, ...] = ()
    unused: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ArtifactUri:
    """A URI that the code gives to the artifact in a parameter of one of its functions. Gaps are ``{name}``; ``mlflow`` is set for the
    ``model_uri`` of what MLflow's ``log_model`` returns: ``runs:/…`` with MLflow 2, ``models:/…`` with MLflow 3."""

    function: str
    parameter: str
    uri: str
    mlflow: bool = False


_PARSING = Lock()


def _parsed(text: str) -> ast.Module:
    """The tree of Python code, made by one thread at a time: CPython 3.11 counts the depth of all trees in one number, and raises
    SystemError when a finaliser lets another thread in ("AST constructor recursion depth mismatch", measured with 3.11.7).

    What Python warns of, such as ``1if``, is the author's of the step: it has no place among what lint prints.
    """
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return ast.parse(text)


@lru_cache(maxsize=1024)
def read_program(text: str) -> Program:
    """What Python code does; of other languages only whether it sets the tracking URI to a literal."""
    try:
        tree = _parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        uris = tuple(f"its command sets {VARIABLE} to {masked(uri)!r}" for uri in _IN_SHELL.findall(text))
        return Program(literals=uris)
    return _Code(tree).program()


@lru_cache(maxsize=1024)
def syntax_error(text: str) -> tuple[str, bool]:
    """Why ``text`` is not Python, empty if it is; and whether a Python newer than this one may accept it."""
    try:
        _parsed(text)
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        newer = bool(_NEWER_SYNTAX.search(error.msg) or _NEWER_SYNTAX.search(line))
        return error.msg + (f" (line {error.lineno} of the code)" if error.lineno else ""), newer
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it is nested too deeply", False
    return "", False


THIS_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class _Outside:
    """A part of a text that the code does not hold. ``parameter`` is set for a parameter of the step's function."""

    name: str
    parameter: str = ""
    unbound: bool = False


_Part = str | _Outside
_Text = tuple[_Part, ...]
"""A text as the parts that it is joined of."""
_OUTSIDE: _Text = (_Outside("…"),)


@dataclass
class _Scope:
    """The names that a module, class or function binds, each with the expressions that it is bound to (None: not an expression)."""

    outer: _Scope | None = None
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    names: dict[str, list[ast.expr | None]] = field(default_factory=lambda: defaultdict(list))
    returned: list[ast.expr | None] = field(default_factory=list)


class _Code:
    """One syntax tree with its bindings."""

    def __init__(self, tree: ast.Module) -> None:
        self.nodes: list[tuple[ast.AST, _Scope]] = []
        self.attributes: dict[str, list[ast.expr | None]] = defaultdict(list)
        self.functions: dict[str, tuple[ast.FunctionDef | ast.AsyncFunctionDef, _Scope]] = {}
        self.calls: dict[str, list[tuple[ast.Call, _Scope]]] = defaultdict(list)
        self.imported: dict[str, list[str]] = defaultdict(list)
        """The names that imports bind, each with the dotted names of what it is; those of relative imports begin with a dot."""
        self.scopes: dict[int, _Scope] = {}
        self.docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        self._walk(tree)
        self.uses_mlflow = any(_is_mlflow(origin) for origins in self.imported.values() for origin in origins)
        if self.uses_mlflow:
            self._bind_results_of_mlflow()
        self._busy: set[int] = set()
        self._found: dict[int, list[_Text]] = {}
        self._left = WORK

    def program(self) -> Program:
        """The answer."""
        literals: list[str] = []
        secrets: list[str] = []
        parameters: set[str] = set()
        uris: list[ArtifactUri] = []
        for node, scope in self.nodes:
            for called, argument in self._tracking_uris(node, scope):
                for text in self.texts(argument, scope):
                    if isinstance(text[0], _Outside) and len(text) == 1 and text[0].parameter:
                        parameters.add(text[0].parameter)
                    if uri := _hard_coded(text):
                        literals.append(
                            f"its code hard-codes the tracking server: {called} {masked(uri)!r} ({_line(node)})"
                        )
                        break
            literals += self._in_commands(node, scope)
            secrets += self._secrets(node, scope)
            uris += self._artifact_uris(node, scope)
        return Program(
            literals=tuple(literals),
            uses_mlflow=self.uses_mlflow,
            records=bool(self.imported)
            and any(isinstance(node, ast.Call) and self._records(node) for node, _ in self.nodes),
            secrets=tuple(dict.fromkeys(secrets)),
            tracking_parameters=frozenset(parameters),
            artifact_uris=tuple(dict.fromkeys(uris)),
            unused=frozenset(self._unused()),
        )

    # -- artifacts ----------------------------------------------------------------------------------------------------

    def _artifact_uris(self, node: ast.AST, scope: _Scope) -> Iterator[ArtifactUri]:
        """The URIs that a statement such as ``model.uri = …`` gives to artifacts, where ``model`` is a parameter."""
        if not isinstance(node, ast.Assign):
            return
        for target in node.targets:
            if not (isinstance(target, ast.Attribute) and target.attr == "uri" and isinstance(target.value, ast.Name)):
                continue
            owner = _function_of(target.value.id, scope)
            for text in self.texts(node.value, scope) if owner else ():
                of_mlflow = text == (_Outside("model_uri"),) and self.uses_mlflow
                if of_mlflow or isinstance(text[0], str):
                    yield ArtifactUri(
                        function=owner, parameter=target.value.id, uri=masked(_plain(text)), mlflow=of_mlflow
                    )

    def _unused(self) -> Iterator[tuple[str, str]]:
        """Function and parameter, for the parameters that a function's body does not name."""
        for name, (function, _) in self.functions.items():
            named = {each.id for part in function.body for each in ast.walk(part) if isinstance(each, ast.Name)}
            if not named & _REFLECTION:
                yield from ((name, parameter) for parameter in _parameters(function) if parameter not in named)

    # -- bindings -----------------------------------------------------------------------------------------------------

    def _walk(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, _Scope]] = [(tree, _Scope())]
        while waiting:
            node, scope = waiting.pop()
            self.nodes.append((node, scope))
            self.scopes[id(node)] = scope
            self._bind(node, scope)
            inner = scope
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
                inner = _Scope(
                    outer=scope, function=node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
                )
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.functions[node.name] = node, inner
            waiting += [(child, inner) for child in reversed(list(ast.iter_child_nodes(node)))]

    def _bind(self, node: ast.AST, scope: _Scope) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self._assign(target, node.value, scope)
            case ast.AnnAssign() | ast.NamedExpr() if node.value is not None:
                self._assign(node.target, node.value, scope)
            case ast.AugAssign():
                joined = ast.copy_location(ast.BinOp(left=_loaded(node.target), op=node.op, right=node.value), node)
                self._assign(node.target, joined, scope)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                items = node.iter.elts if isinstance(node.iter, ast.List | ast.Tuple | ast.Set) else [None]
                for item in items:
                    self._assign(node.target, item, scope)
            case ast.withitem() if node.optional_vars is not None:
                self._assign(node.optional_vars, None, scope)
            case ast.Import():
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    self._import(name, alias.name if alias.asname else name, scope)
            case ast.ImportFrom():
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    self._import(alias.asname or alias.name, f"{module}.{alias.name}", scope)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.names[node.name].append(None)
            case ast.ExceptHandler() if node.name:
                scope.names[node.name].append(None)
            case ast.Return():
                scope.returned.append(node.value)
            case ast.Call() if len(calls := self.calls[_called(node.func)]) < BOUND:
                calls.append((node, scope))

    def _assign(self, target: ast.expr, value: ast.expr | None, scope: _Scope) -> None:
        match target:
            case ast.Name():
                scope.names[target.id].append(value)
                if scope.function is None and scope.outer is not None:  # a class
                    self.attributes[target.id].append(value)
            case ast.Attribute():
                self.attributes[target.attr].append(value)
            case ast.Tuple() | ast.List():
                values: Sequence[ast.expr | None] = [None] * len(target.elts)
                if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                    values = value.elts
                for each, part in zip(target.elts, values, strict=True):
                    self._assign(each, part, scope)
            case ast.Starred():
                self._assign(target.value, None, scope)

    # -- imports ------------------------------------------------------------------------------------------------------

    def _import(self, name: str, origin: str, scope: _Scope) -> None:
        scope.names[name].append(None)
        if origin not in (origins := self.imported[name]) and len(origins) < BOUND:
            origins.append(origin)

    def _origins(self, node: ast.AST) -> list[str]:
        """The dotted names of what names, attributes and calls are by the imports: ``m.sklearn.log_model`` is ``mlflow.sklearn.log_model``
        after ``import mlflow as m``. Calls leave no trace: ``C().log_metric`` is ``mlflow.MlflowClient.log_metric``.
        """
        attributes: list[str] = []
        while isinstance(node, ast.Attribute | ast.Call):
            if isinstance(node, ast.Attribute):
                attributes.append(node.attr)
            node = node.value if isinstance(node, ast.Attribute) else node.func
        origins = self.imported.get(node.id) if isinstance(node, ast.Name) else None
        return [".".join((origin, *reversed(attributes))) for origin in origins or ()]

    def _bind_results_of_mlflow(self) -> None:
        """Names that are bound to the result of a call of MLflow's are MLflow's too."""
        for node, _ in self.nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                names = {target.id for target in node.targets if isinstance(target, ast.Name)}
                if names and any(map(_is_mlflow, self._origins(node.value))):
                    for name in names:
                        if _RESULT not in self.imported[name]:
                            self.imported[name].append(_RESULT)

    def _records(self, call: ast.Call) -> bool:
        return any(
            origin in _RECORDERS or (_is_mlflow(origin) and _RECORDS.match(origin.rpartition(".")[2]))
            for origin in self._origins(call.func)
        )

    # -- values -------------------------------------------------------------------------------------------------------

    def texts(self, node: ast.expr | None, scope: _Scope, depth: int = DEPTH) -> list[_Text]:
        """The texts that an expression can have, at least one."""
        self._left -= 1
        if node is None or not depth or id(node) in self._busy or self._left < 0:
            return [_OUTSIDE]
        if (known := self._found.get(id(node))) is None:
            self._busy.add(id(node))
            found = dict.fromkeys(self._texts(node, scope, depth - 1))
            self._busy.discard(id(node))
            known = self._found[id(node)] = list(found)[:ALTERNATIVES] or [_OUTSIDE]
        return known

    def _texts(self, node: ast.expr, scope: _Scope, depth: int) -> list[_Text]:
        def of(each: ast.expr | None) -> list[_Text]:
            return self.texts(each, scope, depth)

        match node:
            case ast.Constant():
                value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
                if isinstance(value, int) and value.bit_length() > LONGEST_INTEGER:
                    return [_OUTSIDE]
                return [(str(value),)] if isinstance(value, str | int | float) else [_OUTSIDE]
            case ast.JoinedStr():
                return _joined([of(part) for part in node.values])
            case ast.FormattedValue() | ast.Await() | ast.NamedExpr() | ast.Starred():
                return of(node.value)
            case ast.BinOp(op=ast.Add()):
                return _joined([of(node.left), of(node.right)])
            case ast.BinOp(op=ast.Div()):  # pathlib
                return _joined([of(node.left), _text("/"), of(node.right)])
            case ast.BinOp(op=ast.Mod()):
                values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
                return self._formatted(
                    of(node.left), re.compile(r"%(?:\(\w+\))?[-#0 +]*[\d.]*[a-zA-Z]"), [of(v) for v in values]
                )
            case ast.BoolOp():
                return [text for each in node.values for text in of(each)]
            case ast.IfExp():
                return of(node.body) + of(node.orelse)
            case ast.Name():
                return self._name(node.id, scope, depth)
            case ast.Attribute():
                bound = self.attributes.get(node.attr)
                if not bound:
                    return [(_Outside(node.attr),)]
                return [t for each in bound[:BOUND] for t in self.texts(each, self._scope(each, scope), depth)]
            case ast.Subscript():
                return [
                    t
                    for each, where in self._members(node.value, node.slice, scope, depth)
                    for t in self.texts(each, where, depth)
                ]
            case ast.Call():
                return self._call(node, scope, depth)
        return [_OUTSIDE]

    def _scope(self, node: ast.expr | None, default: _Scope) -> _Scope:
        return self.scopes.get(id(node), default)

    def _name(self, name: str, scope: _Scope, depth: int) -> list[_Text]:
        where: _Scope | None = scope
        while where is not None:
            if name in where.names:
                return [
                    t for each in where.names[name][:BOUND] for t in self.texts(each, self._scope(each, where), depth)
                ]
            if where.function is not None and name in _parameters(where.function):
                return self._parameter(where.function, name, depth)
            where = where.outer
        return [(_Outside(name, unbound=not hasattr(builtins, name)),)]

    def _parameter(self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str, depth: int) -> list[_Text]:
        """What the calls in the code give, and the default where they give nothing. The step's own function is called from outside."""
        calls = self.calls.get(function.name)
        if not calls:
            return [(_Outside(name, parameter=name),)]
        names = [each for each in _parameters(function) if each not in ("self", "cls")]
        found: list[_Text] = []
        for call, scope in calls:
            given = {keyword.arg: keyword.value for keyword in call.keywords} | dict(
                zip(names, call.args, strict=False)
            )
            argument = given.get(name, _defaults(function).get(name))
            found += self.texts(argument, scope, depth)
        return found

    def _members(
        self, container: ast.expr, key: ast.expr, scope: _Scope, depth: int
    ) -> list[tuple[ast.expr | None, _Scope]]:
        """The expressions that ``container[key]`` can be, if it is a dictionary or list that stands in the code."""
        keys = {text[0] for text in self.texts(key, scope, depth) if len(text) == 1}
        found: list[tuple[ast.expr | None, _Scope]] = []
        for each, where in self._expressions(container, scope, depth):
            if isinstance(each, ast.Dict):
                self._left -= len(each.keys)
                found += [
                    (value, where)
                    for name, value in zip(each.keys, each.values, strict=True)
                    if isinstance(name, ast.Constant) and str(name.value) in keys
                ]
            elif isinstance(each, ast.List | ast.Tuple):
                found += [(value, where) for index, value in enumerate(each.elts) if str(index) in keys]
            elif isinstance(each, ast.Call) and _called(each.func) == "dict":
                found += [(keyword.value, where) for keyword in each.keywords if keyword.arg in keys]
        return found or [(None, scope)]

    def _expressions(self, node: ast.expr, scope: _Scope, depth: int) -> list[tuple[ast.expr, _Scope]]:
        """The expressions that a name or attribute is bound to; others stand for themselves."""
        if not depth:
            return []
        bound: list[ast.expr | None] = [node]
        if isinstance(node, ast.Name):
            where: _Scope | None = scope
            while where is not None and node.id not in where.names:
                where = where.outer
            bound = where.names[node.id] if where else []
        elif isinstance(node, ast.Attribute):
            bound = self.attributes.get(node.attr, [])
        elif isinstance(node, ast.Subscript):
            return [
                pair
                for each, where in self._members(node.value, node.slice, scope, depth - 1)
                if each is not None
                for pair in self._expressions(each, where, depth - 1)
            ]
        return [
            pair
            for each in bound[:BOUND]
            if each is not None
            for pair in (
                self._expressions(each, self._scope(each, scope), depth - 1)
                if each is not node and isinstance(each, ast.Name | ast.Attribute | ast.Subscript)
                else [(each, self._scope(each, scope))]
            )
        ]

    def _call(self, node: ast.Call, scope: _Scope, depth: int) -> list[_Text]:
        def of(each: ast.expr | None) -> list[_Text]:
            return self.texts(each, scope, depth)

        called = self._function(node.func, scope)
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        first = node.args[0] if node.args else None
        if called in _FROM_ENVIRONMENT and node.args:
            # The default of the variable itself is found where it is read.
            is_variable = (VARIABLE,) in of(first)
            default = [] if is_variable or len(node.args) < 2 else of(node.args[1])
            inside = self._members(receiver, node.args[0], scope, depth) if receiver is not None else []
            return (
                [t for each, where in inside if each is not None for t in self.texts(each, where, depth)]
                + default
                + [_OUTSIDE]
            )
        if called == "format" and receiver is not None:
            return self._format(of(receiver), node, scope, depth)
        if (
            called == "join"
            and receiver is not None
            and isinstance(first, ast.List | ast.Tuple)
            and _root(node.func) != "os"
        ):
            between = of(receiver)
            parts = [part for each in first.elts for part in (between, of(each))]
            return _joined(parts[1:])
        if called in ("join", "urljoin") and node.args:
            return _joined([part for each in node.args for part in (_text("/"), of(each))][1:])
        if called in _UNCHANGED and receiver is not None:
            return of(receiver)
        if called in ("str", "quote", "Path", "PurePath", "fspath") and first is not None:
            return of(first)
        if called in ("b64decode", "urlsafe_b64decode") and first is not None:
            return [(decoded,) for text in of(first) if (decoded := _decoded(text))] or [_OUTSIDE]
        if called in self.functions:
            inner = self.functions[called][1]
            return [t for each in inner.returned for t in self.texts(each, inner, depth)] or [_OUTSIDE]
        return [_OUTSIDE]

    def _format(self, templates: list[_Text], node: ast.Call, scope: _Scope, depth: int) -> list[_Text]:
        found: list[_Text] = []
        for template in templates:
            if not all(isinstance(part, str) for part in template):
                return [_OUTSIDE]
            try:
                fields = list(string.Formatter().parse("".join(map(str, template))))
            except ValueError:
                return [_OUTSIDE]
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            parts: list[list[_Text]] = []
            position = 0
            for literal, name, _, _ in fields:
                parts.append(_text(literal))
                if name is None:
                    continue
                key = re.split(r"[.\[]", name)[0]
                index = position if not key else int(key) if key.isdecimal() and len(key) < 4 else None
                position += not key
                if index is None:
                    parts.append(self.texts(keywords.get(key), scope, depth))
                else:
                    parts.append(self.texts(node.args[index] if index < len(node.args) else None, scope, depth))
            found += _joined(parts)
        return found

    def _formatted(self, templates: list[_Text], gap: re.Pattern[str], values: list[list[_Text]]) -> list[_Text]:
        found: list[_Text] = []
        for template in templates:
            if not all(isinstance(part, str) for part in template):
                return [_OUTSIDE]
            pieces = gap.split("".join(map(str, template)))
            parts = [_text(pieces[0])]
            for index, piece in enumerate(pieces[1:]):
                parts += [values[index] if index < len(values) else [_OUTSIDE], _text(piece)]
            found += _joined(parts)
        return found

    def _function(self, function: ast.expr, scope: _Scope) -> str:
        """The name of what is called: of an import under another name, of ``getattr(…, name)``, of what a name is bound to."""
        if isinstance(function, ast.Name):
            for origin in reversed(self.imported.get(function.id, ())):
                if origin != _RESULT and (name := origin.rpartition(".")[2]) != function.id:
                    return name
            bound = scope.names.get(function.id, []) if function.id in scope.names else []
            if len(bound) == 1 and isinstance(bound[0], ast.Attribute):
                return bound[0].attr
        if isinstance(function, ast.Call) and _called(function.func) == "getattr" and len(function.args) > 1:
            return _constant(function.args[1])
        return _called(function)

    # -- tracking servers ---------------------------------------------------------------------------------------------

    def _tracking_uris(self, node: ast.AST, scope: _Scope) -> Iterator[tuple[str, ast.expr]]:
        """The expressions at ``node`` that become a tracking URI, each with what makes them one."""
        if isinstance(node, ast.Call):
            called = self._function(node.func, scope)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if VARIABLE in given:  # environ.update(…), dict(…)
                yield called, given[VARIABLE]
            for index, name in enumerate(_URI_ARGUMENTS.get(called, ())):
                argument = given.get(name, node.args[index] if index < len(node.args) else None)
                if argument is not None:
                    yield called, argument
            if called in _FROM_ENVIRONMENT and len(node.args) == 2 and self._is_variable(node.args[0], scope):
                yield called, node.args[1]
        elif isinstance(node, ast.Assign):
            if any(isinstance(t, ast.Subscript) and self._is_variable(t.slice, scope) for t in node.targets):
                yield f"environ[{VARIABLE!r}] =", node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and self._is_variable(key, scope):
                    yield f"{VARIABLE!r}:", value
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and self._is_variable(node.elts[0], scope):
            yield f"({VARIABLE!r}, …)", node.elts[1]

    def _is_variable(self, node: ast.expr, scope: _Scope) -> bool:
        return isinstance(node, ast.Constant | ast.Name | ast.Attribute | ast.BinOp) and (VARIABLE,) in self.texts(
            node, scope
        )

    def _in_commands(self, node: ast.AST, scope: _Scope) -> Iterator[str]:
        """Tracking servers in commands that the code runs, in code that it executes, and in URLs of MLflow's REST API."""
        if not isinstance(node, ast.Call):
            return
        called = self._function(node.func, scope)
        if called in _PROCESSES:
            words = [e for a in node.args for e in (a.elts if isinstance(a, ast.List | ast.Tuple) else [a])]
            commands = [_plain(text) for word in words for text in self.texts(word, scope)]
            for uri in (uri for command in commands for uri in _IN_SHELL.findall(command)):
                yield f"its code hard-codes the tracking server: a command sets {VARIABLE} to {masked(uri)!r} ({_line(node)})"
        elif called in ("exec", "eval") and node.args:
            for text in self.texts(node.args[0], scope):
                if len(text) == 1 and isinstance(text[0], str) and "mlflow" in text[0]:
                    yield from read_program(text[0]).literals
        elif node.args and called not in _URI_ARGUMENTS:
            for argument in node.args[:2]:
                for text in self.texts(argument, scope):
                    if (uri := _hard_coded(text)) and _REST.match(uri):
                        yield f"its code hard-codes the tracking server: {called} {masked(uri)!r} ({_line(node)})"
                        return

    # -- credentials --------------------------------------------------------------------------------------------------

    def _secrets(self, node: ast.AST, scope: _Scope) -> Iterator[str]:
        for name, value in self._named_values(node, scope):
            if any(len(text) == 1 and is_credential(name, text[0]) for text in self._whole(value, scope)):
                yield f"its code sets {name} to a literal ({_line(node)})"
        if (isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in self.docstrings) or (
            isinstance(node, ast.Call) and _called(node.func) in ("format", "join")
        ):
            for text in self.texts(node, scope):
                if found := credential_in(_plain(text)):
                    yield f"its code contains {found} ({_line(node)})"
                    break

    def _whole(self, value: ast.expr, scope: _Scope) -> Iterator[tuple[str, ...]]:
        """The texts of a value that stand in the code whole."""
        for text in self.texts(value, scope):
            if all(isinstance(part, str) for part in text):
                yield ("".join(map(str, text)),)

    def _named_values(self, node: ast.AST, scope: _Scope) -> Iterator[tuple[str, ast.expr]]:
        """The values that get a name at ``node``."""
        match node:
            case ast.Assign() | ast.AnnAssign() if node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Subscript):
                        yield from ((name, node.value) for name in self._keys(target.slice, scope))
                    else:
                        yield _called(target), node.value
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if key is not None:
                        yield from ((name, value) for name in self._keys(key, scope))
            case ast.Call():
                called = self._function(node.func, scope)
                for keyword in node.keywords:
                    if keyword.arg == "auth" and isinstance(keyword.value, ast.Tuple) and len(keyword.value.elts) == 2:
                        yield "the password of auth", keyword.value.elts[1]
                    elif keyword.arg:
                        yield keyword.arg, keyword.value
                if called in _FROM_ENVIRONMENT and len(node.args) == 2:
                    yield from ((name, node.args[1]) for name in self._keys(node.args[0], scope))
                elif called in _BASIC_AUTH and len(node.args) == 2:
                    yield "the password of auth", node.args[1]
                elif called == "Minio" and len(node.args) > 2:
                    yield "secret_key", node.args[2]
            case ast.FunctionDef() | ast.AsyncFunctionDef() if self.calls.get(node.name):
                yield from _defaults(node).items()

    def _keys(self, node: ast.expr, scope: _Scope) -> list[str]:
        return [text[0] for text in self.texts(node, scope) if len(text) == 1 and isinstance(text[0], str)]


def _hard_coded(text: _Text) -> str:
    """The URI if ``text`` is one whose server stands in the code; gaps are shown as ``{name}``."""
    whole = _plain(text)
    if not isinstance(text[0], str) or not _LITERAL.match(whole):
        return ""
    server = whole.partition("://")[2].partition("/")[0] or whole
    outside = [part for part in text if isinstance(part, _Outside) and not part.unbound]
    return "" if any(f"{{{part.name}}}" in server for part in outside) else whole


def _plain(text: _Text) -> str:
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in text)


def _text(literal: str) -> list[_Text]:
    return [(literal,)]


def _joined(parts: Sequence[list[_Text]]) -> list[_Text]:
    """Every way to join one alternative of each part, up to the limit; neighbouring strings become one."""
    if len(parts) > PARTS:
        return [_OUTSIDE]
    found: list[_Text] = [()]
    for alternatives in parts:
        found = [_merged(before + after) for before, after in product(found, alternatives)][:ALTERNATIVES]
    return [text or ("",) for text in found]


def _merged(text: _Text) -> _Text:
    merged: list[_Part] = []
    for part in text:
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def _decoded(text: _Text) -> str:
    try:
        return b64decode(_plain(text), validate=True).decode()
    except ValueError:
        return ""


def _function_of(parameter: str, scope: _Scope) -> str:
    """The name of the innermost function around ``scope`` that has the parameter; empty if none has, or the name is bound again."""
    where: _Scope | None = scope
    while where is not None and parameter not in where.names:
        if where.function is not None and parameter in _parameters(where.function):
            return where.function.name
        where = where.outer
    return ""


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _defaults(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Mapping[str, ast.expr]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    found = dict(zip([each.arg for each in reversed(positional)], reversed(arguments.defaults), strict=False))
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {each.arg: default for each, default in pairs if default is not None}


def _loaded(target: ast.expr) -> ast.expr:
    """A target of ``+=`` as the expression that it also reads."""
    return ast.copy_location(ast.Name(id=target.id, ctx=ast.Load()), target) if isinstance(target, ast.Name) else target


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_mlflow(origin: str) -> bool:
    return origin.partition(".")[0] == "mlflow"


def _called(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _root(function: ast.AST) -> str:
    while isinstance(function, ast.Attribute | ast.Call):
        function = function.value if isinstance(function, ast.Attribute) else function.func
    return getattr(function, "id", "")


def _line(node: ast.AST) -> str:
    return f"line {getattr(node, 'lineno', 0)} of the code"
