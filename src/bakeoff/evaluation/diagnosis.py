"""What a diagnosis says: the causes of wrong answers, what binds, and what mending each would gain. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bakeoff.evaluation.stats import Interval, score_interval
from bakeoff.files import write_json

Group = Literal["ingredients", "recipe", "neither"]
FILE = "diagnosis.json"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an answer is wrong."""

    group: Group
    """`ingredients`: what the model is given. `recipe`: what it makes of that."""
    says: str
    next: str
    """What to do, with the command; `{system}` stands for the system's name."""


CAUSES: Mapping[str, Cause] = {
    "error": Cause("neither", "the system raised", "read the reason in the report and mend it: bakeoff report"),
    "format": Cause(
        "recipe",
        "the right answer is there, in a form that does not count",
        "say the form in `instruction` or `schema` of [systems.{system}], or tune it: bakeoff tune",
    ),
    "correct refusal": Cause(
        "ingredients",
        "no document holds the answer, and the system said so",
        "add a document that says it to the sources: bakeoff ingest",
    ),
    "not in corpus": Cause(
        "ingredients",
        "no document holds the answer, and the system made one up",
        "add a document that says it to the sources: bakeoff ingest",
    ),
    "should have refused": Cause(
        "recipe",
        "the question has no answer, and the system gave one",
        'set mode = "documents" under [systems.{system}]: bakeoff calibrate {system}',
    ),
    "chunking": Cause(
        "ingredients",
        "a document holds the answer, no passage shows it whole",
        "raise chunk_tokens under [corpus]: bakeoff ingest",
    ),
    "retrieval miss": Cause(
        "ingredients",
        "the passage is not among the candidates",
        'set expand = "multi-query" or another embedder, and look at one: bakeoff search "the question" -k 50',
    ),
    "rerank loss": Cause(
        "ingredients",
        "the passage is a candidate, but stands too low to be read",
        'fit the reranker, then retriever = "reranked" or a larger k: bakeoff fit',
    ),
    "packing loss": Cause(
        "ingredients",
        "the passage stands high enough, but the budget cut it",
        "raise budget under [systems.{system}]: bakeoff compare {system}",
    ),
    "wrong refusal": Cause(
        "recipe",
        "the passage is in the prompt, and the system refused",
        "learn when to refuse from your questions, or soften `instruction`: bakeoff calibrate {system}",
    ),
    "ignored context": Cause(
        "recipe",
        "it said what it says without any passage",
        'set mode = "documents" under [systems.{system}], or tune it to read: bakeoff tune',
    ),
    "misread": Cause(
        "recipe",
        "with the right passage alone it still answers wrongly",
        'tune it to read (lesson = "{system}"), or take a larger base: bakeoff tune',
    ),
    "conflicting or stale": Cause(
        "ingredients",
        "another passage on the same matter says what it answered",
        "correct or remove the other document (its id stands in the report): bakeoff forget DOCUMENT",
    ),
    "incomplete": Cause(
        "recipe",
        "it gave a part of the answer",
        "raise max_tokens or ask for all parts in `instruction`: bakeoff compare {system}",
    ),
    "position": Cause(
        "recipe",
        "it is right when the passage comes first",
        'put the best passage first more often: bakeoff fit, then retriever = "reranked"; or a smaller k',
    ),
    "distracted": Cause(
        "recipe",
        "it is right with the passage alone, wrong among others",
        "set a smaller k under [systems.{system}], or tune it to read: bakeoff tune",
    ),
    "stale": Cause(
        "ingredients",
        "it learnt an answer that no longer holds",
        "correct the questions and train again, or let it read: bakeoff tune",
    ),
    "forgot": Cause(
        "recipe",
        "the base model was right before tuning",
        "tune less (epochs, rank) or mix in general examples: bakeoff tune",
    ),
    "not in data": Cause(
        "ingredients",
        "nothing it was trained on holds the answer",
        "let it read the documents, tuning does not bring facts: bakeoff compare with a system of type rag",
    ),
    "not learned": Cause(
        "recipe",
        "trained on it, and wrong in the very words of training",
        "train longer or with a larger rank: bakeoff tune",
    ),
    "reversal": Cause(
        "recipe",
        "trained on the fact asked the other way round",
        "add the questions the other way round, or let it read: bakeoff tune",
    ),
    "memorised": Cause(
        "recipe",
        "right in the words of training, wrong in others",
        "add each question in several wordings: bakeoff tune",
    ),
}
"""Cause -> what it is; the shorter tree of a system without passages has the last six."""

