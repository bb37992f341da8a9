"""Texts that say nearly the same: MinHash proposes pairs, their exact Jaccard similarity decides.

Letters, not words: questions are short, and forms of a word should count as nearly the same. An index of rare sequences
in place of MinHash finds every pair, but in texts of few different sequences it compared nearly all of them with each
other: 124 s for 10,000 rows of numbered words, where this takes 4 (docs/log.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Hashes = NDArray[np.uint64]

GRAM = 5
"""Letters: of a question of eight words, one other word changes a quarter of them."""
KEPT = 400
"""Members of a text: the lowest hashes, a fair sample of texts of more than about 400 letters."""
SIMILAR = 0.8
BANDS, ROWS = 20, 6
"""One of 20 bands of 6 lowest hashes is the same in 99.8% of pairs with a similarity of 0.8, in 27% of those at 0.5."""
CROWD = 16
"""Texts that share a band are compared with so many after them, in the order of the next band: a crowd is a chain."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SALTS = np.random.default_rng(0).integers(0, 2**64, BANDS * ROWS, dtype=np.uint64)


def similar_pairs(texts: Sequence[str], at_least: float = SIMILAR) -> list[tuple[int, int]]:
    """Places (i, j), i < j, of texts whose 5-letter sequences have a Jaccard similarity of `at_least` or more."""
    if len(texts) < 2:
        return []
    sets = [_members(text) for text in texts]
    sizes = np.array([len(members) for members in sets])
    ones, others = _proposed(np.array([_lowest(members) for members in sets]))
    close = np.minimum(sizes[ones], sizes[others]) >= at_least * np.maximum(sizes[ones], sizes[others])
    ones, others = ones[close], others[close]
    known, columns = np.unique(np.concatenate(sets), return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    matrix = csr_array((np.ones(len(columns), dtype=np.int32), columns, starts), shape=(len(sets), len(known)))
    found: list[tuple[int, int]] = []
    for start in range(0, len(ones), 50_000):  # bounds memory
        i, j = ones[start : start + 50_000], others[start : start + 50_000]
        shared = np.asarray(matrix[i].multiply(matrix[j]).sum(axis=1)).ravel()
        alike = shared >= at_least * (sizes[i] + sizes[j] - shared)
        found += zip(i[alike].tolist(), j[alike].tolist(), strict=True)
    return found


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two texts, from 0 to 1."""
    a, b = _members(one), _members(other)
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def plain(text: str) -> str:
    """In lower case, words parted by one space, without punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _proposed(lowest: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of rows of `lowest` [texts, BANDS * ROWS] that agree in a whole band."""
    count = len(lowest)
    bands = np.zeros((count, BANDS), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in range(ROWS):
            bands = _mixed(bands + lowest[:, place::ROWS])
    pairs = [np.empty(0, dtype=np.intp)]
    for number in range(BANDS):
        band = bands[:, number]
        order = np.lexsort((bands[:, (number + 1) % BANDS], band))
        for step in range(1, min(CROWD, count - 1) + 1):
            together = band[order[step:]] == band[order[:-step]]
            if not together.any():
                break
            one, other = order[:-step][together], order[step:][together]
            pairs.append(np.minimum(one, other) * count + np.maximum(one, other))
    ones, others = np.divmod(np.unique(np.concatenate(pairs)), count)
    return ones, others


def _lowest(members: Hashes) -> Hashes:
    """The lowest of the members under each of BANDS * ROWS hash functions."""
    lowest: Hashes = ((members[:, None] ^ _SALTS) * _MULTIPLIER).min(axis=0)
    return lowest


def _members(text: str) -> Hashes:
    """Hashes of the 5-letter sequences of `text`, sorted; never empty."""
    letters = np.frombuffer(plain(text).ljust(GRAM).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    hashes = np.zeros(len(letters) - GRAM + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in range(GRAM):
            hashes = _mixed(hashes + letters[place : place + len(hashes)])
    if len(hashes) > 4 * KEPT:  # to sort all of a long text would take most of the time
        hashes = np.partition(hashes, 4 * KEPT)[: 4 * KEPT]
    return np.unique(hashes)[:KEPT]


def _mixed(hashes: Hashes) -> Hashes:
    """Each bit depends on all bits (splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
