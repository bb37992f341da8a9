"""Faults of examples by themselves and among each other; loads no model."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from bakeoff.tuning.check.near import plain, similar_pairs, similarity
from bakeoff.tuning.check.problems import Problem, Severity, listed
from bakeoff.types import Example

Splits = Mapping[str, Sequence[Example]]

LONG = 12_000
"""Characters; about 3,000 tokens of English, three times what `lora` accepts by default."""
ANSWERS_ALIKE = 0.5
"""Similarity of two answers, given questions that are nearly the same, from which on the examples are."""

_NOISE = {
    "a refusal for an answer": re.compile(
        r"^(?:i'?m sorry,? )?(?:but )?as an? (?:ai|large) (?:language )?model", re.IGNORECASE
    ),
    "a placeholder": re.compile(
        r"^\W*(?:todo|tbd|n/?a|lorem ipsum\b.*|xxx+|placeholder|null|nan)\W*$", re.IGNORECASE | re.DOTALL
    ),
    "markup of a page": re.compile(r"</?(?:div|span|p|br|table|td|tr|script|style)\b[^>]*>|&(?:nbsp|amp|quot|lt|gt);"),
    # UTF-8 that was read as Windows-1252, and control characters.
    "text in a wrong encoding": re.compile(
        "\N{REPLACEMENT CHARACTER}|[\xc3\xc2][\x80-\xbf]|\xe2\u20ac|[\x00-\x08\x0b\x0e-\x1f]"
    ),
    "one character again and again": re.compile(r"(\S)\1{19,}"),
}


def data_problems(splits: Splits, *, lengths: bool = True) -> Iterator[Problem]:
    """All findings; `lengths` judges them by characters, for where there is no tokenizer."""
    everything = [example for split in splits.values() for example in split]
    yield from _single(everything)
    yield from _noise(everything)
    yield from _preferences(everything)
    yield from _long(everything) if lengths else ()
    yield from _repeated(splits)
    yield from _shared(splits, "the question", "leak-exact", _asked, "remove the copies, or give them one `group`")
    yield from _shared(
        splits, "the group", "leak-group", lambda example: example.group, "split by group: examples.split() does"
    )
    yield from _nearly(splits)
    yield from _documents(splits)
    yield from _labels(splits, everything)


# ---------------------------------------------------------------- one example


def _single(examples: Sequence[Example]) -> Iterator[Problem]:
    for example in examples:
        own = (example.id,)
        if example.text:
            continue
        if not example.question.strip():
            cure = "write one, or remove the example"
            yield Problem("error", example.id, "empty question", cure, "empty-question", own)
        known = any(example.references) or example.label or example.messages or example.rejected
        if example.answerable and not known:
            cure = "add a reference, a label, or `answerable: false` where nobody could answer"
            yield Problem("error", example.id, "no reference answer", cure, "no-answer", own)
        last = example.messages[-1] if example.messages else None
        if last and last.role != "assistant" and not example.rejected:
            cure = "end `messages` with the right answer"
            yield Problem("error", example.id, "the last message is not the assistant's", cure, "no-reply", own)
        elif last and not last.content.strip():
            what = "the assistant's reply is empty"
            yield Problem("error", example.id, what, "write it, or remove it", "no-answer", own)


def _noise(examples: Sequence[Example]) -> Iterator[Problem]:
    """What pages, exports and other models leave behind."""
    found: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        said = [*_said(example), example.text] if example.text else _said(example)
        for name, pattern in _NOISE.items():
            if any(pattern.search(text) for text in said):
                found[name].append(example.id)
        if example.question and any(plain(text) == plain(example.question) for text in said):
            found["the question itself for an answer"].append(example.id)
    for name, ids in found.items():
        cure = "look at them, and mend or remove them: a model learns to say it"
        yield Problem("warning", listed(ids), f"{name} in {_count(ids)}", cure, "noise", tuple(ids))


def _preferences(examples: Sequence[Example]) -> Iterator[Problem]:
    same = [
        example.id
        for example in examples
        if example.rejected and any(_normal(example.rejected) == _normal(answer) for answer in _said(example))
    ]
    if same:
        cure = "remove them: a pair teaches by its difference"
        what = f"chosen and rejected are the same in {_count(same)}"
        yield Problem("error", listed(same), what, cure, "same-pair", tuple(same))


def _long(examples: Sequence[Example]) -> Iterator[Problem]:
    for example in examples:
        size = sum(len(text) for text in (example.question, *example.references))
        size = max(size, sum(len(message.content) for message in example.messages))
        if size > LONG:
            cure = f"shorten it to {LONG} characters, or raise max_length"
            yield Problem("warning", example.id, f"very long: {size} characters", cure, "too-long")


# ---------------------------------------------------------------- the same twice


def _repeated(splits: Splits) -> Iterator[Problem]:
    """The same question twice in one split; worse where the answers differ."""
    for name, examples in splits.items():
        for same in _groups(examples, _asked).values():
            if len(same) < 2:
                continue
            if all(_answers(one) & _answers(other) for one, other in combinations(same[:50], 2)) or same[0].text:
                what = "duplicate text" if same[0].text else "duplicate question"
                drop = tuple(example.id for example in same[1:])
                yield Problem("warning", _ids(same), f"{what} in {name}", "keep one of them", "duplicate", drop)
            else:
                cure = "decide which answer is right, or list all of them as references"
                what = f"the same question with different answers in {name}"
                yield Problem("error", _ids(same), what, cure, "conflict")


def _shared(splits: Splits, what: str, kind: str, key: Callable[[Example], str], cure: str) -> Iterable[Problem]:
    """What stands on both sides of a split: the score would measure memory."""
    for (one, left), (other, right) in combinations(splits.items(), 2):
        known = _groups(left, key)
        for value, found in _groups(right, key).items():
            if value and value in known:
                where = _ids([known[value][0], *found])
                yield Problem("error", where, f"{what} is in {one} and in {other}", cure, kind)


def _nearly(splits: Splits) -> Iterator[Problem]:
    """Nearly the same question with nearly the same answer: within a split a duplicate, across splits a leak."""
    unique: dict[Hashable, tuple[str, Example]] = {}
    for name, examples in splits.items():
        for example in examples:
            unique.setdefault((name, _asked(example)), (name, example))
    entries = list(unique.values())
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    second: dict[str, list[str]] = defaultdict(list)
    for i, j in similar_pairs([_asked(example) for _, example in entries]):
        (one, first), (other, like) = entries[i], entries[j]
        if _asked(first) != _asked(like) and _alike(first, like):
            found[one, other].append(f"{first.id} and {like.id}")
            if one == other:
                second[one].append(like.id)
    for (one, other), pairs in found.items():
        what = f"nearly the same example in {_count(pairs, 'pair')}"
        if one == other:
            drop = tuple(dict.fromkeys(second[one]))
            yield Problem("warning", listed(pairs), f"{what} of {one}", "keep one of each", "near-duplicate", drop)
        else:
            cure = "give both one `group`, or remove one: the score would measure memory"
            yield Problem("error", listed(pairs), f"{what}, in {one} and in {other}", cure, "leak-near")


def _documents(splits: Splits) -> Iterator[Problem]:
    """A document with evidence on both sides: what was trained on one page is tested on the same page."""
    for (one, left), (other, right) in combinations(splits.items(), 2):
        if one != "train":
            continue
        sides = [{piece.document_id for example in side for piece in example.evidence} for side in (left, right)]
        both = sorted(sides[0] & sides[1])
        if both:
            what = f"{_count(both, 'document')} with evidence for questions in {one} and in {other}"
            cure = "give questions on one document one `group`, unless the model is to be tested on what it has read"
            yield Problem("warning", listed(both), what, cure, "leak-document")


# ---------------------------------------------------------------- labels


def _labels(splits: Splits, everything: Sequence[Example]) -> Iterator[Problem]:
    """Labels that differ only in case or spaces, as in `Refund` and `refund`, and classes that cannot be learnt."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for example in everything:
        if example.label:
            spellings[_normal(example.label)].add(example.label)
    for spelt in spellings.values():
        if len(spelt) > 1:
            what = f"spelt in {len(spelt)} ways: {sorted(spelt)}"
            yield Problem("error", "labels", what, "choose one spelling", "label-slip")
    learnt = Counter(_normal(example.label) for example in splits.get("train", ()) if example.label)
    if len(learnt) == 1 and len(spellings) == 1:
        what = f"all examples have the label {next(iter(learnt))!r}"
        yield Problem("error", "labels", what, "add examples of another class, or leave labels out", "one-class")
        return
    lonely = sorted(label for label, count in learnt.items() if count == 1)
    if lonely:
        what = f"{_count(lonely, 'class', 'classes')} with a single training example"
        yield Problem("warning", listed(lonely), what, "add more of them, or join classes", "lonely-class")
    for name, examples in splits.items():
        labels = {_normal(example.label) for example in examples if example.label}
        if name == "train" or not labels:
            continue
        severities: tuple[tuple[Severity, set[str], str], ...] = (
            ("error", labels - set(learnt), f"in {name} and not in train: they will all be wrong"),
            ("warning", set(learnt) - labels, f"in train and not in {name}: they are not judged"),
        )
        for severity, missing, what in severities:
            if missing and learnt:
                cure = "leave `split` out to have labels divided by the shares, or add examples"
                where = listed(sorted(missing))
                yield Problem(severity, where, f"{_count(missing, 'label')} {what}", cure, "unseen-label")


