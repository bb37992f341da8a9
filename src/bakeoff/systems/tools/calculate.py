"""calculate: arithmetic, and the days between two dates; what is written is walked through, never run."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from datetime import date

from bakeoff.systems.tools import Found, Refused, Shot, Tool

LONGEST = 200
LARGEST = 1e100
"""Of any number on the way: 9 ** 9 ** 9 has 370 million digits and would take hours."""
DAYS = "write dates as in days('2024-02-01', '2024-03-01')"

Number = int | float


def calculate() -> Tool:
    """Needs nothing: no name, attribute or call is looked up but those below."""
    about = "calculate[(17 + 4) * 0.5] works out numbers; also round, sqrt, sum, and days('2024-02-01', '2024-03-01')"
    shot = Shot("What do 3 tickets at 12.5 each cost?", "This is arithmetic.", "3 * 12.5", "3 * 12.5 = 37.5", "37.5")
    return Tool("calculate", about, lambda expression: Found(f"{expression} = {value(expression)}"), shot)


def value(expression: str) -> str:
    """The value as text; raises `Refused` with what is wrong."""
    if len(expression) > LONGEST:
        raise Refused(f"the expression has {len(expression)} characters; {LONGEST} at most")
    try:
        result = _walk(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError as error:
        raise Refused("division by zero") from error
    except (SyntaxError, ValueError) as error:
        raise Refused("this is not arithmetic; write numbers and + - * / // % **, as in (17 + 4) * 0.5") from error
    return str(result) if isinstance(result, int) else f"{result:.15g}"


def _walk(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _checked(number)
        case ast.UnaryOp(op=op, operand=inner) if type(op) in _SIGNS:
            return _SIGNS[type(op)](_walk(inner))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _apply(_OPERATORS[type(op)], _walk(left), _walk(right))
        case ast.Call(func=ast.Name(id="days"), args=[first, second], keywords=[]):
            return (_date(second) - _date(first)).days
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            return _apply(_FUNCTIONS[name], *map(_walk, arguments))
        case ast.Call(func=ast.Name(id="days")):
            raise Refused(DAYS)
        case ast.Tuple():
            raise Refused("write numbers without commas, as in 1234.5")
        case ast.BinOp(op=ast.BitXor()):
            raise Refused("^ is not known; write a power as 2 ** 3")
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            raise Refused(f"{name!r} cannot be worked out; write numbers, and {', '.join([*_FUNCTIONS, 'days'])}")
    raise Refused("only numbers, + - * / // % **, parentheses and a few functions can be worked out")


def _apply(function: Callable[..., Number], *arguments: Number) -> Number:
    try:
        return _checked(function(*arguments))
    except OverflowError as error:
        raise Refused(f"a number is larger than {LARGEST:g}") from error
    except ValueError as error:
        raise Refused("the result is not a real number") from error
    except TypeError as error:
        raise Refused("a function was given too few or too many numbers") from error


def _checked(number: Number) -> Number:
    if isinstance(number, complex):
        raise Refused("the result is not a real number")
    if not abs(number) <= LARGEST:  # also what is not a number at all
        raise Refused(f"a number is larger than {LARGEST:g}")
    return number


def _power(base: Number, exponent: Number) -> Number:
    # Judged before it is done: the size of an integer power is known from the logarithm.
    if abs(base) > 1 and exponent * math.log10(abs(base)) > math.log10(LARGEST):
        raise Refused(f"a number is larger than {LARGEST:g}")
    power: Number = base**exponent
    return power


def _round(number: Number, digits: Number = 0) -> Number:
    # round(1, -10 ** 9) would work out 10 ** 10 ** 9.
    places = int(min(max(digits, 0), 15))
    return round(number, places) if places else round(number)


def _date(node: ast.expr) -> date:
    try:
        return date.fromisoformat(ast.literal_eval(node))
    except (TypeError, ValueError) as error:
        raise Refused(DAYS) from error


_SIGNS: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "max": lambda *numbers: max(numbers),
    "min": lambda *numbers: min(numbers),
    "round": _round,
    "sqrt": math.sqrt,
    "sum": lambda *numbers: sum(numbers),
}