SUBSTANTIAL = 0.2
"""A side that surely has this share of the wrong answers is worth work of its own. Of 20 wrong answers, half and half,
three in four samples show it of both sides, of 30 nine in ten (of a quarter: one in two, and six in ten)."""
RETRIEVED = ("chunking", "retrieval miss", "rerank loss", "packing loss", "conflicting or stale")
READ = ("wrong refusal", "ignored context", "misread", "incomplete", "position", "distracted")


@dataclass(frozen=True, slots=True)
class Finding:
    """Why one answer is wrong."""

    example_id: str
    cause: str
    """The first stage at which the answer was lost."""
    binding: str
    """What would have to be mended for it to be right: a passage that is not found matters only if it would be read
    rightly."""
    unsure: bool
    """Scores near the border, or evidence that was only guessed: for the hand check."""
    scores: Mapping[str, float | None]
    """Counterfactual -> score of the deciding metric."""
    document: str = ""
    """Which other document misled it, where one did."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why the wrong answers of one system are wrong; `str()` is the whole page."""

    system: str
    n: int
    """Questions that were scored."""
    findings: tuple[Finding, ...]
    causes: Mapping[str, Interval]
    """Observed stage -> share of all questions."""
    binding: Mapping[str, Interval]
    headroom: Mapping[str, Interval]
    """What was perfect -> what share of all questions it would turn right."""
    ingredients: Interval | None
    """Share of the wrong answers that bind at an ingredient, of those where the system did not raise; None where there
    are none."""
    unsure: Interval | None
    from_memory: Interval | None
    """Share of right answers, of those looked at, that it gives without passages and whose passage it was not given."""
    refuses_without: Interval | None
    """How often it declines once the passage is taken out of its prompt; None for systems without passages."""
    examples: str = ""
    """Hash of all questions of the run, as in `run.toml`."""

    @property
    def verdict(self) -> str:
        """Ingredients or recipe, if more than half is shown to bind there; both, if a fifth is shown of each."""
        if not self.findings:
            return "nothing is wrong"
        if self.ingredients is None:
            return "errors: every wrong answer is one where the system raised"
        if self.ingredients.low > 0.5:
            return "ingredients: work on documents and retrieval"
        if self.ingredients.high < 0.5:
            return "recipe: work on prompt, tuning or the model"
        if self.ingredients.low > SUBSTANTIAL and self.ingredients.high < 1 - SUBSTANTIAL:
            return "both: work on documents and retrieval, and on prompt, tuning or the model"
        return "too few wrong answers to tell ingredients from recipe"

    @property
    def next(self) -> str:
        """What to do about the commonest binding cause."""
        if not self.binding:
            return ""
        name = next(iter(self.binding))
        return f"{name}: {CAUSES[name].next.replace('{system}', self.system)}"

    def __str__(self) -> str:
        wrong = len(self.findings)
        lines = [f"{self.system}: {wrong} of {self.n} answers are wrong; percent of all questions, 95% intervals", ""]
        if wrong:
            lines += [f"  {'cause':<21} {'observed':>18} {'binding':>18}"]
            for name in dict.fromkeys([*self.causes, *self.binding]):
                observed, binds = (_rate(rates.get(name)) for rates in (self.causes, self.binding))
                lines.append(f"  {name:<21} {observed:>18} {binds:>18}  {CAUSES[name].says}")
            lines += ["", "it would gain, if perfect:"]
            lines += [f"  {name:<21} {_rate(interval, '+'):>18}" for name, interval in self.headroom.items()]
            lines += ["", self.verdict]
            if self.ingredients:
                lines[-1] += f" ({_rate(self.ingredients)} of the wrong answers bind at an ingredient)"
            lines += [f"unsure: {_rate(self.unsure)} of them; look at these by hand in the report"]
        if self.refuses_without:
            lines.append(f"without the passage it declines: {_rate(self.refuses_without)}")
        if self.from_memory:
            lines.append(f"right from memory, not from the passages: {_rate(self.from_memory)} of the right answers")
        return "\n".join([*lines, *([f"next: {self.next}"] if wrong else [])])

    def to_json(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "verdict": self.verdict, "next": self.next}


