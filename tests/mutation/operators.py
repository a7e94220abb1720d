"""The mutants of a module: single changes to its syntax tree, such as a `+` for a `-`, or a statement left out."""

import ast
import copy
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_NARROWER = {"float64": "float32", "int64": "int32", "int32": "int16", "intp": "int32"}
_SYMMETRIC = {"min", "max", "dot", "hypot", "minimum", "maximum", "not_equal"}
_MAKERS = {"zeros", "empty", "ones", "zeros_like", "empty_like"}


@dataclass(frozen=True)
class Mutant:
    """One change. `key` names it without line numbers, so that lists of mutants survive edits elsewhere."""

    module: str
    function: str
    line: int
    key: str
    number: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.key}"


def mutants(module: str, source: str, left_out: frozenset[str] = frozenset()) -> list[Mutant]:
    """All mutants of a module, but those of the functions and classes in `left_out`."""
    seen: Counter[str] = Counter()
    found = []
    for number, (function, node, after, _) in enumerate(_sites(ast.parse(source))):
        if any(function == one or function.startswith(f"{one}.") for one in left_out):
            continue
        before = textwrap.shorten(ast.unparse(node.statement).splitlines()[0], 90, placeholder="…")
        change = f"{ast.unparse(node.node).splitlines()[0]} → {after}"
        key = f"{function}: {before}  [{change}]"
        seen[key] += 1
        key += f" #{seen[key]}" if seen[key] > 1 else ""
        found.append(Mutant(module, function, node.node.lineno, key, number))
    return found


def mutated(source: str, number: int) -> ast.Module:
    """The syntax tree with one change."""
    tree = ast.parse(source)
    for one, (_, _, _, change) in enumerate(_sites(tree)):
        if one == number:
            change()
            return ast.fix_missing_locations(tree)
    raise IndexError(number)


@dataclass
class _Place:
    node: ast.AST
    statement: ast.stmt


def _sites(tree: ast.Module) -> Iterator[tuple[str, _Place, str, Callable[[], None]]]:
    """(function, place, text of the replacement, the change) of each mutant, in the order of the source."""
    yield from _below(tree, "module", tree.body[0])


def _below(parent: ast.AST, function: str, statement: ast.stmt) -> Iterator:
    if isinstance(parent, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Delete):
        return
    if isinstance(parent, ast.AnnAssign) and ast.unparse(parent.annotation) == "TypeAlias":
        return
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST):
                continue
            here, inside = function, statement
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                here = node.name if function == "module" else f"{function}.{node.name}"
            if isinstance(node, ast.stmt):
                inside = node
            for new in _alternatives(node):

                def change(new=new, parent=parent, field=field, index=index, value=value) -> None:
                    if isinstance(value, list):
                        value[index] = new
                    else:
                        setattr(parent, field, new)

                yield here, _Place(node, inside), ast.unparse(new).splitlines()[0], change
            yield from _below(node, here, inside)


def _with(node: ast.AST, **fields) -> ast.AST:
    """A copy of `node` with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _number(n: float) -> ast.expr:
    return ast.Constant(n) if n >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-n))


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    match node:
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            yield _with(node, left=right, right=left)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _BINARY:
            yield _with(node, op=_BINARY[type(op)]())
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.Compare(ops=[op]):
            yield _with(node, ops=[_COMPARE[type(op)]()])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from (_number(n) for n in dict.fromkeys((value + 1, value - 1, 0)) if n != value)
        case ast.Slice(lower=lower, upper=upper):
            if not isinstance(lower, ast.Constant):
                yield _with(node, lower=ast.BinOp(lower, ast.Add(), ast.Constant(1)) if lower else ast.Constant(1))
            if not isinstance(upper, ast.Constant):
                yield _with(node, upper=ast.BinOp(upper, ast.Sub(), ast.Constant(1)) if upper else _number(-1))
        case ast.Subscript(slice=ast.Tuple(elts=[first, second, *others]) as axes):
            yield _with(node, slice=_with(axes, elts=[second, first, *others]))
        case ast.Attribute(attr="T", value=value):
            yield value
        case ast.Attribute(attr=name) if name in _NARROWER:
            yield _with(node, attr=_NARROWER[name])
        case ast.Call():
            yield from _calls(node)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not _negated_itself(test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[test]):
            yield _with(node, ifs=[ast.UnaryOp(ast.Not(), test)])
    dropped = isinstance(node, ast.AugAssign | ast.Break | ast.Continue)
    dropped |= isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    dropped |= isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript | ast.Attribute)
    if dropped:
        yield ast.Pass()


def _negated_itself(test: ast.expr) -> bool:
    """Whether the mutants of the condition itself negate it."""
    opposite = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    return isinstance(test, ast.UnaryOp) or (isinstance(test, ast.Compare) and isinstance(test.ops[0], opposite))


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Attribute(attr="copy" | "astype", value=value):
            yield value
            return
        case ast.Attribute(attr="ascontiguousarray"):
            yield node.args[0]
            return
        case ast.Attribute(attr="einsum"):
            terms, _, result = node.args[0].value.partition("->")
            if len(result) > 1:
                text = f"{terms}->{result[:-2]}{result[-1]}{result[-2]}"
                yield _with(node, args=[ast.Constant(text), *node.args[1:]])
            return
        case ast.Attribute(attr=name) if name in _MAKERS and not any(k.arg == "dtype" for k in node.keywords):
            narrow = ast.Attribute(ast.Name("np", ast.Load()), "float32", ast.Load())
            yield _with(node, keywords=[*node.keywords, ast.keyword("dtype", narrow)])
    name = ast.unparse(node.func).split(".")[-1]
    if 2 <= len(node.args) <= 3 and name not in _SYMMETRIC and not any(isinstance(a, ast.Starred) for a in node.args):
        first, second, *others = node.args
        yield _with(node, args=[second, first, *others])
