"""Normalise answers, so that the same fact in other clothes is the same tokens.

Lower case without accents; articles dropped; numbers ("1,200", "1200.0", "twelve", "3 million"), ordinals, currency
and % signs, month names and dates, and simple units brought to one form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from bakeoff.types import Answer, Example

ARTICLES = frozenset(("a", "an", "the"))
NEGATIONS = frozenset(("not", "never", "nor", "neither"))
_FUNCTION_WORDS = (
    "about after all also am and any are as at be been before being but by can could did do does for from had has have"
    " he her his how i if in into is it its may me more most must my no not of on or our shall she should so some such"
    " than that their them then there these they this those to under until up was we were what when where which while"
    " who why will with would you your yes"
)
STOPWORDS = ARTICLES | frozenset(_FUNCTION_WORDS.split())

_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
    " fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = {word: n for words in (_CARDINALS, _ORDINALS) for n, word in enumerate(words.split())}
_NUMBERS |= {word: 10 * n for n, word in enumerate(_TENS.split(), start=2)}
_NUMBERS |= {word.removesuffix("y") + "ieth": _NUMBERS[word] for word in _TENS.split()}
_AFTER_TENS = re.compile(f"({_TENS.replace(' ', '|')})[ -]$")
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

_MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = _MONTH_NAMES.split()
_UNITS = {
    "km": "kilometre kilometer",
    "m": "metre meter",
    "cm": "centimetre centimeter",
    "mm": "millimetre millimeter",
    "kg": "kilogram kilogramme kilo",
    "g": "gram gramme",
    "l": "litre liter",
    "mile": "mi",
    "hour": "h hr",
    "minute": "min",
    "s": "second sec",
    "year": "yr",
    "percent": "% pct",
    "dollar": "$ usd",
    "euro": "€ eur",
    "pound": "£ gbp",
    "day": "",
    "week": "",
    "month": "",
}
_SAME = {form: unit for unit, forms in _UNITS.items() for name in (unit, *forms.split()) for form in (name, name + "s")}
_SAME |= {month[:3]: month for month in MONTHS} | {"sept": "september"}
# After a number these are units; elsewhere a letter, or an ordinal.
_ONLY_AFTER_NUMBER = frozenset(("m", "g", "l", "h", "s", "ms", "gs", "ls", "hs", "second", "min", "mi"))

_THINKING = re.compile(r"^.*</think>|<think>.*$", re.DOTALL)
_MARK = re.compile(r"\s*\[\d+(?:\s*[,;–-]\s*\d+)*\]")
_ISO_DATE = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-([0-2]\d|3[01])\b")
_CURRENCY_FIRST = re.compile(r"([$€£])\s?(\d+(?:\.\d+)?(?: (?:thousand|million|billion))?)")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[%$€£]")
_CLAUSE_END = re.compile(r"[,;:!?\n]|\.(?!\d)")


def reply(text: str) -> str:
    """What is replied: without thinking blocks."""
    return _THINKING.sub("", text).strip()


def spoken(text: str) -> str:
    """What was said: without thinking blocks and citation marks."""
    return _MARK.sub("", reply(text)).strip()


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """Normalised tokens without articles; the articles stay where nothing else is left, as in the choice "A"."""
    words = _words(text)
    return tuple(word for word in words if word not in ARTICLES) or words


@lru_cache(maxsize=256)
def clauses(text: str) -> list[tuple[str, ...]]:
    """The tokens of each part between marks of punctuation."""
    return [tokens(part) for part in _CLAUSE_END.split(_plain(text)) if part.strip()]


def content(text: str) -> list[str]:
    """Tokens that carry content, cut by a light suffix rule."""
    return [stem(token) for token in tokens(text) if token not in STOPWORDS]


def stem(token: str) -> str:
    """Cut the commonest English endings; words of up to four letters stay."""
    for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("ly", ""), ("s", ""), ("e", "")):
        if token.endswith(ending) and len(token) - len(ending) >= 4 and token.isalpha():
            return token.removesuffix(ending) + instead
    return token


def references(example: Example) -> tuple[str, ...]:
    """The right answers: the references, else the label."""
    return example.references or ((example.label,) if example.label else ())


def graded(example: Example, answer: Answer, compare: Callable[[str, str], float]) -> float | None:
    """The best of `compare(said, reference)`; refusing is right exactly where the documents do not say.

    None when there is nothing to score against.
    """
    if not example.answerable:
        return float(answer.outcome == "abstained")
    right = references(example)
    if not right:
        return None
    if answer.outcome in ("abstained", "error"):
        return 0.0
    said = spoken(answer.text)
    return max(compare(said, reference) for reference in right)


# ---------------------------------------------------------------- inside


def _words(text: str) -> tuple[str, ...]:
    words: list[str] = []
    text = _plain(text)
    for match in _TOKEN.finditer(text):
        token, after_number = match.group(), bool(words) and words[-1][0].isdecimal()
        if token[0].isdecimal():
            words.append(_number(Decimal(token)))
        elif after_number and token in _SCALES:
            words[-1] = _number(Decimal(words[-1]) * _SCALES[token])
        elif token in _SAME and (after_number or token not in _ONLY_AFTER_NUMBER):
            words.append(_SAME[token])
        elif token in _NUMBERS:
            _add_number(words, _NUMBERS[token], before=text[: match.start()])
        else:
            words.append(token)
    return tuple(words)


def _add_number(words: list[str], number: int, before: str) -> None:
    """Append a number word, or join it to the tens before it: twenty-one."""
    tens = words[-1] if words else ""
    joined = _AFTER_TENS.search(before)
    if joined and 0 < number < 10 and tens.isdecimal():
        words[-1] = str(int(tens) + number)
    else:
        words.append(str(number))


def _number(value: Decimal) -> str:
    """Digits without leading or trailing zeros, never an exponent."""
    return f"{value.normalize():f}"


def _plain(text: str) -> str:
    """Lower case without accents and possessives; dates in words, thousands joined, "n't" as "not"."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    text = "".join(character for character in text if not unicodedata.combining(character))
    text = _ISO_DATE.sub(lambda date: f"{date[3]} {MONTHS[int(date[2]) - 1]} {date[1]}", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = _CURRENCY_FIRST.sub(r"\2 \1", text)
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text)
    text = re.sub(r"n't\b", " not", text).replace("per cent", "percent")
    return re.sub(r"'s\b|(?<=[^\W\d_])\.(?=[^\W\d_]\.)", "", text)
