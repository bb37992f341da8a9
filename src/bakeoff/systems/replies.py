"""Read the action or the answer out of what a generator wrote, however untidy."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """What a generator wrote, up to the end of its first action or answer."""

    thought: str
    tool: str = ""
    input: str = ""
    answer: str = ""
    bare: str = ""
    """The whole text where no part of it says what it is; in reply to "Answer:" that is the answer."""
    kept: str = ""
    """What it is shown of itself: without the observations that models like to make up after an action."""


def parse(text: str) -> Reply:
    """Find the first action or answer."""
    text = text.encode("utf-8", "replace").decode()  # half an emoji would break whatever it is given to
    text = _MARK.sub("", text)  # a small model copies the marks around observations into its answer
    found = _ACT.search(text)
    if not found:
        kept = text.strip()
        return Reply(_THOUGHT.sub("", kept), bare="" if _LABEL.match(kept) else kept, kept=kept)
    end = next((label.start() for label in _LABEL.finditer(text, found.end())), len(text))
    thought, kept = _THOUGHT.sub("", text[: found.start()].strip()), text[:end].strip()
    if found["tool"] is None:
        return Reply(thought, answer=text[found.end() : end].strip(), kept=kept)
    return Reply(thought, found["tool"].lower(), _input(text[found.end() : end]), kept=kept)


def _input(text: str) -> str:
    """What is asked of a tool, out of `[...]`, `(...)`, quotes, or an `Action Input:` line."""
    text = re.sub(r"^[\s:`*]*(?:action input\s*:)?\s*|[\s`]+$", "", text, flags=re.IGNORECASE)
    closing = {"[": "]", "(": ")"}.get(text[:1])
    if closing:
        depth, end = 0, len(text)
        for place, character in enumerate(text):
            depth += (character == text[0]) - (character == closing)
            if depth == 0:
                end = place
                break
        # `calculate (1 + 2) * 3` has no wrapping; behind a square bracket there is only talk.
        if closing == "]" or not text[end + 1 :].strip(" .;"):
            text = text[1:end].strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


_ACT = re.compile(
    r"^[ \t*#]*(?:action[ \t*]*:[ \t*`]*(?P<tool>\w+)"
    r"|(?:the[ \t]+)?(?:final[ \t]+)?answer(?:[ \t]+is)?[ \t*]*:[ \t*]*)",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(
    r"^[ \t*#]*(?:thought|action|observation|(?:final[ \t]+)?answer|question)\b[ \t*\d]*(?:[:,]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_MARK = re.compile(r"</?[0-9a-f]{16}>?")
_THOUGHT = re.compile(r"^[\s*#]*thought[ \t*\d]*:[ \t*]*", re.IGNORECASE)
