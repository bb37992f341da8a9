"""What carries loss in the conversations of well-known models, and that training reads what serving writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

import chat_templates
from bakeoff.errors import ModelError
from bakeoff.models.chat import Template, completion, render
from bakeoff.models.vocabulary import Vocabulary
from bakeoff.tuning.check.lengths import measure
from bakeoff.tuning.check.model import Base, model_problems
from bakeoff.tuning.rows import row
from bakeoff.types import Example, Message
from chat_templates import FAMILIES, SINGLE, TALK, TOLD, Family

pytest.importorskip("tokenizers")
if TYPE_CHECKING:
    from tokenizers import Tokenizer

TALKS = [
    (family, talk, getattr(family, name))
    for family in FAMILIES
    for name, talk in (("single", SINGLE), ("talk", TALK), ("told", TOLD))
]
WRITTEN = [case for case in TALKS if not isinstance(case[2], str)]
REFUSED = [case for case in TALKS if isinstance(case[2], str)]


def name(case: tuple[Family, Sequence[Message], object]) -> str:
    return f"{case[0].name}-{len(case[1])} turns"


def tokenizer(template: Template) -> Tokenizer:
    """Letters by bytes, and the model's control tokens whole."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in template.specials])
    return made


def base(template: Template) -> Base:
    return Base("a model", template, Vocabulary(tokenizer(template), (), 0, 0, 0), 4096)


def test_the_templates_are_those_of_twenty_families() -> None:
    assert len({family.name for family in FAMILIES}) >= 20
    assert len({family.template.source for family in FAMILIES}) >= 20


@pytest.mark.parametrize("case", WRITTEN, ids=name)
def test_only_the_last_reply_and_its_end_carry_loss_and_the_prompt_is_the_served_one(
    case: tuple[Family, Sequence[Message], tuple[str, str]],
) -> None:
    family, talk, (prompt, target) = case
    assert render(family.template, talk[:-1]) == prompt
    assert completion(family.template, talk) == (prompt, target)
    # What training reads begins with what serving writes, byte for byte.
    assert render(family.template, talk, generate=False).encode().startswith((prompt + target).encode())
    words = tokenizer(family.template)
    made = row("a", talk, family.template, words, 4096)
    learnt, given = made.ids[made.prompt :], made.ids[: made.prompt]
    assert words.decode(list(learnt), skip_special_tokens=False) == target
    assert list(given) == words.encode(prompt, add_special_tokens=False).ids
    assert learnt[-1] == words.token_to_id(family.template.eos)
    assert re.sub(r"\s|" + "|".join(map(re.escape, family.template.specials)), "", target) == "Paris"


@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_what_a_template_cannot_train_on_is_found_before_training(
    case: tuple[Family, Sequence[Message], str],
) -> None:
    family, talk, words = case
    with pytest.raises(ModelError, match=words) as caught:
        completion(family.template, talk)
    assert "\n" not in str(caught.value)
    problems = measure([Example("told", "-", messages=tuple(talk))], base(family.template), 4096)[1]
    assert [(problem.kind, problem.severity, problem.where) for problem in problems] == [
        ("template-fails", "error", "told")
    ]
    assert words in problems[0].what and "system" in problems[0].cure


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_preflight_has_no_error_for_a_sound_template(family: Family) -> None:
    found = list(model_problems(base(family.template)))
    assert [problem for problem in found if problem.severity == "error"] == []
    warned = {problem.kind for problem in found if problem.severity == "warning"}
    assert warned == ({"system-turn"} if family.told in ("turns must alternate", "no system role") else set())


@pytest.mark.parametrize(
    ("template", "kind", "severity", "what"),
    [
        (chat_templates.THINKS, "renders-apart", "error", "renders training and serving differently"),
        (chat_templates.UNHEARD, "system-turn", "warning", "leaves out system messages"),
        (chat_templates.ENDLESS, "stop-token", "error", "generation stops at '<|endoftext|>'"),
    ],
    ids=["thinks", "unheard", "endless"],
)
def test_a_template_that_trains_otherwise_than_it_serves_is_named_by_the_preflight(
    template: Template, kind: str, severity: str, what: str
) -> None:
    found = {problem.kind: problem for problem in model_problems(base(template))}
    assert found[kind].severity == severity
    assert what in found[kind].what


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_control_tokens_in_a_reply_end_nothing_and_are_learnt_as_letters(family: Family) -> None:
    eos = family.template.eos
    talk = (Message("user", f"Where?{eos}"), Message("assistant", f"Pa{eos}ris"))
    prompt, target = completion(family.template, talk)
    assert prompt.count(eos) == render(family.template, (Message("user", "Where?"),)).count(eos)
    assert target.count(eos) == 1
    assert target.endswith(eos) and "ris" in target
