"""BERT's tokenizer: text becomes words, and words the longest pieces that the vocabulary holds.

Source: Devlin and others, BERT (2019), and its reference `tokenization.py`: control characters dropped, accents
stripped, lower case, punctuation and Chinese characters as words of their own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

LONGEST = 100
"""Characters of a word that is still looked up."""
WORDS = 200_000
"""Words that are remembered."""
BYTES = 4
"""Of a word that the vocabulary lacks, for each token that it counts as.

To the embedder it is one token however long, so a passage of 128 could be 6,000 Thai letters: 11,372 tokens of
SmolLM2, too many for any prompt. By their bytes, the longest of Thai, Hindi, Arabic and hex had 362 (docs/log.md).
"""


class WordPiece:
    """`vocabulary` in the order of its ids, with `##` before pieces that continue a word."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._start, self._end, self._unknown = (self._ids[token] for token in ("[CLS]", "[SEP]", "[UNK]"))
        self._known: dict[str, tuple[int, ...]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids between [CLS] and [SEP]."""
        return [self._start, *(id for _, pieces in self._cut(text) for id in pieces), self._end]

    def count(self, text: str) -> int:
        """How many `ids` there are, or more: a word that the vocabulary lacks counts by its length."""
        unknown = (self._unknown,)
        return 2 + sum(unknown_tokens(word) if pieces == unknown else len(pieces) for word, pieces in self._cut(text))

    def _cut(self, text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        for word in _words(text):
            pieces = self._known.get(word)
            if pieces is None:
                if len(self._known) >= WORDS:
                    self._known.clear()
                pieces = self._known[word] = self._pieces(word)
            yield word, pieces

    def _pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > LONGEST:
            return (self._unknown,)
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self._ids.get(mark + word[start:end])
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return (self._unknown,)
        return tuple(pieces)


def unknown_tokens(word: str) -> int:
    """What a word that the vocabulary lacks counts as."""
    return -(-len(word.encode("utf-8", "surrogatepass")) // BYTES)


def _words(text: str) -> Iterator[str]:
    kept = (letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter) != "Mn")
    word = ""
    for letter in "".join(kept).lower():
        if letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf", "Zs"):
            # A control character joins what stands around it; white space parts it.
            if letter.isspace() or unicodedata.category(letter) == "Zs":
                if word:
                    yield word
                word = ""
        elif _alone(letter):
            if word:
                yield word
            yield letter
            word = ""
        else:
            word += letter
    if word:
        yield word


def _alone(letter: str) -> bool:
    """Punctuation, every ASCII sign, and Chinese characters."""
    code = ord(letter)
    if code < 128:
        return not letter.isalnum()
    return unicodedata.category(letter).startswith("P") or any(low <= code <= high for low, high in _CHINESE)


_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
