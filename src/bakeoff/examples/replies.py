"""The form a reply must have: a regular expression for the whole of it, or a JSON schema.

Nothing is fetched: a reference must point into the schema itself. A regular expression has a time limit, for one that
nests repeats can take longer than anyone lives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import regex

SECONDS = 1.0
"""Of one regular expression on one reply; those that do not nest repeats take microseconds."""

Obeys = Callable[[str], bool]
Json = Any


@lru_cache(maxsize=256)
def form(stated: str) -> Obeys:
    """What tells whether a reply obeys; raises `ValueError` with what is wrong, and the cure."""
    if not stated.startswith("{"):
        return expression(stated)
    try:
        return schema(json.loads(stated))
    except RecursionError as error:
        raise ValueError(f"the JSON schema {stated[:40]!r} is nested too deeply; write it flatter") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{stated[:40]!r} is no JSON schema ({error}); if it is a regular expression, write \\{{ for {{"
        ) from error


def expression(pattern: str) -> Obeys:
    """Whether the whole reply matches."""
    compiled = _compiled(pattern)
    return lambda reply: _within_time(pattern, lambda: compiled.fullmatch(reply, timeout=SECONDS))


def schema(given: Json) -> Obeys:
    """Whether the reply is JSON of this form, and nothing else: no code fence, no word before it."""
    if not isinstance(given, dict):
        raise ValueError('a JSON schema is an object, as in {"type": "object", "required": ["total"]}')
    from referencing import Registry

    _check(given)
    validator = _draft()(given, registry=Registry())

    def obeys(reply: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(reply, parse_constant=_no_number)))
        except (ValueError, RecursionError):
            return False

    return obeys


# ---------------------------------------------------------------- regular expressions


def _compiled(pattern: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError) as error:
        raise ValueError(f"{pattern[:40]!r} is no regular expression ({error})") from error


def _within_time(pattern: str, match: Callable[[], object]) -> bool:
    try:
        return match() is not None
    except TimeoutError as error:
        raise TimeoutError(
            f"the regular expression {pattern[:40]!r} took more than {SECONDS:g} s on a reply; write it without a "
            "repeat inside a repeat"
        ) from error


def _found(text: str, pattern: str) -> bool:
    return _within_time(pattern, lambda: _compiled(pattern).search(text, timeout=SECONDS))


# ---------------------------------------------------------------- JSON schemas


@lru_cache(maxsize=1)
def _draft() -> Any:
    """JSON Schema 2020-12, but that patterns end in time and multiples are exact."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(validator: Any, stated: str, value: Json, _: Json) -> Iterator[ValidationError]:
        if validator.is_type(value, "string") and not _found(value, stated):
            yield ValidationError(f"{value!r} does not match {stated!r}")

    def multiple(validator: Any, stated: float, value: Json, _: Json) -> Iterator[ValidationError]:
        # As they are written: in binary, 19.99 is no multiple of .01.
        if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(stated)):
            yield ValidationError(f"{value!r} is not a multiple of {stated!r}")

    return extend(Draft202012Validator, {"pattern": pattern, "multipleOf": multiple})


def _check(schema: Mapping[str, Json]) -> None:
    """Raise `ValueError` for what is no schema, or would fetch something."""
    from jsonschema import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        _draft().check_schema(schema)
    except SchemaError as error:
        message = error.message.partition("\n")[0][:120]
        raise ValueError(f"the JSON schema is wrong at {error.json_path}: {message}") from error
    own = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for keyword, stated in _entries(schema):
        if keyword == "patternProperties":
            raise ValueError("the JSON schema has patternProperties, which has no time limit; name the properties")
        if keyword == "pattern" and isinstance(stated, str):
            _compiled(stated)
        if keyword == "$ref" and isinstance(stated, str):
            try:
                own.lookup(stated)
            except Unresolvable as error:
                raise ValueError(
                    f"the JSON schema refers to {stated!r}, which is not in it; nothing is fetched: write it under "
                    "$defs, and refer to it as #/$defs/its-name"
                ) from error


def _entries(value: Json) -> Iterator[tuple[str, Json]]:
    """Every key with what stands under it, at any depth."""
    if isinstance(value, dict):
        yield from value.items()
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _entries(one)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
