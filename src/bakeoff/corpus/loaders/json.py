"""JSON and JSON Lines: a line a record, each value with the path of its key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bakeoff.corpus.loaders import Loaded, Outline
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".json", ".jsonl", ".ndjson", ".geojson")
VERSION = 2


def load(path: Path) -> Loaded:
    """A list at the top, or a line each, gives records; an object gives a line for each of its values."""
    text = read(path)
    outline = Outline(path.stem)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        records = [(f"line {number}", _parsed(line, f"line {number}: ")) for number, line in lines]
    else:
        value = _parsed(text, "")
        entries = enumerate(value, start=1) if isinstance(value, list) else ()
        records = [(f"record {number}", record) for number, record in entries]
        if not isinstance(value, list):
            for key, leaf in _leaves(value, ""):
                outline.add(f"{key}: {leaf}" if key else leaf, key)
    for place, record in records:
        outline.add("; ".join(f"{key}: {leaf}" if key else leaf for key, leaf in _leaves(record, "")), place)
    return outline.loaded()


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}not JSON ({error.msg} in line {error.lineno}); mend it there") from error


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(`a.b`, text) of every value below; lists of plain values are one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from _leaves(inner, f"{path}[{number}]")
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(map(_plain, value))
    elif value not in (None, ""):
        yield path, _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
