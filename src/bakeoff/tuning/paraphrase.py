"""The facts of documents said again in other words, for continued training.

A fact that a model has read in one wording only, it can often continue but not be asked for (Allen-Zhu and Li 2023).
Sentences are rewritten by a generator, and what does not hold is dropped: every name and number of the sentence must be
there, and no other. A document of which nothing could be rewritten is given in another order of its sentences instead.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakeoff.errors import ConfigError, DataError
from bakeoff.files import write_atomically
from bakeoff.types import Example, Generator, Message
from bakeoff.words import STOP, content_words, stem, words

MANNERS = (
    "Say the same in other words.",
    "Say the same, beginning with another part of the sentence.",
    "Say the same in simpler words.",
    "Say the same as a question and its answer.",
    "Say the same as one colleague would tell it to another.",
)
"""Each a way to say a sentence; a generator that is never random says it once in each."""
INSTRUCTION = (
    "You rewrite sentences. Keep every name and every number, add nothing, and reply with the new sentence only."
)
SHOTS = (
    ("Books may be kept for 21 days at Millwick Library.", "At Millwick Library, you can have a book for 21 days."),
    ("The harbour master Tom Ashby never opens the lock before 6:30.", "Before 6:30 the lock is never opened by the "
     "harbour master Tom Ashby."),
)  # fmt: skip
TOKENS = 96
WORDS = range(5, 61)
"""Of a sentence that is worth rewriting."""
KEPT = 0.75
"""Share of a sentence's content words, names and numbers among them, that stand in the new one too: with half of them
SmolLM2-135M lost parts of facts, as "because it ends at midnight" (docs/log.md)."""

_SENTENCE = re.compile(r"[^\s].*?(?:[.!?](?=\s|$)|(?=\n|$))")
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NAME = re.compile(r"(?<=[\w,;:)(\"'] )[\"'(]?([A-ZÀ-ÞŠŽČŘĎŤŇŁ][\w'’-]+)")
_COUNTS = frozenset(
    (  # noqa: SIM905
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first second "
        "third fourth fifth half twice once double"
    ).split()
)
_NEGATIONS = frozenset("no not never nobody none nothing neither nor without cannot".split())  # noqa: SIM905

Progress = Callable[[int, int, str], None]


def check(method: str, count: int) -> None:
    """Raises `ConfigError` for a number that is none, and for methods that read no documents."""
    if count and method != "pretrain":
        raise ConfigError(f"paraphrases are for pretrain, which reads documents; leave them out for {method}")
    if not 0 <= count <= len(MANNERS):
        raise ConfigError(
            f"paraphrases is {count}; write 0 to {len(MANNERS)}, the ways in which a sentence is rewritten"
        )


def paraphrased(
    texts: Sequence[Example],
    count: int,
    generator: Generator,
    *,
    path: Path,
    seed: int,
    progress: Progress | None = None,
) -> list[Example]:
    """The texts, each followed by up to `count` versions that say the same.

    Every rewriting is kept in `path`, the dropped ones with the reason, and not asked for again: a line a sentence and
    manner. Lines may be corrected or taken out by hand.
    """
    rewrite = _rewriter(generator, path)
    sentences = list(dict.fromkeys(match[0] for example in texts for match in _worth(example.text)))
    made: dict[tuple[str, int], str] = {}
    for done, (sentence, manner) in enumerate((one, n) for n in range(count) for one in sentences):
        made[sentence, manner] = rewrite(sentence, manner)
        if progress:
            progress(done + 1, count * len(sentences), "paraphrases")
    found: list[Example] = []
    for example in texts:
        found.append(example)
        versions = {example.text: None}
        for manner in range(count):
            text = _replaced(example.text, {sentence: made[sentence, manner] for sentence in sentences})
            if text == example.text:
                text = _permuted(example.text, random.Random(f"{seed} {manner} {example.id}"))
            versions[text] = None
        found += [
            replace(example, id=f"{example.id} paraphrase {number}", text=text)
            for number, text in enumerate(versions)
            if number
        ]
    return found


def fault(sentence: str, rewriting: str) -> str:
    """Why `rewriting` does not say the same as `sentence`, as far as words can show it; "" where nothing is found."""
    before, after = words(sentence), words(rewriting)
    if not after or "\n" in rewriting.strip():
        return "no sentence"
    if before == after:
        return "the same words"
    if not 0.5 <= len(after) / len(before) <= 2:
        return "another length"
    counts = [
        set(_NUMBER.findall(text)) | (_COUNTS & set(said)) for text, said in ((sentence, before), (rewriting, after))
    ]
    if counts[0] != counts[1]:
        return f"other numbers: {', '.join(sorted(counts[0] ^ counts[1]))}"
    if missing := [name for name in _names(sentence) if not set(words(name)) <= set(after)]:
        return f"names are missing: {', '.join(missing)}"
    if added := [name for name in _NAME.findall(rewriting) if not set(words(name)) <= set(before)]:
        return f"names were added: {', '.join(added)}"
    if _negated(sentence, before) != _negated(rewriting, after):
        return "a negation came or went"
    content = {stem(word) for word in content_words(sentence)}
    shared = content & {stem(word) for word in content_words(rewriting)}
    return "" if len(shared) >= KEPT * len(content) else "too little of it is there"


def _names(sentence: str) -> Iterator[str]:
    """Words in capitals inside a sentence; of the first word nobody can tell, so it counts unless it is common."""
    first = re.match(r"\W*(\w[\w'’-]+)", sentence)
    if first and first[1][0].isupper() and first[1].lower() not in STOP and not first[1].lower().endswith("s"):
        yield first[1]
    yield from _NAME.findall(sentence)


def _negated(text: str, said: Sequence[str]) -> bool:
    return bool(_NEGATIONS & set(said)) or bool(re.search(r"n['’]t\b", text))


def _worth(text: str) -> Iterator[re.Match[str]]:
    """Sentences that can be rewritten: no headings, no rows of a table."""
    for match in _SENTENCE.finditer(text):
        if match[0][-1] in ".!?" and len(words(match[0])) in WORDS and "|" not in match[0]:
            yield match


def _replaced(text: str, rewriting: Mapping[str, str]) -> str:
    parts, end = [], 0
    for match in _worth(text):
        parts += [text[end : match.start()], rewriting[match[0]] or match[0]]
        end = match.end()
    return "".join([*parts, text[end:]])


def _permuted(text: str, dice: random.Random) -> str:
    """The sentences of each paragraph in another order."""

    def shuffled(paragraph: str) -> str:
        own = list(_worth(paragraph))
        order = dice.sample(own, len(own))
        parts, end = [], 0
        for place, other in zip(own, order, strict=True):
            parts += [paragraph[end : place.start()], other[0]]
            end = place.end()
        return "".join([*parts, paragraph[end:]])

    return "".join(shuffled(part) for part in re.split(r"(\n\s*\n)", text))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """What stands in the file; a last line that was being written when the process died is taken out of it."""
    *whole, last = path.read_text(encoding="utf-8").split("\n")
    if last:
        whole += [last] if _is_row(last) else []
        write_atomically(path, "".join(f"{line}\n" for line in whole))
    for number, line in enumerate(whole, start=1):
        if not _is_row(line):
            raise DataError(f"{path}:{number}: no rewriting; correct the line, or remove it")
        yield json.loads(line)


def _is_row(line: str) -> bool:
    try:
        return {"sentence", "manner", "rewriting"} <= set(json.loads(line))
    except (ValueError, TypeError):
        return False


def _rewriter(generator: Generator, path: Path) -> Callable[[str, int], str]:
    """(sentence, number of the manner) -> what says the same, or "" ; from the file where it stands there."""
    known: dict[tuple[str, str], str] = {}
    if path.is_file():
        rows = list(_rows(path))
        # Checked again: what was corrected by hand counts, and what was dropped does not come back.
        known = {
            (row["sentence"], row["manner"]): "" if fault(row["sentence"], row["rewriting"]) else row["rewriting"]
            for row in rows
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    shots = [Message(role, text) for asked, said in SHOTS for role, text in (("user", asked), ("assistant", said))]  # type: ignore[arg-type]

    def rewrite(sentence: str, number: int) -> str:
        manner = MANNERS[number]
        if (sentence, manner) not in known:
            asked = [Message("system", f"{INSTRUCTION} {manner}"), *shots, Message("user", sentence)]
            said = generator.generate(asked, max_tokens=TOKENS).text.strip()
            reason = fault(sentence, said)
            row = {"sentence": sentence, "manner": manner, "rewriting": said, "dropped": reason}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            known[sentence, manner] = "" if reason else said
        return known[sentence, manner]

    return rewrite
