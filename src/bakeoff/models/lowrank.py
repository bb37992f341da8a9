"""PEFT, imported in a way that fetches nothing.

Where bitsandbytes is installed, PEFT imports it, and on a CPU with AVX-512 bitsandbytes has the package `kernels`, if
there is one, fetch machine code from a hub; without it, it warns. Both stay out: what runs is what was installed.
"""

import logging
import sys

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
_kernels = sys.modules.get("kernels")
sys.modules["kernels"] = None  # type: ignore[assignment]  # as if it were not installed
try:
    from peft import (
        IA3Config,
        LoraConfig,
        PeftConfig,
        PeftModel,
        get_peft_model,
        get_peft_model_state_dict,
    )
finally:
    del sys.modules["kernels"]
    if _kernels:
        sys.modules["kernels"] = _kernels

__all__ = ["IA3Config", "LoraConfig", "PeftConfig", "PeftModel", "get_peft_model", "get_peft_model_state_dict"]
