"""Does an agent with tools beat plain RAG on the packaged model? Look-ups, sums over a database, and arithmetic.

    make bench-agent DATA=path/to/data

90 questions made from the Chinook database by fixed rules, their answers by SQL and Python. The corpus is the rows of
the same database, searched by words. "ReAct, scripted" is no model: it writes the right action for each question and
answers with what it is shown, which is what the loop and the tools would give to a model that can use them.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from results import machine, publish, table

from bakeoff.corpus import Corpus
from bakeoff.evaluation.compare import Comparison, compare
from bakeoff.evaluation.stats import Interval
from bakeoff.models import generator
from bakeoff.models.generators.scripted import Generator as Scripted
from bakeoff.retrieval import BM25
from bakeoff.systems import RAG, Prompt, ReAct
from bakeoff.systems.tools.calculate import calculate
from bakeoff.systems.tools.look_up import look_up
from bakeoff.systems.tools.search import search
from bakeoff.systems.tools.sql import Database, sql
from bakeoff.types import Example, Message

EACH = 8
"""Questions of each form."""
SCRIPTED = "ReAct, scripted"
FORMS = {
    # kind, question, the SQL that gives (subject, answer), the action that finds it, where the answer then stands
    "email": (
        "look-up",
        "What is the e-mail address of the customer {0}?",
        "SELECT FirstName || ' ' || LastName, Email FROM Customer ORDER BY CustomerId",
        "search[Customer {0} Email]",
        r"Email: (\S+)",
    ),
    "city": (
        "look-up",
        "In which city does the customer {0} live?",
        "SELECT FirstName || ' ' || LastName, City FROM Customer ORDER BY CustomerId DESC",
        "search[Customer {0} City]",
        r"City: (.+?) (?:State|Country):",
    ),
    "composer": (
        "look-up",
        'Who composed the track "{0}"?',
        "SELECT Name, Composer FROM Track WHERE Composer NOT LIKE '%,%' AND Composer NOT LIKE '%/%' "
        "AND Name NOT LIKE '%(%' AND length(Name) > 12 GROUP BY Name HAVING count(*) = 1 "
        "ORDER BY TrackId * 7919 % 3571",
        "search[Track {0} Composer]",
        r"Composer: (.+?) Milliseconds:",
    ),
    "albums": (
        "database",
        "How many albums of the artist {0} are in the database?",
        "SELECT Name, count(*) FROM Artist JOIN Album USING (ArtistId) GROUP BY ArtistId "
        "ORDER BY count(*) DESC, ArtistId",
        "sql[SELECT count(*) FROM Album JOIN Artist USING (ArtistId) WHERE Name = '{0}']",
        r"count\(\*\)\n(\d+)",
    ),
    "spent": (
        "database",
        "How many dollars did the customer {0} spend in total?",
        "SELECT FirstName || ' ' || LastName, printf('%.2f', sum(Total)) FROM Customer JOIN Invoice USING (CustomerId)"
        " GROUP BY CustomerId ORDER BY CustomerId * 31 % 59",
        "sql[SELECT round(sum(Total), 2) AS s FROM Invoice JOIN Customer USING (CustomerId) "
        "WHERE FirstName || ' ' || LastName = '{0}']",
        r"s\n([\d.]+)",
    ),
    "tracks": (
        "database",
        'How many tracks are on the album "{0}"?',
        "SELECT Title, count(*) FROM Album JOIN Track USING (AlbumId) WHERE Title NOT LIKE '%''%' GROUP BY AlbumId"
        " HAVING count(*) > 4 ORDER BY AlbumId * 101 % 349",
        "sql[SELECT count(*) FROM Track JOIN Album USING (AlbumId) WHERE Title = '{0}']",
        r"count\(\*\)\n(\d+)",
    ),
}


def questions(database: Path) -> tuple[list[Example], dict[str, tuple[str, str]]]:
    """The examples, and for each question the right action and where the answer stands in what it brings."""
    examples, known = [], {}
    with closing(sqlite3.connect(database)) as connection:
        for form, (kind, text, query, action, place) in FORMS.items():
            for number, (subject, answer) in enumerate(connection.execute(query).fetchmany(EACH)):
                examples.append(Example(f"{form}-{number}", text.format(subject), (str(answer),), kind=kind))
                known[examples[-1].question] = (action.format(subject), place)
    for number, (text, answer, expression) in enumerate(arithmetic()):
        examples.append(Example(f"arithmetic-{number}", text, (answer,), kind="arithmetic"))
        known[text] = (f"calculate[{expression}]", r"= (\S+)")
    return examples, known


def arithmetic() -> Iterator[tuple[str, str, str]]:
    """Question, answer, and the expression that gives it."""
    for n in range(EACH):
        count = 13 + 7 * n
        together = f"{count * 99 / 100:.2f}"
        yield f"What do {count} tracks cost together at 0.99 dollars each?", together, f"{count} * 0.99"
        long = 187_000 + 9_311 * n
        yield (
            f"How many seconds are {count} tracks of {long} milliseconds each?",
            f"{count * long / 1000:.15g}",
            (f"{count} * {long} / 1000"),
        )
        start = date(2021, 3, 5) + timedelta(days=11 * n)
        end = start + timedelta(days=37 + 29 * n)
        yield f"How many days are there from {start} to {end}?", str((end - start).days), f"days('{start}', '{end}')"


class Solver:
    """In place of a model: the right action, then what its observation says."""

    def __init__(self, known: Mapping[str, tuple[str, str]]) -> None:
        self._known = known

    def __call__(self, messages: Sequence[Message]) -> str:
        action, place = self._known[messages[-1].content.rpartition("Question: ")[2]]
        if messages[-1].content.startswith("Question: "):
            return f"Thought: this tool will tell.\nAction: {action}"
        found = re.findall(place, messages[-1].content)
        return f"Answer: {found[-1] if found else 'not found'}"  # the best passage stands last


def main() -> None:
    """Ask, and write docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chinook/Chinook_Sqlite.sqlite")
    parser.add_argument("--out", type=Path, default=Path(".bench/agent"), help="where the index and the run are kept")
    arguments = parser.parse_args()
    database = arguments.data / "chinook" / "Chinook_Sqlite.sqlite"
    if not database.is_file():
        sys.exit(f"skipped: {database} is not there; give its folder with --data")
    corpus = Corpus(arguments.out / "index", "hashing")
    corpus.sync(f"chinook=sqlite:///{database}")
    words, base = BM25(corpus), generator("smollm2-135m")
    tools = [search(words), look_up(corpus.store), calculate(), sql([Database("chinook", database)])]
    examples, known = questions(database)
    systems = [
        Prompt(base, name="prompt"),
        RAG(base, words, name="RAG"),
        ReAct(base, tools, name="ReAct"),
        ReAct(Scripted(Solver(known)), tools, name=SCRIPTED),
    ]
    comparison = compare(systems, examples, ["recall"], out=arguments.out / "run", progress=_print)
    publish("agent", page(comparison))
    print(comparison)


