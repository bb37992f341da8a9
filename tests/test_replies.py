"""The form of a reply: regular expressions that cannot hang, and JSON schemas that fetch nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bakeoff.errors import ConfigError
from bakeoff.evaluation.metrics import format
from bakeoff.examples import replies
from bakeoff.types import Answer, Example

INVOICE = {
    "title": "Invoice",
    "type": "object",
    "required": ["number", "total"],
    "additionalProperties": False,
    "properties": {
        "number": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        "total": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
        "currency": {"enum": ["EUR", "GBP"]},
        "lines": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
            "items": {"$ref": "#/$defs/line"},
        },
        "note": {"anyOf": [{"type": "string", "minLength": 2, "maxLength": 5}, {"type": "null"}]},
    },
    "$defs": {"line": {"type": "object", "properties": {"pieces": {"type": "integer", "minimum": 1}}}},
}


def obeys(stated: object, reply: object) -> bool:
    form = stated if isinstance(stated, str) else json.dumps(stated)
    return replies.form(form)(reply if isinstance(reply, str) else json.dumps(reply))


def test_a_regular_expression_must_match_the_whole_reply() -> None:
    assert obeys("[A-Z]{2}-[0-9]+", "AB-12")
    assert not obeys("[A-Z]{2}-[0-9]+", "It is AB-12")
    assert not obeys("[A-Z]{2}-[0-9]+", "AB-12.")


@pytest.mark.parametrize("reply", [{"number": "AB-1", "total": 7}, {"number": "AB-1", "total": 7.5, "currency": "EUR"}])
def test_json_of_the_form_obeys(reply: object) -> None:
    assert obeys(INVOICE, reply)
    assert obeys(INVOICE, json.dumps(reply, indent=2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": "ab-1"},
        {"number": 1},
        {"total": 0},
        {"total": 1001},
        {"total": True},
        {"total": "7"},
        {"currency": "USD"},
        {"colour": "red"},
        {"lines": []},
        {"lines": [{}, {"pieces": 1}, {"pieces": 2}]},
        {"lines": [{"pieces": 1}, {"pieces": 1.0}]},
        {"lines": [{"pieces": 0}]},
        {"lines": [{"pieces": 1.5}]},
        {"note": "x"},
        {"note": "too long"},
        {"note": 3},
    ],
)
def test_one_wrong_value_breaks_the_form(wrong: dict[str, object]) -> None:
    assert not obeys(INVOICE, {"number": "AB-1", "total": 7, **wrong})


@pytest.mark.parametrize("reply", ["", "none", '```json\n{"a": 1}\n```', 'Here: {"a": 1}', '{"a": NaN}', "[" * 100_000])
def test_what_is_not_json_and_nothing_else_does_not_obey(reply: str) -> None:
    assert not obeys({}, reply)


def test_of_several_schemas_any_all_or_one_must_hold() -> None:
    parts = [{"type": "integer"}, {"minimum": 5}]
    # As it is written: in binary, 19.99 is no multiple of .01.
    assert obeys({"multipleOf": 0.01}, 19.99) and obeys({"multipleOf": 7}, 7 * 10**400)
    assert not obeys({"multipleOf": 0.01}, 19.995) and not obeys({"multipleOf": 3}, "1e400")
    held = {name: [obeys({name: parts}, value) for value in (1, 7, 5.5, 0.5)] for name in ("anyOf", "allOf", "oneOf")}
    assert held == {
        "anyOf": [True, True, True, False],
        "allOf": [False, True, False, False],
        "oneOf": [True, False, True, False],
    }


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ("[A-", "is no regular expression"),
        ("{oops", "no JSON schema .*write "),
        ({"type": "objekt"}, r"wrong at \$.type: 'objekt' is not valid"),
        ({"required": "a"}, r"wrong at \$.required: 'a' is not of type 'array'"),
        ({"patternProperties": {"(a+)+": {}}}, "which has no time limit; name the properties"),
        ({"properties": {"a": {"pattern": "("}}}, r"wrong at \$.properties.a.pattern: '\(' is not a 'regex'"),
        ({"properties": {"a": "string"}}, r"wrong at \$.properties.a: 'string' is not of type"),
        ('{"not":' * 20_000 + "{}" + "}" * 20_000, "is nested too deeply; write it flatter"),
        ({"anyOf": []}, r"wrong at \$.anyOf: \[\] "),
        ({"$ref": "#/$defs/line"}, "which is not in it; nothing is fetched"),
        ({"$ref": "http://localhost:1/schema.json"}, "which is not in it; nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "which is not in it; nothing is fetched"),
    ],
)
def test_a_form_that_cannot_be_checked_is_refused_with_its_cure(stated: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        replies.form(stated if isinstance(stated, str) else json.dumps(stated))
    assert "\n" not in str(caught.value)


def test_a_regular_expression_that_would_take_for_ever_is_stopped() -> None:
    start = time.perf_counter()
    with pytest.raises(TimeoutError, match="without a repeat inside a repeat"):
        obeys("(a|aa)+c?(?<!a)", "a" * 200)
    with pytest.raises(TimeoutError, match="took more than 1 s"):
        obeys({"pattern": "^(a|aa)+c?(?<!a)$"}, json.dumps("a" * 200))
    assert time.perf_counter() - start < 20


# ---------------------------------------------------------------- the metric


def test_an_example_may_state_its_own_form_and_the_project_one_for_the_others(tmp_path: Path) -> None:
    own, other = Example("a", "?", format="[0-9]+"), Example("b", "?")
    (tmp_path / "reply.json").write_text(json.dumps(INVOICE))
    usual = format.make(tmp_path, schema="reply.json")
    assert [format.score(own, Answer(text)) for text in ("12", "twelve")] == [1, 0]
    assert format.score(other, Answer("12")) is None
    assert [usual(own, Answer("12")), usual(other, Answer("12"))] == [1, 0]
    assert format.make(tmp_path, regex="yes|no")(other, Answer("no")) == 1


def test_thinking_is_no_part_of_the_reply_and_what_looks_like_a_citation_is() -> None:
    ids = Example("a", "?", format='{"type": "array", "items": {"type": "integer"}}')
    assert format.score(ids, Answer("<think>Which?</think>\n[1, 2]")) == 1
    assert format.score(ids, Answer("[1, 2] [1]")) == 0


def test_a_refusal_has_no_form_and_an_error_breaks_it() -> None:
    example = Example("a", "?", format="[0-9]+")
    assert format.score(example, Answer("I don't know.", "abstained")) is None
    assert format.score(example, Answer("", "error")) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"regex": "("}, r"\[metrics.format\] regex: '\(' is no regular expression"),
        ({"schema": "none.json"}, r"\[metrics.format\] schema: none.json cannot be read: No such file"),
        ({"schema": "bad.json"}, r"\[metrics.format\] schema: bad.json:2: not JSON"),
        ({"schema": "list.json"}, "a JSON schema is an object"),
        ({"schema": "list.json", "regex": "a"}, "keep one of them"),
    ],
)
def test_a_wrong_option_is_named_with_its_file(tmp_path: Path, options: dict[str, str], complaint: str) -> None:
    (tmp_path / "bad.json").write_text('{\n"type" "object"}')
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match=complaint):
        format.make(tmp_path, **options)
