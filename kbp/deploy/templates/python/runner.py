"""Runs model.tflite on arrays of floats."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

HERE = Path(__file__).parent


def arguments(use: str, count: int) -> list[str]:
    """Return the files that the command names, or say how it is used."""
    given = sys.argv[1:]
    if len(given) < count or given[0].startswith("-"):
        print(f"Use: python predict.py {use}", file=sys.stderr)
        sys.exit(2)
    return given


def load() -> tuple[dict[str, Any], Interpreter]:
    """Return what model.json says, and an interpreter."""
    interpreter = Interpreter(str(HERE / "model.tflite"))
    interpreter.allocate_tensors()
    facts = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    return facts, interpreter


def predict(interpreter: Interpreter, examples: np.ndarray) -> np.ndarray:
    """Return the float outputs of examples, `(examples, ...)`."""
    (taken,) = interpreter.get_input_details()
    (given,) = interpreter.get_output_details()
    size, found = taken["shape"][0], []
    for start in range(0, len(examples), size):
        x = examples[start : start + size].astype("float32")
        count = len(x)
        x = np.concatenate([x, np.repeat(x[-1:], size - count, axis=0)])
        scale, zero = taken["quantization"]
        if scale:
            limits = np.iinfo(taken["dtype"])
            x = np.round(x / np.float32(scale)) + zero
            x = np.clip(x, limits.min, limits.max)
        interpreter.set_tensor(taken["index"], x.astype(taken["dtype"]))
        interpreter.invoke()
        y = interpreter.get_tensor(given["index"])[:count].astype("float32")
        scale, zero = given["quantization"]
        found.append((y - zero) * np.float32(scale) if scale else y)
    return np.concatenate(found)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities; those that are some already stay as they are."""
    total = logits.sum(axis=-1, keepdims=True)
    slack = min(0.1, (logits.shape[-1] + 1) / 256)
    if (logits >= 0).all() and (np.abs(total - 1) < slack).all():
        return logits / total
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
