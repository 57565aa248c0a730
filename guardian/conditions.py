"""Conditions in text, `state.tests.passed and inputs.level in ["a", "b"]`, without any eval.

    cond = and {"or" and} ; and = not {"and" not} ; not = "not" not | cmp ;
    cmp = item [op item | "is" ["not"] "null"] ;
    op = "==" | "!=" | "<=" | ">=" | "<" | ">" | "in" | "not in" ;
    item = number | string | "true" | "false" | "null" | ref [".length"]
         | "[" [item {"," item}] "]" | "(" cond ")" ;
    ref = "{{…}}" | path

A last `.length` of a bare path counts items or characters; a key of that name is reached by
`{{state.x.length}}`. What is missing is an error unless it stands before `is`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from guardian.errors import (
    ConditionInvalid,
    ConditionMissing,
    ConditionTypeError,
    ReferenceInvalid,
)
from guardian.references import MISSING, Reference, parse_literal, parse_parts, parse_template

MOST_CHARACTERS = 500
MOST_NODES = 64
MOST_DEPTH = 16

_TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)"
    r"|(?P<string>\"(?:[^\"\\\x00-\x1f]|\\.)*\"|'(?:[^'\\\x00-\x1f]|\\.)*')"
    r"|(?P<template>\{\{)"
    r"|(?P<op>==|!=|<=|>=|<|>)"
    r"|(?P<mark>[\[\](),])"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_-]*)"
)
_LENGTH = re.compile(r"\.length(?![A-Za-z0-9_-])")
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
_CONSTANTS = {"true": True, "false": False, "null": None}
_NUMBERS = (int, float, Decimal)

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Token:
    """A word, sign, literal or reference, with its column (from 1)."""

    kind: str
    text: str
    column: int
    value: Any = None


# The tree


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class Lookup:
    reference: Reference
    length: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of two or more conditions."""

    word: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    op: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: "Node"
    negated: bool


Node = Literal | Lookup | Items | Not | Junction | Comparison | IsNull


# Reading


def parse(text: str, *, roots: frozenset[str] | None = None) -> Node:
    """The tree of a condition; with `roots`, references must begin with one of these names.

    Raises ConditionInvalid, whose data names the column.
    """
    if len(text) > MOST_CHARACTERS:
        raise _invalid(f"longer than {MOST_CHARACTERS} characters", MOST_CHARACTERS + 1)
    return _Parser(list(_tokens(text, roots)), len(text)).whole()


def _invalid(message: str, column: int) -> ConditionInvalid:
    return ConditionInvalid(f"column {column}: {message}", column=column)


def _tokens(text: str, roots: frozenset[str] | None) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _invalid(f"{text[at]!r} has no meaning here", at + 1)
        kind = found.lastgroup or ""
        if kind == "template":
            token, at = _template(text, at, roots)
        elif kind == "word" and found[0] not in _WORDS:
            token, at = _path(text, at, found, roots)
        else:
            token = Token(kind, found[0], at + 1, _literal(kind, found[0], at + 1))
            at = found.end()
        if kind != "blank":
            yield token


def _literal(kind: str, text: str, column: int) -> Any:
    if kind == "number":
        return parse_literal(text)
    if kind != "string":
        return None
    if text.startswith("'"):
        body = re.sub(r"\\.|\"", _double_quoted, text[1:-1])
        text = f'"{body}"'
    try:
        return parse_literal(text)
    except ValueError as error:
        raise _invalid("this text has an unknown escape", column) from error


