"""TRL: GRPOTrainer with LoRA by peft on torch's CPU back-end, transformers' Gemma 3 and generate.

Its defaults but for: float32 (default bfloat16), gradient checkpointing off (default on, which is
slower), the loss and KL estimator of the GRPO paper, prompts in the given order, no files and no
reports.
"""

import os
import tempfile
from typing import Any

import datasets
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from bench import grpo_workloads, worker
from bench.grpo_workloads import NEVER_WRITTEN, Workload
from bench.sft_trl import Ticks, load_model, lora_config
from reasoning_lab.engine import locate


def measure(workload: Workload) -> worker.GRPOResult:
    torch.set_num_threads(os.cpu_count() or 1)
    clock = worker.StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _TimedTrainer(
            workload,
            clock,
            model=load_model(locate.model_folder(worker.MODEL)),
            args=GRPOConfig(
                output_dir=folder,
                max_steps=len(workload.prompts),
                per_device_train_batch_size=workload.generations,  # completions, not prompts
                num_generations=workload.generations,
                max_completion_length=workload.new_tokens,
                temperature=grpo_workloads.TEMPERATURE,
                beta=grpo_workloads.BETA,
                loss_type="grpo",
                use_bias_correction_kl=False,
                learning_rate=worker.LEARNING_RATE,
                shuffle_dataset=False,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            reward_funcs=_rewards,
            train_dataset=datasets.Dataset.from_dict(
                {"prompt": [grpo_workloads.words(prompt) for prompt in workload.prompts]}
            ),
            processing_class=_word_tokenizer(),
            peft_config=lora_config(),
            callbacks=[Ticks(clock)],
        )
        initial_loss = _initial_loss(trainer, workload)
        trainer.train()
    return worker.GRPOResult(
        seconds=clock.timed,
        initial_loss=initial_loss,
        peak_bytes=worker.peak_bytes(),
        phases=clock.timed_phases,
        read_bandwidth=worker.read_bandwidth(torch.sum, torch.from_numpy),
        versions=worker.versions("trl", "torch", "transformers", "peft"),
    )


class _TimedTrainer(GRPOTrainer):
    def __init__(self, workload: Workload, clock: worker.StepClock, **arguments: Any) -> None:
        self._workload, self._clock = workload, clock
        super().__init__(**arguments)

    def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
        with self._clock.phase("rollout"):
            output = super()._generate(prompts)
        prompt_ids, completion_ids = output[:2]
        self._workload.check_rollout(prompt_ids, completion_ids)
        return output

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **options: Any) -> Any:
        if torch.is_grad_enabled():
            return super()._get_per_token_logps_and_entropies(*arguments, **options)
        with self._clock.phase("reference"):
            return super()._get_per_token_logps_and_entropies(*arguments, **options)


def _word_tokenizer() -> PreTrainedTokenizerFast:
    """Text is token ids, for TRL."""
    vocabulary = {grpo_workloads.word(index): index for index in range(NEVER_WRITTEN + 1)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
    )


def _rewards(completion_ids: list[list[int]], **_: object) -> list[float]:
    return [grpo_workloads.reward(ids) for ids in completion_ids]


def _initial_loss(trainer: GRPOTrainer, workload: Workload) -> float:
    rows = torch.tensor([[*workload.prompts[0], *ids] for ids in workload.fixed_completions])
    with torch.no_grad():
        log_probs, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model, rows, torch.ones_like(rows), logits_to_keep=workload.new_tokens
        )
    return -float(log_probs.mean())


if __name__ == "__main__":
    worker.run(measure, Workload.load)
