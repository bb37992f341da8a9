"""Format: does the reply obey the form that was stated, to the letter?

`format` of an example is a regular expression for the whole reply, or a JSON schema. `[metrics.format]` states one for
all that have none: `regex = "[A-Z]{2}-[0-9]+"`, or `schema = "reply.json"`, a file in the project.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bakeoff.errors import ConfigError
from bakeoff.evaluation.metrics import _text
from bakeoff.examples import replies
from bakeoff.types import Answer, Example, Metric

VERSION = 1
ABOUT = "1 where the reply obeys the stated regular expression or JSON schema, to the letter"


def score(example: Example, answer: Answer) -> float | None:
    """None for a refusal, and where no form is stated.

    Strict: a code fence round the JSON, or a word before it, is what breaks the program that reads the reply.
    """
    return _score(None, example, answer)


def make(folder: Path, *, regex: str = "", schema: str = "") -> Metric:
    """Either of them; raises `ConfigError` for a form that cannot be read."""
    if regex and schema:
        raise ConfigError("[metrics.format] has regex and schema; keep one of them")
    try:
        if regex:
            return partial(_score, replies.expression(regex))
        if schema:
            return partial(_score, replies.schema(json.loads((folder / schema).read_text(encoding="utf-8"))))
    except json.JSONDecodeError as error:
        raise ConfigError(f"[metrics.format] schema: {schema}:{error.lineno}: not JSON ({error.msg})") from error
    except OSError as error:
        raise ConfigError(f"[metrics.format] schema: {schema} cannot be read: {error.strerror}") from error
    except ValueError as error:
        place = f"schema: {schema}" if schema else "regex"
        raise ConfigError(f"[metrics.format] {place}: {error}") from error
    return score


def _score(usual: Callable[[str], bool] | None, example: Example, answer: Answer) -> float | None:
    obeys = replies.form(example.format) if example.format else usual
    if obeys is None or answer.outcome == "abstained":
        return None
    return float(obeys(_text.reply(answer.text)))
