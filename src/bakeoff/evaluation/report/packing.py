"""How the page's data are made small: passages and the steps of answers stand in them once, and all is compressed."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.evaluation.report import numbers
from bakeoff.types import Chunk, Hit, Step

Passages = Mapping[str, tuple[int, Chunk]]
"""Chunk id -> (position in the list of passages, chunk)."""


def packed(data: Any) -> str:
    """JSON, gzip, base64; equal data give equal text."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode()


def unpacked(text: str) -> Any:
    """The inverse of `packed`."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


class Steps:
    """The steps of the answers to one question; what several systems saw is held once."""

    def __init__(self, passages: Passages, lines: Sequence[str]) -> None:
        """`lines`: each passage on one line, in the order of their positions."""
        self._passages = passages
        self._lines = lines
        self._places: dict[str, int] = {}
        self.details: list[list[str | int]] = []
        """Pieces of text; a number is the passage that stands there on one line."""

    def add(self, trace: Sequence[Step], hits: Sequence[Hit]) -> list[list[Any]]:
        """Head of each step, and the place of its detail."""
        return [[_head(step), self._place(step.detail, hits)] for step in trace]

    def _place(self, detail: str, hits: Sequence[Hit]) -> int:
        if detail not in self._places:
            self._places[detail] = len(self.details)
            self.details.append(self._pieces(detail, hits))
        return self._places[detail]

    def _pieces(self, detail: str, hits: Sequence[Hit]) -> list[str | int]:
        pieces: list[str | int] = [detail]
        for hit in hits:
            number = self._passages[hit.chunk.id][0]
            line = self._lines[number]
            for i, piece in enumerate(pieces):
                if isinstance(piece, str) and line and line in piece:
                    before, after = piece.split(line, 1)
                    pieces[i : i + 1] = [part for part in (before, number, after) if part != ""]
                    break
        return pieces


def one_line(text: str) -> str:
    """As the script in the page does it; other white space than these stays, so a prompt that lost it is kept whole."""
    return re.sub(r"[ \t\n\r\f\v]+", " ", text).strip(" ")


def _head(step: Step) -> str:
    return f"{step.name} · {numbers.seconds(step.seconds)}" if step.seconds else step.name
