"""What a row is, judged by its columns, and how it becomes an example.

Besides the formats that trainers have made common there is ours: `question` and, as far as known, `references` (a list;
or `answer`, one string), `evidence` ([{document, quote}] or [{document, start, end}]), `group`, `kind`, `label`,
`rejected`, `messages`, `answerable`, `facts` (a list), `format` (a regular expression, or a JSON schema), `split` and
`id`. Of these, `group`, `kind`, `split` and `id` may stand in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from bakeoff.errors import DataError
from bakeoff.examples import replies
from bakeoff.examples.files import PARTS, SAMPLE, TABLES, Row
from bakeoff.types import Evidence, Example, Message

__all__ = ["SAMPLE", "Format", "recognise"]

FIELDS = (
    "id",
    "question",
    "references",
    "answer",
    "evidence",
    "rejected",
    "label",
    "messages",
    "group",
    "kind",
    "answerable",
    "split",
    "facts",
    "format",
)
SHARED = ("id", "group", "kind", "split")
ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}
"""ShareGPT's words for them, too."""
BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}

Turns = tuple[Message, ...]
Convert = Callable[[Row], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of row."""

    name: str
    needs: tuple[str, ...]
    """Columns by which it is known, and which all of its rows must have."""
    also: tuple[str, ...]
    """Columns that it reads where they are."""
    how: str
    convert: Convert
    """Row -> fields of `Example`."""

    @property
    def columns(self) -> set[str]:
        return {*self.needs, *self.also, *SHARED}

    def example(self, row: Row) -> Example:
        """Raises `DataError` naming the place, what is missing, and the cure."""
        missing = [column for column in self.needs if column not in row.values]
        if missing and self.name != QUESTIONS:
            other = _fitting(row)
            mixed = f"it looks like {other.name}; keep one format a file" if other else f"add {missing[0]!r}"
            raise DataError(f"{row.where}: no {missing[0]!r}, and the first row was read as {self.name}: {mixed}")
        split = row.part or str(row.values.get("split") or "")
        if split not in ("", *PARTS.values()):
            raise DataError(f"{row.where}: split {split!r}; write train, valid, test, or leave it out")
        id = row.values.get("id")
        name = f"q{row.number:05d}" if id in (None, "") else str(id)
        return Example(
            **{
                "id": f"{row.part}-{name}" if row.part and id in (None, "") else name,
                "group": _text(row, "group"),
                "kind": _text(row, "kind"),
                "split": split,
                **self.convert(row),
            }
        )


def recognise(row: Row) -> Format:
    """The format of a file by its first row; raises `DataError` for columns that are none."""
    found = _fitting(row)
    if found is None:
        known = "; ".join(" + ".join(format.needs) for format in FORMATS)
        for column in map(str, row.values):
            names = {name for format in FORMATS for name in format.needs}
            close = get_close_matches(column, names - set(row.values), n=1)
            if close and not any(column in format.columns for format in FORMATS):
                raise DataError(f"{row.where}: unknown column {column!r}: did you mean {close[0]!r}?")
        columns = ", ".join(map(str, row.values)) or "none"
        raise DataError(f"{row.where}: unknown format with the columns {columns}; rename them to one of: {known}")
    return found


def _fitting(row: Row) -> Format | None:
    return next((format for format in FORMATS if _fits(format, row.values)), None)


def _fits(format: Format, values: Mapping[str, Any]) -> bool:
    if not set(format.needs) <= set(values):
        return False
    # prompt, completion and label is KTO's only where the label is yes or no.
    return format.name != KTO or str(values["label"]).lower() in BOOLEANS


# ---------------------------------------------------------------- conversions


def _question(row: Row) -> dict[str, Any]:
    values, where = row.values, row.where
    unknown = sorted(set(values) - set(FIELDS), key=str)
    if unknown:
        raise DataError(f"{where}: unknown column {unknown[0]!r}; known are {', '.join(FIELDS)}")
    turns = _turns(row, "messages", "user") if values.get("messages") else ()
    question = values.get("question") or next((turn.content for turn in turns if turn.role == "user"), "")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: no 'question'; write {SAMPLE}")
    return {"question": question.strip(), "messages": turns, **_known(row)}


def _known(row: Row) -> dict[str, Any]:
    """The columns of ours that say what is right."""
    values = row.values
    given = values.get("references", values.get("answer", []))
    references = _several(row, given) if isinstance(given, str) else given
    if not isinstance(references, list) or not all(isinstance(reference, str) for reference in references):
        raise DataError(f"{row.where}: 'references' must be a string or a list of strings")
    found = {
        "references": tuple(reference for reference in references if reference.strip()),
        "evidence": tuple(_evidence(row.where, item) for item in _list(row, "evidence")),
        "rejected": _text(row, "rejected"),
        "label": _text(row, "label"),
        "facts": _facts(row),
        "format": _format(row),
    }
    answerable = str(values.get("answerable", True)).lower() not in ("false", "0", "no")
    return {**{name: value for name, value in found.items() if value}, "answerable": answerable}


def _several(row: Row, given: str) -> list[Any]:
    """One reference, but where a cell of a table holds a list of texts as JSON: it can hold none otherwise."""
    if not (given.startswith("[") and row.file.lower().endswith(TABLES)):
        return [given]
    try:
        held = json.loads(given)
    except (ValueError, RecursionError):
        return [given]
    return held if all(isinstance(one, str) for one in held) else [given]


def _instruction(row: Row, given: str, output: str) -> dict[str, Any]:
    return _asked(_instructed(row, given), _text(row, output).strip())


def _instructed(row: Row, given: str) -> Turns:
    asked = "\n\n".join(filter(None, (_text(row, "instruction").strip(), _text(row, given).strip())))
    system = (Message("system", row.values["system"]),) if row.values.get("system") else ()
    return (*system, Message("user", asked))


def _alpaca(row: Row) -> dict[str, Any]:
    return _instruction(row, "input", "output")


def _dolly(row: Row) -> dict[str, Any]:
    return _instruction(row, "context", "response")


def _chat(row: Row) -> dict[str, Any]:
    return {**_conversation(row, _turns(row, "messages", "user")), **_known(row)}


def _sharegpt(row: Row) -> dict[str, Any]:
    system = (Message("system", row.values["system"]),) if row.values.get("system") else ()
    return _conversation(row, (*system, *_turns(row, "conversations", "user")))


def _conversation(row: Row, turns: Turns) -> dict[str, Any]:
    """A single question and its reply are also a question with a reference, so that they can be scored."""
    if len(turns) > 1 and turns[-1].role == "assistant" and sum(turn.role == "user" for turn in turns) == 1:
        return _asked(turns[:-1], turns[-1].content.strip())
    asked = next((turn.content for turn in turns if turn.role == "user"), "")
    return {"question": asked.strip(), "messages": turns}


def _completion(row: Row, reply: str = "completion") -> dict[str, Any]:
    turns = _turns(row, "prompt", "user"), _turns(row, reply, "assistant")
    return _replied(row, *turns)


def _response(row: Row) -> dict[str, Any]:
    return _completion(row, "response")


def _preference(row: Row) -> dict[str, Any]:
    chosen, rejected = (_turns(row, column, "assistant") for column in ("chosen", "rejected"))
    prompt = _turns(row, "prompt", "user") if row.values.get("prompt") else chosen[:-1]
    if row.values.get("instruction") and not prompt:
        prompt = _instructed(row, "input")
    if len(chosen) > 1 and chosen[: len(prompt)] != prompt and chosen[: len(prompt)] != prompt[1:]:
        raise DataError(f"{row.where}: 'chosen' does not begin with the prompt; write only the replies")
    if rejected[:-1] not in (chosen[:-1], ()) and chosen[:-1]:
        raise DataError(f"{row.where}: 'chosen' and 'rejected' part before their last reply; cut them there")
    if not prompt:
        raise DataError(f"{row.where}: no 'prompt', and the replies do not hold it; add a column 'prompt'")
    return {**_asked(prompt, chosen[-1].content.strip()), "rejected": rejected[-1].content.strip()}


def _kto(row: Row) -> dict[str, Any]:
    found = _completion(row)
    if BOOLEANS[str(row.values["label"]).lower()]:
        return found
    return {**found, "references": (), "messages": found["messages"][:-1], "rejected": "".join(found["references"])}


def _classified(row: Row, column: str) -> dict[str, Any]:
    return {"question": _text(row, column).strip(), "label": _text(row, "label")}


def _labelled(row: Row) -> dict[str, Any]:
    return _classified(row, "text")


def _sentence(row: Row) -> dict[str, Any]:
    return _classified(row, "sentence")


def _raw(row: Row) -> dict[str, Any]:
    return {"question": "", "text": _text(row, "text")}


def _replied(row: Row, prompt: Turns, reply: Turns) -> dict[str, Any]:
    if len(reply) == 1:
        return _asked(prompt, reply[0].content.strip())
    return _conversation(row, (*prompt, *reply))


def _asked(prompt: Turns, answer: str) -> dict[str, Any]:
    """Question and reference; a prompt of more than a question keeps its turns."""
    asked = next((turn.content for turn in reversed(prompt) if turn.role == "user"), "")
    alone = len(prompt) == 1 and prompt[0].role == "user"
    return {
        "question": asked.strip(),
        "references": (answer,) if answer else (),
        "messages": () if alone else (*prompt, Message("assistant", answer)),
    }


# ---------------------------------------------------------------- cells


def _text(row: Row, column: str) -> str:
    """A cell as text, numbers as they are written; raises `DataError` for anything but a plain value."""
    value = row.values.get(column)
    if isinstance(value, dict | list):
        raise DataError(f"{row.where}: {column!r} is a {type(value).__name__}; write it as text")
    return "" if value is None else str(value)


def _list(row: Row, column: str) -> Sequence[Any]:
    value = row.values.get(column) or []
    if isinstance(value, str):  # a CSV cell
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{row.where}: {column!r} must be a JSON list") from error
    if not isinstance(value, list):
        raise DataError(f"{row.where}: {column!r} must be a list")
    return value


def _turns(row: Row, column: str, role: Literal["user", "assistant"]) -> Turns:
    """A list of messages, or a text that `role` says."""
    value = row.values.get(column)
    listed = isinstance(value, list) or column in ("messages", "conversations") or str(value).startswith('[{"')
    if not listed:
        return (Message(role, _text(row, column)),)
    turns = tuple(_message(row, item) for item in _list(row, column))
    if not turns:
        raise DataError(f"{row.where}: {column!r} is empty; fill it, or remove the row")
    return turns


def _message(row: Row, item: Any) -> Message:
    said = item if isinstance(item, dict) else {}
    role, content = said.get("role", said.get("from")), said.get("content", said.get("value"))
    if role not in ROLES or not isinstance(content, str):
        raise DataError(
            f"{row.where}: a message needs a role (system, user or assistant) and content as text, not {str(item)[:60]}"
        )
    return Message(ROLES[role], content)


def _evidence(where: str, item: Any) -> Evidence:
    if not isinstance(item, dict) or "document" not in item or not ("quote" in item or {"start", "end"} <= set(item)):
        raise DataError(f'{where}: evidence needs a document and a quote: {{"document": "a.md", "quote": "..."}}')
    ends = [-1 if item.get(name) is None else item[name] for name in ("start", "end")]
    try:
        start, end = map(int, ends)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: 'start' and 'end' of evidence are whole numbers; {ends} are not") from error
    return Evidence(str(item["document"]), start, end, str(item.get("quote", "")))


def _facts(row: Row) -> tuple[str, ...]:
    try:
        facts = _list(row, "facts")
    except DataError:
        facts = [None]
    if not all(isinstance(fact, str) and fact.strip() for fact in facts):
        raise DataError(f'{row.where}: \'facts\' must be a list of strings: ["90 days", "in writing"]')
    return tuple(facts)


def _format(row: Row) -> str:
    """A JSON schema may stand there as it is."""
    value = row.values.get("format")
    stated = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _text(row, "format")
    try:
        if stated:
            replies.form(stated)
    except ValueError as error:
        raise DataError(f"{row.where}: 'format': {error}") from error
    return stated


QUESTIONS, KTO = "questions", "preference (KTO)"
FORMATS = (
    Format(QUESTIONS, ("question",), FIELDS, "columns as they are", _question),
    Format(
        "preference",
        ("chosen", "rejected"),
        ("prompt", "instruction", "input", "system"),
        "prompt, or instruction + input -> question, chosen -> reference",
        _preference,
    ),
    Format(
        KTO,
        ("prompt", "completion", "label"),
        (),
        "prompt -> question, completion -> reference where label is true, else rejected",
        _kto,
    ),
    Format(
        "prompt-completion", ("prompt", "completion"), (), "prompt -> question, completion -> reference", _completion
    ),
    Format("prompt-completion", ("prompt", "response"), (), "prompt -> question, response -> reference", _response),
    Format(
        "instruction (alpaca)",
        ("instruction", "output"),
        ("input", "system"),
        "instruction + input -> question, output -> reference",
        _alpaca,
    ),
    Format(
        "instruction (dolly)",
        ("instruction", "response"),
        ("context", "system"),
        "instruction + context -> question, response -> reference",
        _dolly,
    ),
    Format(
        "chat (messages)", ("messages",), FIELDS, "messages -> conversation, its only reply -> reference as well", _chat
    ),
    Format(
        "chat (sharegpt)",
        ("conversations",),
        ("system",),
        "conversations -> conversation, its only reply -> reference as well",
        _sharegpt,
    ),
    Format("labels", ("text", "label"), (), "text -> question, label -> label", _labelled),
    Format("labels", ("sentence", "label"), (), "sentence -> question, label -> label", _sentence),
    Format("raw text", ("text",), (), "text -> text, for continued training", _raw),
)
"""In the order in which they are tried."""
