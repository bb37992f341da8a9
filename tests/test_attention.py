"""Attention of short rows, held against torch's kernel in fp32."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers.integrations import sdpa_attention  # noqa: E402

from bakeoff.tuning import attention  # noqa: E402

MODULE: Any = SimpleNamespace(num_key_value_groups=3, is_causal=True)


def tensors(asked: int = 37, held: int = 37) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    shapes = ((2, 9, asked, 16), (2, 3, held, 16), (2, 3, held, 16))
    one, two, three = (torch.randn(shape, dtype=torch.bfloat16).requires_grad_() for shape in shapes)
    return one, two, three


def padding(asked: int, held: int) -> Any:
    """The second of two rows ends 5 tokens before the first."""
    mask = torch.ones(asked, held, dtype=torch.bool).tril(held - asked).repeat(2, 1, 1, 1)
    mask[1, :, :, held - 5 :] = False
    return mask


@pytest.mark.parametrize("mask", [None, padding(37, 37)])
def test_states_and_gradients_are_those_of_the_kernel(mask: Any) -> None:
    given = tensors()
    made, _ = attention.attend(MODULE, *given, mask)
    query, key, value = (one.detach().float().requires_grad_() for one in given)
    right, _ = sdpa_attention.sdpa_attention_forward(MODULE, query, key, value, mask)
    torch.testing.assert_close(made.float(), right, atol=0.03, rtol=0.03)
    shown = torch.randn_like(right)
    pairs = zip(
        torch.autograd.grad((made.float() * shown).sum(), given),
        torch.autograd.grad((right * shown).sum(), (query, key, value)),
        strict=True,
    )
    for ours, theirs in pairs:
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()


def test_queries_at_some_places_see_what_the_mask_shows_them() -> None:
    given, mask = tensors(asked=4), padding(4, 37)
    made, _ = attention.attend(MODULE, *given, mask)
    query, key, value = (one.float() for one in given)
    right, _ = sdpa_attention.sdpa_attention_forward(MODULE, query, key, value, mask)
    torch.testing.assert_close(made.float(), right, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (lambda one: one.float(), {}),
        (lambda one: one.repeat(1, 1, 20, 1), {}),
        (lambda one: one, {"dropout": 0.1}),
        (lambda one: one, {"position_bias": torch.zeros(2, 9, 37, 37, dtype=torch.bfloat16)}),
    ],
)
def test_what_is_not_understood_goes_to_the_kernel(
    change: Any, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def kernel(*_: Any, **named: Any) -> tuple[None, None]:
        asked.append(named)
        return None, None

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", kernel)
    query, key, value = map(change, tensors())
    attention.attend(MODULE, query, key, value, None, **more)
    assert asked == [more]
    attention.attend(MODULE, *tensors(), None)
    assert len(asked) == 1
