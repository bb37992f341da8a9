"""Values of any SQL type in words that are the same each time."""

from __future__ import annotations

import json
from decimal import Decimal


def as_text(value: object) -> str:
    """For a reader: `true`, `12.50`, `2026-11-21 10:00:00+00`, `{"a": 1}`, `(2,048 bytes)`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=as_text)
    if isinstance(value, bytes):
        return _readable(value) or f"({len(value):,} bytes)"
    return str(value)


def as_key(value: object) -> str:
    """For an id: the same, but of bytes every one."""
    return value.hex() if isinstance(value, bytes) else as_text(value)


def _readable(value: bytes) -> str:
    """The text that is stored as bytes, or ""."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return ""
    return text if all(character.isprintable() or character.isspace() for character in text) else ""