def page(comparison: Comparison) -> str:
    """A row for each system; what the model did as an agent; the differences."""
    kinds = comparison.by_kind()
    rows = []
    for system in comparison.systems:
        answers = [trial.answer for trial in comparison.trials if trial.system == system]
        seconds = next(row.p50.estimate for row in comparison.table() if row.system == system)
        read, written = (np.mean([getattr(a.usage, what) for a in answers]) for what in ("fresh", "output"))
        tokens = "-" if system == SCRIPTED else f"{read:,.0f} + {written:.0f}"
        shares = [_percent(kinds[kind][system]) for kind in ("look-up", "database", "arithmetic")]
        overall = comparison.interval(system, "recall")
        assert overall
        rows.append([system, *shares, _percent(overall), tokens, "-" if system == SCRIPTED else f"{seconds:.1f} s"])
    head = ["recall, percent [95%]", "look-up", "database", "arithmetic", "all", "tokens in + out", "p50"]
    found = comparison.difference("ReAct", "RAG")
    assert found
    gap = f"ReAct less RAG: {_percent(found.interval, '+.1f')} points, p = {found.p:.2g}."
    asked = f"{len(comparison.examples)} questions, {EACH} of each of nine forms."
    under = f"{asked} `make bench-agent DATA=...` on {machine()}."
    return f"{table(head, rows)}\n\n{gap} {habits(comparison)}\n\n{under}"


def habits(comparison: Comparison) -> str:
    """How the model used its steps."""
    answers = [trial.answer for trial in comparison.trials if trial.system == "ReAct"]
    steps = [step for answer in answers for step in answer.trace]
    actions = Counter(step.detail.partition("[")[0] for step in steps if step.name == "action")
    observed = [step.detail for step in steps if step.name == "observation"]
    thoughts = np.mean([sum(step.name == "thought" for step in answer.trace) for answer in answers])
    used = ", ".join(f"{name} {count}" for name, count in actions.most_common(8)) or "none"
    refused = sum(text.startswith("refused") for text in observed)
    declined = sum(answer.outcome == "abstained" for answer in answers)
    return (
        f"As an agent the model took {thoughts:.1f} steps a question. Of its {len(observed)} replies before the last "
        f"one {refused} were refused, {len(observed) - actions.total()} for want of any action; the others: {used}. "
        f"{declined} questions it did not answer."
    )


def _percent(interval: Interval, form: str = ".1f") -> str:
    return f"{100 * interval.estimate:{form}} [{100 * interval.low:{form}}, {100 * interval.high:{form}}]"


def _print(done: int, total: int, text: str) -> None:
    if done % 10 == 0:
        print(f"{text} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
