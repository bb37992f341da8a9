"""Look for faults in examples before anything is trained; loads no model.

Each finding names what to do. Errors make a training or a comparison wrong; warnings may be meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from bakeoff.types import Example

LONG = 12_000
"""Characters; about 3,000 tokens of English, three times what `lora` accepts by default."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding."""

    severity: Literal["error", "warning"]
    where: str
    """Ids of the examples."""
    what: str
    cure: str


def check(train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()) -> list[Problem]:
    """All findings, errors first."""
    splits = {"train": train, "valid": valid, "test": test}
    everything = [example for split in splits.values() for example in split]
    problems = [
        *_single(everything),
        *_repeated(splits),
        *_shared(splits, "the question", _question, "remove the copies, or give them one `group`"),
        *_shared(splits, "the group", lambda example: example.group, "split by group: examples.split() does"),
        *_label_slips(everything),
    ]
    return sorted(problems, key=lambda problem: problem.severity)


def _single(examples: Sequence[Example]) -> Iterable[Problem]:
    """Faults that one example has by itself."""
    for example in examples:
        if not example.question.strip():
            yield Problem("error", example.id, "empty question", "write one, or remove the example")
        if example.answerable and not (any(example.references) or example.label or example.messages):
            cure = "add a reference, a label, or `answerable: false` where nobody could answer"
            yield Problem("error", example.id, "no reference answer", cure)
        if example.messages and example.messages[-1].role != "assistant":
            cure = "end `messages` with the right answer"
            yield Problem("error", example.id, "the last message is not the assistant's", cure)
        size = sum(len(text) for text in (example.question, *example.references))
        size = max(size, sum(len(message.content) for message in example.messages))
        if size > LONG:
            cure = f"shorten it to {LONG} characters, or raise max_length"
            yield Problem("warning", example.id, f"very long: {size} characters", cure)


def _repeated(splits: Mapping[str, Sequence[Example]]) -> Iterable[Problem]:
    """The same question twice in one split; worse where the answers differ."""
    for name, examples in splits.items():
        for same in _groups(examples, _question).values():
            if len(same) < 2:
                continue
            if all(_answers(one) & _answers(other) for one, other in combinations(same, 2)):
                yield Problem("warning", _ids(same), f"duplicate question in {name}", "keep one of them")
            else:
                cure = "decide which answer is right, or list all of them as references"
                yield Problem("error", _ids(same), f"the same question with different answers in {name}", cure)


def _shared(
    splits: Mapping[str, Sequence[Example]], what: str, key: Callable[[Example], str], cure: str
) -> Iterable[Problem]:
    """What stands on both sides of a split: the score would measure memory."""
    for (one, left), (other, right) in combinations(splits.items(), 2):
        known = _groups(left, key)
        for value, found in _groups(right, key).items():
            if value and value in known:
                where = _ids([known[value][0], *found])
                yield Problem("error", where, f"{what} is in {one} and in {other}", cure)


def _label_slips(examples: Sequence[Example]) -> Iterable[Problem]:
    """Labels that differ only in case or spaces, as in `Refund` and `refund`."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if example.label:
            spellings[_normal(example.label)].add(example.label)
    for found in spellings.values():
        if len(found) > 1:
            yield Problem("error", "labels", f"spelt in {len(found)} ways: {sorted(found)}", "choose one spelling")


def _groups(examples: Sequence[Example], key: Callable[[Example], Hashable]) -> dict[Hashable, list[Example]]:
    groups: dict[Hashable, list[Example]] = defaultdict(list)
    for example in examples:
        groups[key(example)].append(example)
    return groups


def _question(example: Example) -> str:
    return _normal(example.question)


def _answers(example: Example) -> set[str]:
    """What would be right, an abstention included; conversations count by their last turn."""
    if not example.answerable:
        return {""}
    said = [example.messages[-1].content] if example.messages else [*example.references, example.label]
    return {_normal(answer) for answer in said if answer}


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _ids(examples: Sequence[Example]) -> str:
    shown = [example.id for example in examples[:4]]
    return ", ".join(shown) + (f" and {len(examples) - 4} more" if len(examples) > 4 else "")
