"""A walk through a reference program in plain language, where a data set has no reasoning.

It says what the program does, in its order, not how one would come upon it: it teaches the form of
an answer more than thought.
"""

import ast
from collections.abc import Sequence

_CHANGES: dict[type[ast.operator], str] = {
    ast.Add: "add {value} to {target}",
    ast.Sub: "subtract {value} from {target}",
    ast.Mult: "multiply {target} by {value}",
    ast.Div: "divide {target} by {value}",
    ast.FloorDiv: "divide {target} by {value}, rounding down",
}
_CALLS = {
    "append": "append {value} to {owner}",
    "add": "add {value} to {owner}",
    "appendleft": "put {value} at the front of {owner}",
    "extend": "append all of {value} to {owner}",
    "remove": "remove {value} from {owner}",
    "insert": "insert {value} into {owner}",
    "update": "update {owner} with {value}",
}
_OPPOSITES: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(),
    ast.Lt: ast.GtE(),
    ast.GtE: ast.Lt(),
    ast.Gt: ast.LtE(),
    ast.LtE: ast.Gt(),
    ast.In: ast.NotIn(),
    ast.NotIn: ast.In(),
    ast.Is: ast.IsNot(),
    ast.IsNot: ast.Is(),
}
_BARE_CALLS = {
    "sort": "sort {owner} in place",
    "reverse": "reverse {owner} in place",
    "pop": "take the last item off {owner}",
    "clear": "empty {owner}",
}


def code_trace(code: str) -> str | None:
    """What each statement of a program does; None for text that is no Python, or does nothing.

    "Define remove_occ(s, ch). For each i in range(len(s)): if s[i] == ch, set s to
    s[0:i] + s[i + 1:] and stop. Return s."
    """
    try:
        tree = ast.parse(code)
        sentences = [sentence for one in tree.body for sentence in _sentences(one)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that ast may raise
        return None
    return " ".join(sentences) or None


def _sentences(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            return [_sentence(f"define {_signature(statement)}"), *_each(body)]
        case ast.ClassDef(name=name, bases=bases, body=body):
            of = f" as a kind of {_listed([_text(base) for base in bases])}" if bases else ""
            return [_sentence(f"define the class {name}{of}"), *_each(body)]
    phrase = _phrase(statement, 0)
    return [_sentence(phrase)] if phrase else []


def _each(body: Sequence[ast.stmt]) -> list[str]:
    return [sentence for one in body for sentence in _sentences(one)]


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


def _block(body: Sequence[ast.stmt], depth: int) -> str:
    """The statements of a block as one clause; numbered if they could be taken for others'."""
    reached = list(body)
    for place, one in enumerate(body):
        if isinstance(one, ast.Return | ast.Raise | ast.Break | ast.Continue):
            reached = list(body[: place + 1])
            break
    simple = len(reached) < 4 and not any(isinstance(one, _COMPOUND) for one in reached)
    numbered = not simple and len(reached) > 1
    phrases = [phrase for one in reached if (phrase := _phrase(one, depth + numbered))]
    if numbered:
        return "; ".join(
            f"({_NUMBERS[min(depth, 2)][place % 10]}) {phrase}"
            for place, phrase in enumerate(phrases)
        )
    return _listed(phrases or ["do nothing"])


_COMPOUND = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.FunctionDef)
_NUMBERS = (
    ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    list("abcdefghij"),
    ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"],
)


def _after(opening: str, block: str) -> str:
    """ "if x, return y", or "if x: (1) …" where what follows is a list."""
    return f"{opening}{':' if block.startswith('(') else ','} {block}"


def _listed(phrases: Sequence[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    comma = "," if len(phrases) > 2 or any("," in phrase for phrase in phrases) else ""
    return f"{', '.join(phrases[:-1])}{comma} and {phrases[-1]}"


def _phrase(statement: ast.stmt, depth: int) -> str:
    """One statement without capital and full stop; '' for one that does nothing."""
    match statement:
        case ast.Return(value=None):
            return "return"
        case ast.Return(value=ast.expr() as value):
            return f"return {_value(value)}"
        case ast.Assign(targets=[target], value=value):
            return _assignment(target, value)
        case ast.Assign(targets=targets, value=value):
            return f"set {_listed([_text(target) for target in targets])} to {_value(value)}"
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return f"set {_text(target)} to {_value(value)}"
        case ast.AugAssign(target=target, op=op, value=value):
            return _change(target, op, value)
        case ast.If():
            return _condition(statement, depth)
        case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
            after = f"; if that was not stopped, {_block(orelse, depth)}" if orelse else ""
            return f"for each {_bare(target)} in {_text(iterable)}: {_block(body, depth)}{after}"
        case ast.While(test=test, body=body):
            always = isinstance(test, ast.Constant) and bool(test.value)
            return f"{'repeat' if always else f'while {_text(test)}'}: {_block(body, depth)}"
        case ast.Expr(value=value):
            return _action(value)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return _imported(statement, [name.name for name in names])
        case ast.FunctionDef(body=body):
            return f"define {_signature(statement)}: {_block(body, depth)}"
        case ast.Try(body=body, handlers=handlers):
            caught = [_after(f"on {_caught(one)}", _block(one.body, depth)) for one in handlers]
            return "; ".join([f"try this: {_block(body, depth)}", *caught])
        case ast.With(items=items, body=body):
            return f"with {_listed([_text(item) for item in items])}: {_block(body, depth)}"
        case ast.Raise(exc=ast.expr() as raised):
            return f"raise {_text(raised)}"
        case ast.Assert(test=test):
            return f"require that {_text(test)}"
        case ast.Delete(targets=targets):
            return f"delete {_listed([_text(target) for target in targets])}"
        case ast.Break():
            return "stop"
        case ast.Continue():
            return "go on with the next"
        case ast.Pass() | ast.Global() | ast.Nonlocal() | ast.AnnAssign():
            return ""
    return f"run {_text(statement)}"


def _condition(statement: ast.If, depth: int) -> str:
    test = _text(statement.test)
    match statement.body, statement.orelse:
        case [ast.Return(ast.Constant(True))], [ast.Return(ast.Constant(False))]:
            return f"return whether {test}"
    then = _after(f"if {test}", _block(statement.body, depth))
    if not statement.orelse:
        return then
    if any(isinstance(one, _COMPOUND) for one in statement.body):
        # An "otherwise" here could be taken for that of an inner condition.
        other = _after(f"but if {_negated(statement.test)}", _block(statement.orelse, depth))
    elif len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If):
        other = f"else {_phrase(statement.orelse[0], depth)}"
    else:
        other = _after("otherwise", _block(statement.orelse, depth))
    return f"{then}; {other}"


def _negated(test: ast.expr) -> str:
    match test:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPPOSITES:
            return _text(ast.Compare(left, [_OPPOSITES[type(op)]], [right]))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _text(operand)
    return _text(ast.UnaryOp(ast.Not(), test))


def _assignment(target: ast.expr, value: ast.expr) -> str:
    match target, value:
        case ast.Tuple(elts=[one, other]), ast.Tuple(elts=[first, second]) if _text(one) == _text(
            second
        ) and _text(other) == _text(first):
            return f"swap {_text(one)} and {_text(other)}"
        case ast.Name(), ast.BinOp(left=ast.Name() as left, op=ast.Add() | ast.Sub() as op) if (
            _text(target) == _text(left)
        ):
            return _change(target, op, value.right)
    return f"set {_bare(target)} to {_value(value)}"


def _change(target: ast.expr, op: ast.operator, value: ast.expr) -> str:
    if type(op) in _CHANGES:
        return _CHANGES[type(op)].format(value=_text(value), target=_text(target))
    return f"set {_text(target)} to {_text(ast.BinOp(target, op, value))}"


def _action(value: ast.expr) -> str:
    match value:
        case ast.Constant():  # a docstring
            return ""
        case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=[], keywords=[]) if (
            attr in _BARE_CALLS
        ):
            return _BARE_CALLS[attr].format(owner=_text(owner))
        case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=[_, *_] as args) if (
            attr in _CALLS
        ):
            given = ", ".join(map(_text, args))
            return _CALLS[attr].format(owner=_text(owner), value=given)
        case ast.Call(func=ast.Name(id="print"), args=args):
            return f"print {', '.join(map(_text, args))}".rstrip()
        case ast.Yield(value=ast.expr() as given):
            return f"yield {_text(given)}"
    return f"call {_text(value)}" if isinstance(value, ast.Call) else f"evaluate {_text(value)}"


