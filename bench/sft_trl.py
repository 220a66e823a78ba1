"""TRL: SFTTrainer with LoRA by peft on torch's CPU back-end, transformers' Gemma 3.

Its defaults but for: float32 (default bfloat16), gradient checkpointing off (default on, which is
slower), batches in the given order, padding to the workload's length, no files and no reports.
"""

import os
import tempfile
from pathlib import Path

import datasets
import torch
from peft import LoraConfig
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from bench import worker
from bench.sft_workloads import EXAMPLES_PER_STEP, Workload
from reasoning_lab.engine import locate
from reasoning_lab.engine.architecture import ARCHITECTURES

_WEIGHTS = "model.safetensors"
_CONTROL = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}


def measure(workload: Workload) -> worker.SFTResult:
    torch.set_num_threads(os.cpu_count() or 1)
    steps = worker.WARMUP_STEPS + workload.peer_steps
    clock = worker.StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            load_model(locate.model_folder(worker.MODEL)),
            args=SFTConfig(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=EXAMPLES_PER_STEP,
                learning_rate=worker.LEARNING_RATE,
                completion_only_loss=True,
                pad_to_multiple_of=workload.pad_to,
                train_sampling_strategy="sequential",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=_dataset(workload, steps),
            processing_class=_padding_only_tokenizer(),
            peft_config=lora_config(),
            callbacks=[Ticks(clock)],
        )
        trainer.train()
    return worker.SFTResult(
        seconds=clock.timed,
        initial_loss=trainer.state.log_history[0]["loss"],
        peak_bytes=worker.peak_bytes(),
        matmul_flops=worker.matmul_flops(torch.matmul, torch.from_numpy),
        versions=worker.versions("trl", "torch", "transformers", "peft"),
    )


class Ticks(TrainerCallback):
    def __init__(self, clock: worker.StepClock) -> None:
        self._clock = clock

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        self._clock.step_ended()


def lora_config() -> LoraConfig:
    return LoraConfig(
        r=worker.LORA.rank,
        lora_alpha=worker.LORA.alpha,
        target_modules=list(worker.LORA.target_modules),
        task_type="CAUSAL_LM",
    )


def load_model(weights: Path) -> Gemma3ForCausalLM:
    """transformers' model from a folder that lacks its configuration files."""
    arch = ARCHITECTURES[worker.MODEL.architecture]
    config = Gemma3TextConfig(
        vocab_size=arch.vocab_size,
        hidden_size=arch.embed_dim,
        intermediate_size=arch.hidden_dim,
        num_hidden_layers=arch.num_layers,
        num_attention_heads=arch.num_heads,
        num_key_value_heads=arch.num_kv_heads,
        head_dim=arch.head_dim,
        query_pre_attn_scalar=arch.head_dim,
        sliding_window=arch.sliding_window,
        max_position_embeddings=32_768,
        dtype="float32",
    )
    with tempfile.TemporaryDirectory() as complete:
        (Path(complete) / _WEIGHTS).symlink_to(weights / _WEIGHTS)
        config.save_pretrained(complete)
        GenerationConfig().save_pretrained(complete)
        return Gemma3ForCausalLM.from_pretrained(complete, dtype=torch.float32)


def _dataset(workload: Workload, steps: int) -> datasets.Dataset:
    examples = [example for batch in workload.batches[:steps] for example in batch]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(example.tokens) for example in examples],
            "completion_mask": [
                [int(i >= example.prompt_length) for i in range(len(example.tokens))]
                for example in examples
            ],
        }
    )


def _padding_only_tokenizer() -> PreTrainedTokenizerFast:
    """TRL asks its tokenizer for the padding token; the examples are token ids already."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(_CONTROL, unk_token="<unk>")),
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


if __name__ == "__main__":
    worker.run(measure, Workload.load)
