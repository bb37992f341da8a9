"""Records to JSON lines and back; what a run folder holds can be read by any tool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bakeoff.errors import DataError
from bakeoff.examples import fields
from bakeoff.types import Answer, Chunk, Citation, Evidence, Example, Hit, Message, Sentence, Step, Trial, Usage


def line(record: Trial | Example | Mapping[str, Any]) -> str:
    """One line of JSON in ASCII, so that no text - half an emoji, say - can break the file."""
    # `float` takes the numpy numbers that a user's own system may have put into its answer.
    if isinstance(record, Example):
        record = fields(record)
    return json.dumps(dict(record) if isinstance(record, Mapping) else asdict(record), default=float) + "\n"


def lines(records: Iterable[Trial | Example | Mapping[str, Any]]) -> str:
    """A whole JSONL file."""
    return "".join(line(record) for record in records)


def read(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSONL file, none where there is no file.

    A last line without its end was cut by a kill or a full disk, and does not count.
    Raises `DataError` for any other line that is not JSON.
    """
    if not path.is_file():
        return []
    rows = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows.append(json.loads(text))
        except ValueError as error:
            cure = "delete the line to have it made again"
            raise DataError(f"{path}:{number}: damaged, not JSON ({error}); {cure}") from error
    return rows


def trial(row: Mapping[str, Any]) -> Trial:
    """The inverse of `line` for a trial; raises `DataError` for what another version wrote."""
    try:
        return Trial(**{**row, "answer": answer(row["answer"])})
    except (KeyError, TypeError) as error:
        cure = "ask anew with `bakeoff compare --fresh`"
        raise DataError(f"an answer of {row.get('system')!r} was recorded by another version; {cure}") from error


def answer(row: Mapping[str, Any]) -> Answer:
    """The inverse of `dataclasses.asdict` for an answer."""
    values = {
        **row,
        "hits": tuple(Hit(Chunk(**hit["chunk"]), hit["score"], hit["scores"]) for hit in row["hits"]),
        "citations": tuple(Citation(**{**one, "chunk": Chunk(**one["chunk"])}) for one in row["citations"]),
        "usage": Usage(**row["usage"]),
        "sentences": tuple(Sentence(**{**one, "citations": tuple(one["citations"])}) for one in row["sentences"]),
        "notes": tuple(row["notes"]),
        "trace": tuple(Step(**{**step, "usage": Usage(**step["usage"])}) for step in row["trace"]),
    }
    return Answer(**values)


def example(row: Mapping[str, Any]) -> Example:
    """The inverse of `line` for an example."""
    evidence = tuple(Evidence(**item) for item in row["evidence"])
    messages = tuple(Message(**item) for item in row["messages"])
    several = {name: tuple(row.get(name, ())) for name in ("references", "facts")}
    return Example(**{**row, **several, "evidence": evidence, "messages": messages})
