"""Faults of a model's own files: chat template, special tokens, tokenizer and tables that do not fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models.chat import Template, completion, render
from bakeoff.models.vocabulary import Vocabulary
from bakeoff.tuning.check.problems import Problem, listed
from bakeoff.types import Message

FAINT = 0.1
"""Share of the usual length of an embedding below which a token was never trained."""
SAMPLE = 2000
"""Embeddings that tell the usual length."""

_CONTROL = re.compile(r"<\|[^<>|\s]+\|>|<(?:start|end|begin)_of_\w+>|<(?:im|turn)_\w+>")
"""What a template means as one token. Words in brackets, as Llama 2's [INST], are ordinary text."""
_ROLES = ("<|user|>", "<|assistant|>", "<|system|>")
"""Zephyr, TinyLlama, Tulu and OLMo have these as ordinary letters, and were trained on them so."""
_REPLY = "Paris, 42."


@dataclass(frozen=True, slots=True)
class Base:
    """A model as far as a check reads it."""

    name: str
    template: Template
    vocabulary: Vocabulary
    window: int
    """Tokens."""


def model_problems(base: Base) -> Iterator[Problem]:
    """All findings."""
    asked = Message("user", "What is the capital of France?")
    try:
        _, target = completion(base.template, (asked, Message("assistant", _REPLY)))
        whole = render(base.template, (asked, Message("assistant", _REPLY)), generate=False)
    except ModelError as error:
        kind = "renders-apart" if "differently" in str(error) else "template-fails"
        cure = "correct the template in the model's files, or name a model whose template works"
        yield Problem("error", base.name, str(error).partition(";")[0], cure, kind)
        return
    if _REPLY not in target:
        what = f"the template does not write the assistant's reply: {target!r}"
        yield Problem("error", base.name, what, "correct the template, or name another model", "renders-apart")
    yield from _ending(base, target, whole)
    yield from _specials(base, whole)
    yield from _tables(base)
    yield from _system_turn(base, asked)
    yield from _start(base, asked)


def _ending(base: Base, target: str, whole: str) -> Iterator[Problem]:
    """Whether the reply ends with the token at which generation stops."""
    eos = base.template.eos
    after = whole.rpartition(_REPLY)[2]
    if not eos:
        what, cure = "no token ends a reply: generation would never stop", "set eos_token in tokenizer_config.json"
        yield Problem("error", base.name, what, cure, "stop-token")
    elif eos not in after:
        ends = next(iter(_CONTROL.findall(after)), "") or after.strip()
        what = f"the template ends a reply with {ends!r}, and generation stops at {eos!r}"
        cure = f"set eos_token to {ends!r} in the model's files" if ends else f"write {eos!r} after the reply"
        yield Problem("error", base.name, what, f"{cure}, or name another model", "stop-token")
    if eos and base.vocabulary.pad == eos:
        what = f"padding and the end of a reply are both {eos!r}"
        cure = "nothing to do here, where padding is masked by length; trainers that mask it by id never teach to stop"
        yield Problem("note", base.name, what, cure, "pad-is-stop")


def _specials(base: Base, whole: str) -> Iterator[Problem]:
    """Tokens that the template writes, and that the model does not know or was never trained on."""
    written = dict.fromkeys(_CONTROL.findall(whole))
    written |= dict.fromkeys(token for token in (base.template.eos, base.template.bos) if token and token in whole)
    written |= {base.template.eos: None} if base.template.eos else {}
    ids = {token: base.vocabulary.tokenizer.token_to_id(token) for token in written}
    unknown = [token for token, id in ids.items() if id is None and token not in _ROLES]
    letters = [token for token, id in ids.items() if id is None and token in _ROLES]
    if letters:
        what = f"{listed(letters)}: no tokens of the model, so read as letters"
        cure = "nothing to do if its makers trained it so, as those of Zephyr and OLMo did; else correct the template"
        yield Problem("note", base.name, what, cure, "role-letters")
    if unknown:
        what = f"{listed(unknown)}: the template writes what is no token of the model, so it is read as letters"
        cure = "name the model's own instruct version, or correct the template"
        yield Problem("error", base.name, what, cure, "unknown-token")
    known = {token: id for token, id in ids.items() if id is not None}
    faint = [token for token in known if any(_untrained(base, known[token]))]
    if faint:
        what = f"{listed(faint)}: the template writes tokens that the model was never trained on"
        cure = "name the model's instruct version, or a template of tokens that it knows"
        yield Problem("error", base.name, what, cure, "untrained-token")


def _untrained(base: Base, token: int) -> Iterator[bool]:
    """For each table: its vector is far shorter than others, or the very vector of another token."""
    for table in base.vocabulary.tables:
        if token >= table.rows:
            continue
        others = np.unique(np.linspace(0, table.rows - 1, min(SAMPLE, table.rows)).astype(int))
        # Reserved tokens stand side by side, and those that were never trained are often all the same.
        others = np.union1d(others, np.clip(np.arange(token - 32, token + 33), 0, table.rows - 1))
        others = others[others != token]
        vectors, own = table.vectors(others.tolist()), table.vectors([token])[0]
        usual = float(np.median(np.linalg.norm(vectors, axis=1)))
        yield bool(np.linalg.norm(own) < FAINT * usual or (np.abs(vectors - own).max(axis=1) == 0).any())


def _tables(base: Base) -> Iterator[Problem]:
    highest = max(base.vocabulary.tokenizer.get_vocab(with_added_tokens=True).values())
    for table in base.vocabulary.tables:
        if highest >= table.rows:
            what = f"the tokenizer knows {highest + 1:,} tokens, and the model has vectors for {table.rows:,}"
            cure = "take tokenizer and weights from the same download, or resize the model before it is tuned"
            yield Problem("error", base.name, what, cure, "vocabulary-size")
            return


def _system_turn(base: Base, asked: Message) -> Iterator[Problem]:
    """An instruction that the template leaves out is never seen."""
    told = Message("system", "Answer in Czech.")
    cure = "put instructions into the question, or name a model whose template takes them"
    try:
        if told.content in render(base.template, (told, asked)):
            return
        what = "the template leaves out system messages"
    except ModelError:
        what = "the template refuses system messages"
    yield Problem("warning", base.name, what, cure, "system-turn")


def _start(base: Base, asked: Message) -> Iterator[Problem]:
    """Whether the tokenizer adds the first token once more to a prompt that begins with it."""
    bos, tokenizer = base.template.bos, base.vocabulary.tokenizer
    added = tokenizer.encode("a", add_special_tokens=True).ids[:1]
    if bos and added == [tokenizer.token_to_id(bos)] and render(base.template, (asked,)).startswith(bos):
        what = f"template and tokenizer both write {bos!r} first"
        cure = "nothing to do here, where only the template does; other trainers and servers may write it twice"
        yield Problem("note", base.name, what, cure, "double-start")
