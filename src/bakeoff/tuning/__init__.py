"""Fine-tuning: `tune("lora", "smollm2-135m", examples, out="checkpoints/lora")`."""

from bakeoff.tuning.run import load_checkpoint, tune

__all__ = ["load_checkpoint", "tune"]
