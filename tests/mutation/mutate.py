"""Small changes to a module, each of which a test should notice. What they are made of is Python's syntax tree, never its text.

Not mutated: docstrings, annotations, decorators (a contract's title, sources and level are metadata), assertions, and messages, which are
f-strings, strings of several words, and the message and remedy of a finding or an error.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

FINDINGS = {"passed": "failed", "failed": "passed", "inconclusive": "failed", "not_applicable": "passed"}
"""Which outcome becomes which other one."""

ERRORS = ("CannotTell", "UsageError", "PlatformError", "NotOffered")

Path = tuple[tuple[str, int | None], ...]
"""From the module to a node: field, and index where the field is a list."""

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min", "startswith": "endswith", "endswith": "startswith"}
_NORMALISERS = ("lower", "upper", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "splitlines")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change. ``before`` and ``after`` are the changed expression or statement on one line, ``nth`` counts those that read alike."""

    function: str
    line: int
    before: str
    after: str
    path: Path = field(repr=False)
    replacement: ast.AST = field(repr=False)
    nth: int = 1

    @property
    def id(self) -> str:
        """Stays the same when lines move: function, the text before and after, and which one where several read alike."""
        return f"{self.function}: {self.before} → {self.after}" + (f" (#{self.nth})" if self.nth > 1 else "")

    def lines(self, tree: ast.Module) -> range:
        """The lines of the innermost statement that it is in, of one with a body those before the body."""
        node: ast.AST = tree
        first, last = 0, 0
        for name, index in self.path:
            node = getattr(node, name) if index is None else getattr(node, name)[index]
            if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
                start = node.pattern if isinstance(node, ast.match_case) else node
                body = getattr(node, "body", None)
                first = start.lineno
                last = max(first, body[0].lineno - 1) if body else start.end_lineno or first
        return range(first, last + 1)

    def apply(self, tree: ast.Module) -> ast.Module:
        """The module's tree with this change in it; what is not changed is shared."""
        changed: ast.Module = _with_at(tree, self.path, self.replacement)
        ast.fix_missing_locations(changed.body[self.statement])
        return changed

    @property
    def statement(self) -> int:
        """Which statement of the module it is in."""
        index = self.path[0][1]
        assert index is not None
        return index


def mutants(tree: ast.Module, names: set[str]) -> list[Mutant]:
    """Every mutant of the top-level functions, classes and constants in ``names``."""
    found: list[Mutant] = []
    alike: Counter[str] = Counter()
    for index, statement in enumerate(tree.body):
        for name in _defines(statement) & names:
            for path, node, context in _walk(statement, (("body", index),), statement):
                for replacement in _replacements(node):
                    one = _described(tree, name, path, node, replacement, context)
                    alike[one.id] += 1
                    found.append(replace(one, nth=alike[one.id]))
    return found


def reached(tree: ast.Module, roots: set[str]) -> set[str]:
    """The module's own top-level names that ``roots`` use, directly or through each other, outside decorators and annotations."""
    bodies = defined(tree)
    todo, seen = [name for name in roots if name in bodies], set(roots) & set(bodies)
    while todo:
        for _, node, _ in _walk(bodies[todo.pop()], (), None):
            if isinstance(node, ast.Name) and node.id in bodies and node.id not in seen:
                seen.add(node.id)
                todo.append(node.id)
    return seen


def defined(tree: ast.Module) -> Mapping[str, ast.stmt]:
    """The module's own top-level names, each with the statement that defines it."""
    return {name: statement for statement in tree.body for name in _defines(statement)}