def _value(value: ast.expr) -> str:
    """An expression; comprehensions of one loop in words."""
    match value:
        case ast.ListComp(elt=elt, generators=[loop]):
            return f"the list of {_text(elt)} {_loop(loop)}"
        case ast.SetComp(elt=elt, generators=[loop]):
            return f"the set of {_text(elt)} {_loop(loop)}"
        case ast.DictComp(key=key, value=item, generators=[loop]):
            return f"the dictionary of {_text(key)}: {_text(item)} {_loop(loop)}"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return f"{_value(body)} if {_text(test)}, otherwise {_value(orelse)}"
    return _text(value)


def _loop(loop: ast.comprehension) -> str:
    where = " and ".join(_text(test) for test in loop.ifs)
    return f"for each {_bare(loop.target)} in {_text(loop.iter)}" + f" where {where}" * bool(where)


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return f"{function.name}({ast.unparse(function.args)})"


def _caught(handler: ast.ExceptHandler) -> str:
    return _text(handler.type) if handler.type else "an error"


def _imported(statement: ast.Import | ast.ImportFrom, names: list[str]) -> str:
    module = f" from {statement.module}" if isinstance(statement, ast.ImportFrom) else ""
    chosen = "everything" if names == ["*"] else _listed(names)
    return f"import {chosen}{module}"


def _bare(target: ast.expr) -> str:
    """i, j rather than (i, j)."""
    return ", ".join(map(_text, target.elts)) if isinstance(target, ast.Tuple) else _text(target)


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