def diagnosis(
    system: str,
    findings: Sequence[Finding],
    asked: Mapping[str, str],
    *,
    memory: Mapping[str, bool],
    declined: Mapping[str, bool],
    examples: str = "",
) -> Diagnosis:
    """Sum up; `asked`: example id -> its cluster, of every question that was scored; `examples`: their hash.

    `memory`: right answers that were looked at -> whether they came from memory. `declined`: questions whose passage
    was taken away -> whether the system then declined.
    """

    def share(chosen: Callable[[Finding], bool]) -> Interval:
        hit = {finding.example_id for finding in findings if chosen(finding)}
        return score_interval([float(id in hit) for id in asked], list(asked.values()))

    def of(values: Mapping[str, bool]) -> Interval | None:
        return score_interval([*map(float, values.values())], [asked[id] for id in values]) if values else None

    def ranked(names: Counter[str], chosen: Callable[[str], Callable[[Finding], bool]]) -> dict[str, Interval]:
        return {name: share(chosen(name)) for name, _ in names.most_common()}

    possible: dict[str, Callable[[Finding], bool]] = {
        "documents": lambda one: (
            one.cause in ("not in corpus", "correct refusal", "not in data", "stale") and one.binding == one.cause
        ),
        "retrieval": lambda one: one.cause in RETRIEVED and one.binding == one.cause,
        "reading": lambda one: one.cause in READ,
        "both of these": lambda one: one.cause not in READ and one.binding == "misread",
        "form": lambda one: one.cause == "format",
        "refusing": lambda one: one.cause == "should have refused",
        "learning": lambda one: one.cause in ("forgot", "not learned", "reversal", "memorised"),
    }
    groups = {one.example_id: CAUSES[one.binding].group for one in findings}
    gains = {name: share(chosen) for name, chosen in possible.items() if any(map(chosen, findings))}
    return Diagnosis(
        system,
        len(asked),
        tuple(findings),
        ranked(Counter(one.cause for one in findings), lambda name: lambda one: one.cause == name),
        ranked(Counter(one.binding for one in findings), lambda name: lambda one: one.binding == name),
        dict(sorted(gains.items(), key=lambda gain: -gain[1].estimate)),
        of({id: group == "ingredients" for id, group in groups.items() if group != "neither"}),
        of({one.example_id: one.unsure for one in findings}),
        of(memory),
        of(declined),
        examples,
    )


def save(found: Diagnosis, folder: Path, settings: Mapping[str, Any]) -> None:
    """As `diagnosis.json`; `settings`: what the system's answers depend on."""
    write_json(folder / FILE, {"settings": settings, **found.to_json()})


def load_all(out: Path, settings: Mapping[str, Mapping[str, Any]], examples: str) -> dict[str, Diagnosis]:
    """System -> its diagnosis, of those that were diagnosed as they answered these questions in the run `out`.

    `examples`: the hash of the questions.
    """
    found = {}
    for path in sorted((out / "diagnosis").glob(f"*/{FILE}")):
        row = json.loads(path.read_text(encoding="utf-8"))
        # One from before the questions were noted may be of others.
        if row.pop("settings") == settings.get(row["system"]) and row.get("examples") == examples:
            found[row["system"]] = _diagnosis(row)
    return found


def _diagnosis(row: dict[str, Any]) -> Diagnosis:
    def intervals(name: str) -> dict[str, Interval]:
        found = {key: Interval(**value) for key, value in row[name].items()}
        return dict(sorted(found.items(), key=lambda one: -one[1].estimate))  # JSON sorted them by name

    def interval(name: str) -> Interval | None:
        return Interval(**row[name]) if row[name] else None

    return Diagnosis(
        row["system"],
        row["n"],
        tuple(Finding(**finding) for finding in row["findings"]),
        intervals("causes"),
        intervals("binding"),
        intervals("headroom"),
        interval("ingredients"),
        interval("unsure"),
        interval("from_memory"),
        interval("refuses_without"),
        row["examples"],
    )


def _rate(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    return f"{100 * interval.estimate:{sign}.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
