"""The report for a pull request: the verdict first, and no section that would be empty."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bakeoff.evaluation.report.page import Page, Why
from bakeoff.evaluation.report.scorecard import Column

SHORT = (("Answers", "failed"), ("Latency", "p95"), ("Per question", "cost"), ("Dollars", "for 1,000 questions"))
"""Columns beside the score, in the table that is seen first; the whole scorecard can be opened."""


def markdown(page: Page, gates: Sequence[str] = ()) -> str:
    """GitHub-flavoured Markdown of a page; `gates`: what came of each condition, in words."""
    short = [i for i, column in enumerate(page.columns) if (column.group, column.title) in SHORT]
    table = _table(
        ["system", f"{page.primary} [95%]", f"against {page.baseline}", *(_title(page.columns[i]) for i in short)],
        [
            [
                f"**{_plain(line.name)}**" if line.in_best_set else _plain(line.name),
                str(line.quality),
                str(line.difference),
                *(_plain(str(line.cells[i])) for i in short),
            ]
            for line in page.lines
        ],
    )
    scorecard = _table(
        ["", *(line.name for line in page.lines)],
        [
            [_plain(_title(column)), *(_plain(str(line.cells[i])) for line in page.lines)]
            for i, column in enumerate(page.columns)
        ],
    )
    slices = [
        [_plain(part.kind), str(part.n), *(f"{text} {flag}".rstrip() for text, _, flag in part.cells)]
        for part in page.slices
    ]
    blocks = [
        _list("Conditions", gates),
        f"**{_plain(page.verdict)}** {page.confidence}: {page.meaning}.",
        table,
        f"{page.scope}. Bold: the best set, which no other system is shown to beat.",
        _list("Why", page.reasons),
        _list("Flips if", page.flips),
        f"<details><summary>Scorecard</summary>\n\n{scorecard}\n\n</details>",
        "**By kind of question**" if slices else "",
        _table(["kind", "n", *(line.name for line in page.lines)], slices) if slices else "",
        _plain(page.flagged) if slices else "",
        *(_why(why) for why in page.whys),
        _plain(page.unread),
        _list("Could not be scored", page.failures[:5]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _why(why: Why) -> str:
    if not why.parts:
        return f"**Why wrong: {_plain(why.system)}** {why.wrong}."
    causes = [[part.cause, part.group, part.observed, part.binding] for part in why.parts]
    head = f"**Why wrong: {_plain(why.system)}** {why.wrong}; {_plain(why.verdict)}."
    return "\n\n".join([head, _table(["cause", "group", "observed", "binding"], causes), _plain(why.notes[-1])])


def _title(column: Column) -> str:
    """With the heading of its group, which a Markdown table cannot show."""
    return column.title if column.group == "Quality" else f"{column.group.lower()}: {column.title}"


def _list(title: str, items: Sequence[str]) -> str:
    return "\n".join([f"**{title}**", "", *(f"- {_plain(item)}" for item in items)]) if items else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ([_plain(head) for head in heads], rule, *rows))


def _plain(text: str) -> str:
    """`text` as itself: no markup of Markdown or HTML, no mention, no formula between dollar signs, no line break."""
    return re.sub(r"([\\`*_\[\]<>|#@~&!$])", r"\\\1", " ".join(text.split()))
