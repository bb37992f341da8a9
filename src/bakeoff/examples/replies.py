"""The form a reply must have: a regular expression for the whole of it, or a JSON schema.

Of JSON Schema (draft 2020-12) this is what models are asked for; a keyword that is not checked here is refused when the
schema is read, rather than passed over. Nothing is fetched: a reference must point into the schema itself. A regular
expression has a time limit, for one that nests repeats can take longer than anyone lives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import combinations, starmap
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
    _check(given, given)

    def obeys(reply: str) -> bool:
        try:
            value = json.loads(reply, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return False
        return _holds(value, given, given)

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

NUMBER = (int, float)
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": NUMBER,
    "integer": NUMBER,
    "boolean": bool,
    "null": type(None),
}
ANNOTATIONS = frozenset(("title", "description", "default", "examples", "format", "$schema", "$id", "$comment"))
"""What asserts nothing; `format` neither, as the standard has it."""
RULES: dict[str, tuple[Any, Any, Callable[[Any, Any], bool]]] = {
    "enum": (object, list, lambda value, allowed: any(_same(value, one) for one in allowed)),
    "const": (object, object, lambda value, only: _same(value, only)),
    "required": (dict, list, lambda value, names: set(names) <= set(value)),
    "minItems": (list, int, lambda value, least: len(value) >= least),
    "maxItems": (list, int, lambda value, most: len(value) <= most),
    "uniqueItems": (list, bool, lambda value, wanted: not wanted or not any(starmap(_same, combinations(value, 2)))),
    "minLength": (str, int, lambda value, least: len(value) >= least),
    "maxLength": (str, int, lambda value, most: len(value) <= most),
    "pattern": (str, str, _found),
    "minimum": (NUMBER, NUMBER, lambda value, least: value >= least),
    "maximum": (NUMBER, NUMBER, lambda value, most: value <= most),
    "exclusiveMinimum": (NUMBER, NUMBER, lambda value, bound: value > bound),
    "exclusiveMaximum": (NUMBER, NUMBER, lambda value, bound: value < bound),
}
"""Keyword -> the values it speaks of, what must stand there, and whether a value keeps to it."""
SEVERAL: dict[str, Callable[[int, int], bool]] = {
    "anyOf": lambda kept, of: kept > 0,
    "allOf": lambda kept, of: kept == of,
    "oneOf": lambda kept, of: kept == 1,
}
_REFERENCE = regex.compile(r"#/(\$defs|definitions)/([^/]+)")
PLACES = ("$defs", "definitions")
"""Where schemas stand that are referred to."""
INSIDE = ("items", "additionalProperties")
KNOWN = frozenset(("type", "$ref", "properties", *INSIDE, *SEVERAL, *RULES))


def _holds(value: Json, schema: Json, root: Json) -> bool:
    if isinstance(schema, bool):
        return schema
    return all(_keeps(keyword, value, schema, root) for keyword in schema if keyword in KNOWN)


def _keeps(keyword: str, value: Json, schema: Mapping[str, Json], root: Json) -> bool:
    stated = schema[keyword]
    if keyword in RULES:
        about, _, rule = RULES[keyword]
        return not _is(value, about) or rule(value, stated)
    if keyword in SEVERAL:
        return SEVERAL[keyword](sum(_holds(value, one, root) for one in stated), len(stated))
    if keyword == "type":
        return any(_is_type(value, one) for one in ([stated] if isinstance(stated, str) else stated))
    if keyword == "$ref":
        return _holds(value, _target(stated, root), root)
    if keyword == "items":
        return not isinstance(value, list) or all(_holds(item, stated, root) for item in value)
    if not isinstance(value, dict):
        return True
    named = schema.get("properties", {})
    if keyword == "properties":
        return all(_holds(value[name], one, root) for name, one in named.items() if name in value)
    return all(_holds(item, stated, root) for name, item in value.items() if name not in named)


def _check(schema: Json, root: Json) -> None:
    """Raise `ValueError` for what would not be checked, or not be understood."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise ValueError(f"the JSON schema has {json.dumps(schema)[:40]} where a schema must stand; write an object")
    for keyword, stated in schema.items():
        if keyword not in (*KNOWN, *PLACES, *ANNOTATIONS):
            known = ", ".join(sorted(KNOWN))
            raise ValueError(f"the JSON schema has {keyword!r}, which is not checked here; known are {known}")
        parts = _parts(keyword, stated)
        if parts is None or (keyword in RULES and not _is(stated, RULES[keyword][1])):
            known = f"; known are {', '.join(TYPES)}" if keyword == "type" else ""
            raise ValueError(f"the JSON schema has {json.dumps(stated)[:40]} for {keyword!r}, which cannot be{known}")
        if keyword == "$ref":
            _target(stated, root)
        if keyword == "pattern":
            _compiled(stated)
        for part in parts:
            _check(part, root)


def _parts(keyword: str, stated: Json) -> list[Json] | None:
    """The schemas that stand under a keyword; None where it does not hold what it must."""
    if keyword in ("properties", *PLACES):
        return list(stated.values()) if isinstance(stated, dict) else None
    if keyword in SEVERAL:
        return stated if isinstance(stated, list) and stated else None
    if keyword in INSIDE:
        return [stated]
    if keyword == "type":
        listed = stated if isinstance(stated, list) else [stated]
        return [] if all(isinstance(one, str) and one in TYPES for one in listed) else None
    return []


def _target(reference: Json, root: Json) -> Json:
    """What `#/$defs/address` points to, or `#`, the whole."""
    if reference == "#":
        return root
    place = _REFERENCE.fullmatch(str(reference))
    if not place or place[2] not in root.get(place[1], {}):
        raise ValueError(
            f"the JSON schema refers to {reference!r}, which is not in it; nothing is fetched: write it under $defs, "
            "and refer to it as #/$defs/its-name"
        )
    return root[place[1]][place[2]]


def _is(value: Json, kind: Any) -> bool:
    """Whether it is of a Python type; true and false are no numbers in JSON."""
    return isinstance(value, kind) and (not isinstance(value, bool) or kind in (bool, object))


def _is_type(value: Json, name: str) -> bool:
    whole = name != "integer" or isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and _is(value, TYPES[name])


def _same(value: Json, other: Json) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
