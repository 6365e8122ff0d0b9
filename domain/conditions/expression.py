"""Conditions in the language of expr-lang (the one that Argo Rollouts uses), parsed by a grammar of its own.

What the grammar does not have cannot be reached: there is no attribute, no import, no call of anything but
`functions`. Left out, and refused with its place when a condition is read: map literals, ranges, `matches`,
`let`, pipes and methods. Precedence is expr-lang's (`!a == b` negates a alone).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from lark import Lark, Token, Tree, UnexpectedInput
from lark.visitors import Interpreter

from domain.conditions.functions import (
    FUNCTIONS,
    PREDICATES,
    ConditionError,
    Value,
    arithmetic,
    contained,
    equal,
    ordered,
    type_name,
)
from domain.errors import InvalidInput

LONGEST = 2000  # characters
DEEPEST = 60  # levels of nesting
RESULT: Final = "result"

_GRAMMAR: Final = r"""
    ?start: choice
    ?choice: either
           | either "?" choice ":" choice -> ternary
           | either "?:" choice -> elvis
    ?either: both
           | either ("||" | "or") both -> or_
    ?both: comparison
         | both ("&&" | "and") comparison -> and_
    ?comparison: sum
               | comparison COMPARE sum -> compare
               | comparison "in" sum -> in_
               | comparison "not" "in" sum -> not_in
               | comparison TEXTUAL sum -> textual
    ?sum: negation
        | sum SIGN negation -> arithmetic
    ?negation: product
             | ("!" | "not") negation -> not_
    ?product: signed
            | product FACTOR signed -> arithmetic
    ?signed: power
           | SIGN signed -> sign
    ?power: fallback
          | fallback POWER signed -> arithmetic
    ?fallback: postfix
             | fallback "??" postfix -> coalesce
    ?postfix: atom
            | postfix "." NAME -> member
            | postfix "?." NAME -> optional_member
            | postfix "[" choice "]" -> index
            | postfix "[" [choice] ":" [choice] "]" -> slice
    ?atom: NUMBER -> number
         | STRING -> string
         | "true" -> true
         | "false" -> false
         | "nil" -> nil
         | NAME -> name
         | "#" -> item
         | "." NAME -> item_member
         | "[" [choice ("," choice)* [","]] "]" -> list
         | NAME "(" [argument ("," argument)* [","]] ")" -> call
         | "(" choice ")"
    ?argument: choice
             | "{" choice "}"
    COMPARE: "==" | "!=" | "<=" | ">=" | "<" | ">"
    TEXTUAL: "contains" | "startsWith" | "endsWith"
    SIGN: "+" | "-"
    FACTOR: "*" | "/" | "%"
    POWER: "**" | "^"
    NAME: /[A-Za-z_$][A-Za-z0-9_$]*/
    NUMBER: /(\d[\d_]*(\.\d+)?|\.\d+)([eE][+-]?\d+)?/
    STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`/
    %ignore /\s+/
"""


class Expression:
    """A condition that was read: its text, and what it can be asked."""

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            InvalidInput: it is not of the language, with the place and what was found there.
        """
        self.text = text
        self._tree = _parsed(text)

    def unknown(self) -> tuple[str, ...]:
        """The names and functions that it uses and nobody knows."""
        found = dict.fromkeys(_unknown_names(self._tree))
        return tuple(found)

    def asks(self, *what: str) -> bool:
        """Whether it calls one of these functions, or has one of these constructs (nil, coalesce)."""
        called = [str(call.children[0]) for call in self._tree.find_data("call")]
        return any(name in what for name in called) or any(
            node.data in what for node in self._tree.iter_subtrees()
        )

    def holds(self, result: Value) -> bool:
        """Whether the condition holds on a result.

        Raises:
            ConditionError: it cannot be evaluated, or gives something other than true or false.
        """
        value = _Evaluation(result).visit(self._tree)
        if not isinstance(value, bool):
            raise ConditionError(f"expected true or false, got {type_name(value)}")
        return value


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=True)


@lru_cache(maxsize=512)
def _parsed(text: str) -> Tree[Token]:
    if len(text) > LONGEST:
        raise InvalidInput(f"a condition may have {LONGEST} characters, this has {len(text)}")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise InvalidInput(f"not understood at character {error.column}: {_place(text, error)}") from error
    if _depth(tree) > DEEPEST:
        raise InvalidInput(f"nested deeper than {DEEPEST} levels")
    _check_calls(tree)
    return tree


def _place(text: str, error: UnexpectedInput) -> str:
    position = error.pos_in_stream
    return repr(text[position : position + 20]) if position is not None else "it ends too early"


def _depth(tree: Tree[Token]) -> int:
    deepest = 0
    levels: list[tuple[Tree[Token], int]] = [(tree, 1)]
    while levels:
        node, depth = levels.pop()
        deepest = max(deepest, depth)
        levels += [(child, depth + 1) for child in node.children if isinstance(child, Tree)]
    return deepest


def _check_calls(tree: Tree[Token]) -> None:
    for call in tree.find_data("call"):
        name, count = str(call.children[0]), len(_arguments(call))
        if name in PREDICATES and count != 2:
            raise InvalidInput(f"{name} takes a list and an expression over its elements")
        if name in FUNCTIONS:
            _, least, most = FUNCTIONS[name]
            if not least <= count <= most:
                raise InvalidInput(f"{name} does not take {count} arguments")


def _arguments(call: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in call.children[1:] if isinstance(child, Tree)]


def _unknown_names(tree: Tree[Token]) -> Iterator[str]:
    for name in tree.find_data("name"):
        if str(name.children[0]) != RESULT:
            yield str(name.children[0])
    for call in tree.find_data("call"):
        if str(call.children[0]) not in FUNCTIONS and str(call.children[0]) not in PREDICATES:
            yield f"{call.children[0]}()"


class _Evaluation(Interpreter[Token, Any]):
    """One walk over a tree. `_items` holds the elements that enclosing predicates are at."""

    def __init__(self, result: Value) -> None:
        super().__init__()
        self._result = result
        self._items: list[Value] = []

    def ternary(self, tree: Tree[Token]) -> Value:
        return self._at(tree, 1 if self._bool(tree, 0) else 2)

    def elvis(self, tree: Tree[Token]) -> Value:
        value = self._at(tree, 0)
        return value if value else self._at(tree, 1)

    def or_(self, tree: Tree[Token]) -> bool:
        return self._bool(tree, 0) or self._bool(tree, 1)

    def and_(self, tree: Tree[Token]) -> bool:
        return self._bool(tree, 0) and self._bool(tree, 1)

    def not_(self, tree: Tree[Token]) -> bool:
        return not self._bool(tree, 0)

    def compare(self, tree: Tree[Token]) -> bool:
        left, symbol, right = self._at(tree, 0), str(tree.children[1]), self._at(tree, 2)
        if symbol in {"==", "!="}:
            return equal(left, right) is (symbol == "==")
        return ordered(symbol, left, right)

    def in_(self, tree: Tree[Token]) -> bool:
        return contained(self._at(tree, 0), self._at(tree, 1))

    def not_in(self, tree: Tree[Token]) -> bool:
        return not contained(self._at(tree, 0), self._at(tree, 1))

    def textual(self, tree: Tree[Token]) -> bool:
        left, test, right = self._at(tree, 0), str(tree.children[1]), self._at(tree, 2)
        if not isinstance(left, str) or not isinstance(right, str):
            raise ConditionError(f"{test} of {type_name(left)} and {type_name(right)}")
        tests = {"contains": right in left, "startsWith": left.startswith(right)}
        return tests.get(test, left.endswith(right))

    def arithmetic(self, tree: Tree[Token]) -> Value:
        return arithmetic(str(tree.children[1]), self._at(tree, 0), self._at(tree, 2))

    def sign(self, tree: Tree[Token]) -> Value:
        return arithmetic(str(tree.children[0]), 0, self._at(tree, 1))

    def coalesce(self, tree: Tree[Token]) -> Value:
        value = self._at(tree, 0)
        return self._at(tree, 1) if value is None else value

    def member(self, tree: Tree[Token]) -> Value:
        return _member(self._at(tree, 0), str(tree.children[1]))

    def optional_member(self, tree: Tree[Token]) -> Value:
        value = self._at(tree, 0)
        return None if value is None else _member(value, str(tree.children[1]))

    def index(self, tree: Tree[Token]) -> Value:
        container, key = self._at(tree, 0), self._at(tree, 1)
        if isinstance(container, dict) and isinstance(key, str):
            return container.get(key)
        if container is None or (isinstance(container, list | str) and not container):
            raise ConditionError("metric result is nil or empty")
        if not isinstance(container, list | str) or not isinstance(key, int) or isinstance(key, bool):
            raise ConditionError(f"{type_name(container)}[{type_name(key)}]")
        if not -len(container) <= key < len(container):
            raise ConditionError(f"index {key} is out of range, there are {len(container)}")
        return container[key]

    def slice(self, tree: Tree[Token]) -> Value:
        container = self._at(tree, 0)
        ends = [self._at(tree, place) if tree.children[place] is not None else None for place in (1, 2)]
        if not isinstance(container, list | str) or any(
            end is not None and not isinstance(end, int) for end in ends
        ):
            raise ConditionError(f"a slice of {type_name(container)}")
        return container[ends[0] : ends[1]]

    def number(self, tree: Tree[Token]) -> float:
        text = str(tree.children[0]).replace("_", "")
        return int(text) if text.isdigit() else float(text)

    def string(self, tree: Tree[Token]) -> str:
        text = str(tree.children[0])
        return text[1:-1] if text[0] == "`" else _unescaped(text[1:-1])

    def true(self, _tree: Tree[Token]) -> bool:
        return True

    def false(self, _tree: Tree[Token]) -> bool:
        return False

    def nil(self, _tree: Tree[Token]) -> None:
        return None

    def name(self, tree: Tree[Token]) -> Value:
        if str(tree.children[0]) != RESULT:
            raise ConditionError(f"unknown name {tree.children[0]}")
        return self._result

    def item(self, _tree: Tree[Token]) -> Value:
        if not self._items:
            raise ConditionError("# outside of a predicate")
        return self._items[-1]

    def item_member(self, tree: Tree[Token]) -> Value:
        return _member(self.item(tree), str(tree.children[0]))

    def list(self, tree: Tree[Token]) -> Value:
        return [self.visit(child) for child in tree.children if isinstance(child, Tree)]

    def call(self, tree: Tree[Token]) -> Value:
        name, arguments = str(tree.children[0]), _arguments(tree)
        if name in PREDICATES:
            items = self.visit(arguments[0])
            if not isinstance(items, list):
                raise ConditionError(f"{name} over {type_name(items)}, not a list")
            return PREDICATES[name](items, lambda item: self._with_item(item, arguments[1]))
        if name not in FUNCTIONS:
            raise ConditionError(f"unknown name {name}")
        return FUNCTIONS[name][0](*map(self.visit, arguments))

    def _with_item(self, item: Value, predicate: Tree[Token]) -> Value:
        self._items.append(item)
        try:
            return self.visit(predicate)
        finally:
            self._items.pop()

    def _at(self, tree: Tree[Token], place: int) -> Value:
        child = tree.children[place]
        if not isinstance(child, Tree):
            raise ConditionError(f"{child} is no value")
        return self.visit(child)

    def _bool(self, tree: Tree[Token], place: int) -> bool:
        value = self._at(tree, place)
        if not isinstance(value, bool):
            raise ConditionError(f"true or false is needed, not {type_name(value)}")
        return value


def _member(value: Value, name: str) -> Value:
    if isinstance(value, dict):
        return value.get(name)
    raise ConditionError(f"{type_name(value)} has no {name}")


def _unescaped(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    parts, rest = [], iter(text)
    for character in rest:
        if character == "\\":
            following = next(rest)
            parts.append(escapes.get(following, following))
        else:
            parts.append(character)
    return "".join(parts)