# ---------------------------------------------------------------- texts


def _groups(examples: Sequence[Example], key: Callable[[Example], Hashable]) -> dict[Hashable, list[Example]]:
    groups: dict[Hashable, list[Example]] = defaultdict(list)
    for example in examples:
        groups[key(example)].append(example)
    return groups


def _asked(example: Example) -> str:
    """All that is given; of running text the text."""
    turns = [turn.content for turn in example.messages if turn.role == "user"]
    return _normal(example.text or (" ".join(turns) if len(turns) > 1 else example.question))


def _said(example: Example) -> list[str]:
    """What the model is to say."""
    if example.messages and example.messages[-1].role == "assistant":
        return [example.messages[-1].content]
    return [answer for answer in (*example.references, example.label) if answer]


def _answers(example: Example) -> set[str]:
    """What would be right, an abstention included; conversations count by their last turn."""
    if not example.answerable:
        return {""}
    return {_normal(answer) for answer in _said(example)} or {_normal(example.rejected)}


def _alike(one: Example, other: Example) -> bool:
    if one.text or other.text or _answers(one) & _answers(other):
        return True
    said = _said(one)[:1] + _said(other)[:1]
    return len(said) == 2 and not one.label and similarity(*said) >= ANSWERS_ALIKE


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _ids(examples: Sequence[Example]) -> str:
    return listed([example.id for example in examples])


def _count(items: Sequence[str] | set[str], one: str = "example", many: str = "") -> str:
    return f"{len(items):,} {one if len(items) == 1 else many or one + 's'}"
