"""PEFT, imported in a way that fetches nothing and takes no longer than it must.

Where bitsandbytes is installed, PEFT imports it, which takes longer than PEFT itself; it is hidden until a base is
wanted in four bits. On a CPU with AVX-512 bitsandbytes in turn has the package `kernels`, if there is one, fetch
machine code from a hub; without it, it warns. Both stay out: what runs is what was installed.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """As if those packages were not installed."""
    held = {name: sys.modules.get(name) for name in names}
    sys.modules |= dict.fromkeys(names)  # type: ignore[arg-type]  # None is what Python knows for "not there"
    try:
        yield
    finally:
        for name, module in held.items():
            del sys.modules[name]
            if module:
                sys.modules[name] = module


with _hidden("bitsandbytes", "kernels"):
    from peft import (
        IA3Config,
        LoraConfig,
        PeftConfig,
        PeftModel,
        get_peft_model,
        get_peft_model_state_dict,
        import_utils,
    )

    _KNOWN: tuple[Any, ...] = (import_utils.is_bnb_available, import_utils.is_bnb_4bit_available)
    for one in _KNOWN:
        one()  # remembers that it is not there


def four_bit() -> ModuleType:
    """The layers of bitsandbytes, which PEFT knows from now on; raises `ModuleNotFoundError`."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    with _hidden("kernels"):
        import bitsandbytes.nn
    for known in _KNOWN:
        known.cache_clear()
    layers: ModuleType = bitsandbytes.nn
    return layers


__all__ = [
    "IA3Config",
    "LoraConfig",
    "PeftConfig",
    "PeftModel",
    "four_bit",
    "get_peft_model",
    "get_peft_model_state_dict",
]