def _double_quoted(found: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"'}.get(found[0], found[0])


def _template(text: str, at: int, roots: frozenset[str] | None) -> tuple[Token, int]:
    try:
        reference, end = parse_template(text, at, roots=roots)
    except ReferenceInvalid as error:
        raise ConditionInvalid(error.detail, column=error.data["column"]) from error
    length = _LENGTH.match(text, end)
    stop = length.end() if length else end
    return Token("ref", text[at:stop], at + 1, Lookup(reference, bool(length))), stop


def _path(
    text: str, at: int, found: re.Match[str], roots: frozenset[str] | None
) -> tuple[Token, int]:
    if roots is not None and found[0] not in roots:
        raise _invalid(f"{found[0]!r} is none of {', '.join(sorted(roots))}", at + 1)
    try:
        parts, end = parse_parts(text, found.end())
    except ReferenceInvalid as error:
        raise ConditionInvalid(error.detail, column=error.data["column"]) from error
    length = bool(parts) and parts[-1] == "length"
    reference = Reference(found[0], parts[:-1] if length else parts)
    return Token("ref", text[at:end], at + 1, Lookup(reference, length)), end


class _Parser:
    """Recursive descent; every node and level is counted, so no text can exhaust the stack."""

    def __init__(self, tokens: list[Token], end: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._nodes = 0
        self._depth = 0
        self._end = Token("end", "", end + 1)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else self._end

    def _take(self, *texts: str) -> Token | None:
        token = self._next
        if token.kind in {"op", "mark", "word"} and token.text in texts:
            self._at += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            raise _invalid(f"expected {text!r}, found {_shown(self._next)}", self._next.column)

    def _made(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _invalid(f"has more than {MOST_NODES} parts", self._next.column)
        return node

    def _deeper(self, read: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _invalid(f"is nested deeper than {MOST_DEPTH} levels", self._next.column)
        node = read()
        self._depth -= 1
        return node

    def whole(self) -> Node:
        node = self._or()
        if self._next is not self._end:
            raise _invalid(f"{_shown(self._next)} does not fit here", self._next.column)
        return node

    def _or(self) -> Node:
        return self._junction("or", lambda: self._junction("and", self._not))

    def _junction(self, word: str, read: Callable[[], Node]) -> Node:
        operands = [read()]
        while self._take(word):
            operands.append(read())
        return operands[0] if len(operands) == 1 else self._made(Junction(word, tuple(operands)))

    def _not(self) -> Node:
        if self._take("not"):
            return self._made(Not(self._deeper(self._not)))
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._item()
        if self._take("is"):
            negated = self._take("not") is not None
            self._expect("null")
            return self._made(IsNull(left, negated))
        op = self._operator()
        return left if op is None else self._made(Comparison(op, left, self._item()))

    def _operator(self) -> str | None:
        if token := self._take("==", "!=", "<=", ">=", "<", ">", "in"):
            return token.text
        if self._take("not"):
            self._expect("in")
            return "not in"
        return None

    def _item(self) -> Node:
        token = self._next
        if token.kind in {"number", "string"}:
            self._at += 1
            return self._made(Literal(token.value))
        if token.kind == "ref":
            self._at += 1
            return self._made(token.value)
        if constant := self._take("true", "false", "null"):
            return self._made(Literal(_CONSTANTS[constant.text]))
        if self._take("["):
            return self._deeper(self._list)
        if self._take("("):
            node = self._deeper(self._or)
            self._expect(")")
            return node
        raise _invalid(f"expected a value, found {_shown(token)}", token.column)

    def _list(self) -> Node:
        items: list[Node] = []
        while not self._take("]"):
            if items:
                self._expect(",")
            items.append(self._item())
        return self._made(Items(tuple(items)))


def _shown(token: Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)


# Answering


def references(node: Node) -> Iterator[Reference]:
    """Every reference of the tree, from left to right."""
    if isinstance(node, Lookup):
        yield node.reference
    for child in _children(node):
        yield from references(child)


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Items(items):
            return items
        case Junction(_, operands):
            return operands
        case Comparison(_, left, right):
            return (left, right)
        case Not(operand) | IsNull(operand, _):
            return (operand,)
    return ()


def evaluate(node: Node, scope: Scope) -> bool:
    """Whether the condition holds. Raises ConditionMissing, ConditionTypeError."""
    return truth(_value(node, scope))


def truth(value: Any) -> bool:
    """null, false, 0 and whatever is empty are false."""
    return bool(value)


def _value(node: Node, scope: Scope) -> Any:  # noqa: C901, PLR0911  one case per kind of node
    match node:
        case Literal(value):
            return value
        case Lookup():
            return _looked_up(node, scope)
        case Items(items):
            return [_value(item, scope) for item in items]
        case Not(operand):
            return not truth(_value(operand, scope))
        case Junction("and", operands):
            return all(truth(_value(operand, scope)) for operand in operands)
        case Junction(_, operands):
            return any(truth(_value(operand, scope)) for operand in operands)
        case IsNull(operand, negated):
            return (_value_or_null(operand, scope) is None) is not negated
        case Comparison(op, left, right):
            return _COMPARE[op](_value(left, scope), _value(right, scope))


def _value_or_null(node: Node, scope: Scope) -> Any:
    if isinstance(node, Lookup):
        found = node.reference.find(scope)
        if found is MISSING or found is None:
            return None
    return _value(node, scope)


def _looked_up(node: Lookup, scope: Scope) -> Any:
    value = node.reference.find(scope)
    if value is MISSING:
        path = node.reference.path
        raise ConditionMissing(f"{path} is not there.", reference=path)
    if not node.length:
        return value
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise ConditionTypeError(f"{node.reference.path} is {kind_of(value)} and has no length.")


def kind_of(value: Any) -> str:
    """What a value is called in messages and compared by."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, _NUMBERS):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "an object"
    return "a list"


def same(left: Any, right: Any) -> bool:
    """Equal and alike: 1 is 1.0, but neither true nor "1"."""
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    if kind == "a number":
        return bool(_exact(left) == _exact(right))
    if kind == "a list":
        return len(left) == len(right) and all(map(same, left, right))
    if kind == "an object":
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def _exact(number: Any) -> Any:
    """A float by the digits it is written with: 0.1 equals Decimal("0.1")."""
    return Decimal(repr(number)) if isinstance(number, float) else number


def _ordered(left: Any, right: Any, holds: Callable[[Any, Any], bool]) -> bool:
    if left is None or right is None:
        return False
    kinds = {kind_of(left), kind_of(right)}
    if kinds == {"a number"}:
        left, right = _exact(left), _exact(right)
        if not any(isinstance(side, Decimal) and side.is_nan() for side in (left, right)):
            return holds(left, right)
    elif kinds == {"a text"}:
        return holds(left, right)
    raise ConditionTypeError(f"{kind_of(left)} and {kind_of(right)} have no order.")


def _contained(needle: Any, hay: Any) -> bool:
    if hay is None:
        return False
    if isinstance(hay, str) and isinstance(needle, str):
        return needle in hay
    if isinstance(hay, Mapping) and isinstance(needle, str):
        return needle in hay
    if isinstance(hay, (list, tuple)):
        return any(same(needle, item) for item in hay)
    raise ConditionTypeError(f"{kind_of(needle)} cannot be in {kind_of(hay)}.")


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": lambda left, right: _ordered(left, right, lambda a, b: bool(a < b)),
    "<=": lambda left, right: _ordered(left, right, lambda a, b: bool(a <= b)),
    ">": lambda left, right: _ordered(left, right, lambda a, b: bool(a > b)),
    ">=": lambda left, right: _ordered(left, right, lambda a, b: bool(a >= b)),
    "in": _contained,
    "not in": lambda left, right: not _contained(left, right),
}