def _defines(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _walk(node: ast.AST, path: Path, context: ast.AST | None) -> Iterator[tuple[Path, ast.AST, ast.AST | None]]:
    """Every node that may be mutated, with its path, and the expression around it."""
    yield path, node, context
    skipped = {"decorator_list", "annotation", "returns", "type_comment", "ctx"}
    if isinstance(node, ast.Call) and _name(node.func) in {*FINDINGS, *ERRORS}:
        skipped |= {"args"}
    if isinstance(node, ast.Call) and _name(node.func) == "evidence":
        return
    if isinstance(node, ast.JoinedStr | ast.Assert) or (isinstance(node, ast.keyword) and node.arg == "remedy"):
        return
    for name, value in ast.iter_fields(node):
        if name in skipped:
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not _is_docstring(child):
                around = node if isinstance(node, ast.expr | ast.keyword) else child
                yield from _walk(child, (*path, (name, index)), around)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                for other in _COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for index in range(len(node.values)):
                rest = [*node.values[:index], *node.values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.If() | ast.IfExp():
            yield _with(node, test=_forced(node.test, True))
            yield _with(node, test=_forced(node.test, False))
        case ast.comprehension() if node.ifs:
            for index, test in enumerate(node.ifs):
                yield _with(node, ifs=[*node.ifs[:index], _forced(test, True), *node.ifs[index + 1 :]])
        case ast.Constant():
            yield from _other_constant(node.value)
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.Call():
            yield from _other_call(node)
        case ast.ExceptHandler():
            yield _with(node, body=[ast.Raise()])
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield ast.Return(value=ast.Constant(value=None))
        case ast.Return(value=ast.Constant(value="" | False | None)):
            pass  # Falling off the end returns None, which is as false.
        case ast.Return() | ast.Continue() | ast.Break() | ast.Raise() | ast.AugAssign() | ast.Expr():
            yield ast.Pass()


def _other_constant(value: object) -> Iterator[ast.Constant]:
    match value:
        case bool():
            yield ast.Constant(value=not value)
        case int() | float():
            yield ast.Constant(value=value + 1)
        case "":
            yield ast.Constant(value="mutated")
        case str() if " " not in value.strip():
            yield ast.Constant(value="")


def _other_call(node: ast.Call) -> Iterator[ast.AST]:
    name = _name(node.func)
    if name in FINDINGS:
        kept = [keyword for keyword in node.keywords if keyword.arg != "remedy"]
        yield _with(node, func=ast.Name(id=FINDINGS[name], ctx=ast.Load()), keywords=kept)
    elif name in _CALLS and isinstance(node.func, ast.Name):
        yield _with(node, func=ast.Name(id=_CALLS[name], ctx=ast.Load()))
    elif name in _CALLS and isinstance(node.func, ast.Attribute):
        yield _with(node, func=_with(node.func, attr=_CALLS[name]))
    elif name in _NORMALISERS and isinstance(node.func, ast.Attribute):
        yield node.func.value


def _forced(test: ast.expr, value: bool) -> ast.expr:
    """``test``, still evaluated for what it assigns, but always true or always false."""
    return ast.BoolOp(op=ast.Or() if value else ast.And(), values=[test, ast.Constant(value=value)])


def _with_at(root: Any, path: Path, replacement: ast.AST) -> Any:
    """A copy of ``root`` with another node at a path."""
    (name, index), *rest = path
    held = getattr(root, name)
    child = held if index is None else held[index]
    other = _with_at(child, tuple(rest), replacement) if rest else replacement
    return _with(root, **{name: other if index is None else [*held[:index], other, *held[index + 1 :]]})


def _with(node: ast.AST, **changes: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _described(
    tree: ast.Module, name: str, path: Path, node: ast.AST, replacement: ast.AST, context: ast.AST | None
) -> Mutant:
    before, after = node, replacement
    if isinstance(context, ast.expr | ast.keyword) and context is not node:
        # The expression around it says which constant it is.
        last = path[-1]
        before, after = context, copy.deepcopy(context)
        _put(after, (last,), replacement)
    return Mutant(
        function=name,
        line=getattr(node, "lineno", getattr(context, "lineno", 0)),
        before=_one_line(before),
        after="raise" if isinstance(after, ast.ExceptHandler) else _one_line(after),
        path=path,
        replacement=replacement,
    )


def _one_line(node: ast.AST) -> str:
    """The node's source without its messages; of a statement with a body its first line."""
    if isinstance(node, ast.comprehension):
        node = ast.Tuple(elts=node.ifs, ctx=ast.Load())
    text = ast.unparse(ast.fix_missing_locations(_Unworded().visit(copy.deepcopy(node))))
    return (
        text.strip().splitlines()[0].removeprefix("(").removesuffix(")")
        if text.startswith("(yield")
        else text.strip().splitlines()[0]
    )


class _Unworded(ast.NodeTransformer):
    """Messages as an ellipsis: what they say may change, and which mutant it is does not."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant(value="…")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(value="…") if isinstance(node.value, str) and " " in node.value.strip() else node


def _put(root: ast.AST, path: Path, replacement: ast.AST) -> None:
    for field_name, index in path[:-1]:
        root = getattr(root, field_name) if index is None else getattr(root, field_name)[index]
    field_name, index = path[-1]
    if index is None:
        setattr(root, field_name, replacement)
    else:
        getattr(root, field_name)[index] = replacement
