"""Personal data and secrets in examples: what a model has learnt, it may say to anyone.

A small scan by form, for what can be told by form: names and addresses are not found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from bakeoff.errors import DataError
from bakeoff.tuning.check.problems import Problem, listed
from bakeoff.types import Example

CURE = "take them out or make them up, or go on with --allow-personal (`allow_personal = true` under [examples])"


def find_private(examples: Sequence[Example]) -> dict[str, list[tuple[str, str]]]:
    """Kind -> (id of the example, what was found, all but its ends hidden)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for example in examples:
        text = "\n".join(_texts(example))
        for kind, hints, pattern, holds in _KINDS:
            if not any(hint in text for hint in hints):
                continue
            for match in dict.fromkeys(found[0] for found in pattern.finditer(text)):
                if holds(match):
                    found[kind].append((example.id, _hidden(match)))
    return found


def private_problems(examples: Sequence[Example], *, allowed: bool = False) -> Iterator[Problem]:
    """A finding for each kind; only warnings where they are `allowed`."""
    for kind, places in find_private(examples).items():
        ids = list(dict.fromkeys(id for id, _ in places))
        ending = ("es" if kind.endswith("s") else "s") if len(places) > 1 else ""
        what = f"{len(places):,} {kind}{ending}, as in {places[0][1]}"
        yield Problem("warning" if allowed else "error", listed(ids), what, CURE, "personal-data")


def refuse_private(examples: Sequence[Example]) -> None:
    """Raises `DataError` for examples with personal data or secrets in them; to be called before training."""
    problems = list(private_problems(examples))
    if problems:
        shown = "; ".join(f"{problem.what} ({problem.where})" for problem in problems)
        raise DataError(f"the training examples hold {shown}; {CURE}")


def _texts(example: Example) -> Iterator[str]:
    yield from (example.question, *example.references, example.rejected, example.text)
    yield from (message.content for message in example.messages)


def _hidden(value: str) -> str:
    """Enough to find it again, too little to leak it a second time."""
    value = " ".join(value.split())
    if "@" in value:
        name, _, host = value.partition("@")
        return f"{name[0]}***@{host}"
    return f"{value[:4]}***{value[-2:]}"


def _iban(value: str) -> bool:
    """ISO 13616: the whole number, letters as 10 to 35, leaves 1 modulo 97."""
    plain = re.sub(r"\s", "", value)
    digits = "".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])
    return 15 <= len(plain) <= 34 and int(digits) % 97 == 1


def _card(value: str) -> bool:
    """Luhn's check digit, and an issuer that exists."""
    digits = [int(letter) for letter in value if letter.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _phone(value: str) -> bool:
    return 9 <= sum(letter.isdigit() for letter in value) <= 15


def _address(value: str) -> bool:
    """Not the addresses that are reserved for examples (RFC 2606)."""
    return not re.search(r"@(?:.*\.)?(?:example\.(?:com|org|net)|[\w-]+\.(?:example|invalid|test))$", value.lower())


def _any(value: str) -> bool:
    return True


_DIGITS = tuple("0123456789")
# One of the hints must be there: without that look first, the patterns took most of the time of a whole check.
_KINDS: tuple[tuple[str, tuple[str, ...], re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        "e-mail address",
        ("@",),
        re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"),
        _address,
    ),
    # Without a leading + or brackets, numbers of orders and parts look the same.
    (
        "phone number",
        ("+", "("),
        re.compile(r"(?<![\w+])\+\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,6}(?!\w)|\(\d{3}\) ?\d{3}-\d{4}(?!\w)"),
        _phone,
    ),
    ("IBAN", _DIGITS, re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"), _iban),
    (
        "card number",
        _DIGITS,
        re.compile(r"(?<![\w.-])(?:4\d{3}|5[1-5]\d{2}|6011|3[47]\d{2})(?:[ -]?\d{3,6}){3}(?![\w-])"),
        _card,
    ),
    (
        "US social security number",
        _DIGITS,
        re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
        _any,
    ),
    ("private key", ("PRIVATE KEY",), re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"), _any),
    (
        "access key",
        ("k-", "k_live_", "gh", "glpat-", "hf_", "AKIA", "AIza", "xox", "npm_", "eyJ"),
        re.compile(
            r"\b(?:sk-(?:ant-|proj-|live-)?[\w-]{20,}|[sr]k_live_\w{20,}|gh[pousr]_\w{36,}|github_pat_\w{60,}"
            r"|glpat-[\w-]{20,}|hf_[A-Za-z]{30,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{20,}"
            r"|npm_\w{36}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
        ),
        _any,
    ),
)
