"""How long the rows of a training are in tokens, what of them is learnt, and which could not be learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bakeoff.errors import DataError, ModelError
from bakeoff.models.chat import completion
from bakeoff.tuning.check.model import Base
from bakeoff.tuning.check.problems import Problem, listed
from bakeoff.tuning.rows import lesson
from bakeoff.types import Example

BATCH = 1000
"""Rows that are tokenised at once; bounds memory."""
NO_REPLY = "unlearnable"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows."""

    prompts: tuple[int, ...]
    replies: tuple[int, ...]
    """With the token that ends them; only these are learnt."""

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(self.prompts, self.replies, strict=True)))

    @property
    def masked(self) -> float:
        """Share of all tokens that is given and not learnt."""
        return sum(self.prompts) / max(1, sum(self.rows))

    def __str__(self) -> str:
        median, late = np.percentile(self.rows, [50, 95])
        return (
            f"{len(self.rows):,} rows of {median:.0f} tokens (95% up to {late:.0f}, longest {max(self.rows):,}); "
            f"{self.masked:.0%} of them is prompt and carries no loss"
        )


def measure(examples: Sequence[Example], base: Base, max_length: int) -> tuple[Lengths, list[Problem]]:
    """Render and tokenise every example as training does; findings name the rows that could not be trained on."""
    texts, ids, failed, silent = list[tuple[str, str]](), list[str](), dict[str, str](), list[str]()
    for example in examples:
        try:
            texts.append(completion(base.template, lesson(example)))
            ids.append(example.id)
        except DataError:
            if not example.answerable or example.label:  # of others the check of the data says so
                silent.append(example.id)
        except ModelError as error:
            failed[example.id] = str(error).partition(";")[0]
    prompts, replies, last = list[int](), list[int](), list[list[int]]()
    for start in range(0, len(texts), BATCH):
        for part, found in ((0, prompts), (1, replies)):
            batch = [text[part] for text in texts[start : start + BATCH]]
            encoded = base.vocabulary.tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            found += [len(one.ids) for one in encoded]
            last += [one.ids[-1:] for one in encoded] if part else []
    lengths = Lengths(tuple(prompts), tuple(replies))
    stop = base.vocabulary.tokenizer.token_to_id(base.template.eos)
    empty = [id for id, (_, reply) in zip(ids, texts, strict=True) if not reply.removesuffix(base.template.eos).strip()]
    unended = [id for id, tokens in zip(ids, last, strict=True) if stop is not None and tokens != [stop]]
    problems = [
        *_failed(failed),
        *_silent(silent),
        *_nothing(empty),
        *_unended(unended, base),
        *_long(lengths, ids, base, max_length),
    ]
    problems += _controls(examples, base.template.specials)
    return lengths, problems


def text_tokens(examples: Sequence[Example], base: Base) -> int:
    """Tokens of all running text; of more than `BATCH` texts, as a fair sample of that many has them."""
    texts = [example.text for example in examples if example.text]
    sample = texts[:: max(1, -(-len(texts) // BATCH))]
    encoded = base.vocabulary.tokenizer.encode_batch_fast(sample, add_special_tokens=False)
    share = sum(map(len, texts)) / max(1, sum(map(len, sample)))
    return round(share * sum(len(one.ids) for one in encoded))


def _failed(failed: dict[str, str]) -> Iterator[Problem]:
    if failed:
        reason = next(iter(failed.values()))
        cure = (
            "let user and assistant take turns, user first, and put what a system message says into the user's first; "
            "or name a model whose template takes such conversations"
        )
        what = f"the chat template refuses {len(failed):,} conversations: {reason}"
        yield Problem("error", listed(list(failed)), what, cure, "template-fails")


def _silent(silent: Sequence[str]) -> Iterator[Problem]:
    if silent:
        what = f"{len(silent):,} rows have no reply to learn, and training would stop there"
        cure = 'add `references`, take a `lesson` that answers them, or give them split = "test"'
        yield Problem("error", listed(silent), what, cure, NO_REPLY)


def _nothing(empty: Sequence[str]) -> Iterator[Problem]:
    if empty:
        what = f"nothing to learn in {len(empty):,} rows: the reply is empty as the template writes it"
        yield Problem("error", listed(empty), what, "write replies, or remove the rows", "nothing-to-learn")


def _unended(unended: Sequence[str], base: Base) -> Iterator[Problem]:
    if unended:
        what = f"{len(unended):,} rows do not end with {base.template.eos!r}: the model would not learn to stop"
        yield Problem("error", listed(unended), what, "correct the template, or name another model", "stop-token")


def _long(lengths: Lengths, ids: Sequence[str], base: Base, max_length: int) -> Iterator[Problem]:
    limit = min(max_length, base.window)
    rows, prompts = lengths.rows, lengths.prompts
    long = [place for place, tokens in enumerate(rows) if tokens > limit]
    if not long:
        return
    whole = sum(prompts[place] >= limit for place in long)
    lost = sum(rows[place] - max(limit, prompts[place]) for place in long)
    longest = max(rows)
    share = f"{len(long):,} of {len(rows):,} rows ({len(long) / len(rows):.0%})"
    name = f"max_length={max_length}" if max_length <= base.window else f"the model's window of {base.window}"
    what = (
        f"{share} are longer than {name}, the longest has {longest:,} tokens; cut there, {whole:,} would lose their "
        f"whole answer and all of them {lost:,} tokens of answers"
    )
    cure = f"set max_length = {longest}, or shorten them" if longest <= base.window else "shorten or divide them"
    yield Problem("error", listed([ids[place] for place in long]), what, cure, "too-long")


def _controls(examples: Sequence[Example], specials: Sequence[str]) -> Iterator[Problem]:
    """Contents that hold the model's own control tokens, by accident or to take a turn that is not theirs."""
    texts: Callable[[Example], Sequence[str]] = lambda example: (  # noqa: E731
        example.question, *example.references, example.rejected, example.text, *(m.content for m in example.messages)
    )  # fmt: skip
    found = [
        example.id for example in examples if any(special in text for text in texts(example) for special in specials)
    ]
    if found:
        what = f"{len(found):,} examples hold control tokens of the model in their text"
        cure = "take them out; here they are taken apart and cannot act, other trainers and servers obey them"
        yield Problem("warning", listed(found), what, cure, "token-in-data")
