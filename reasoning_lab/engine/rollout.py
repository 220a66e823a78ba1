"""Rollouts for Tunix's RLCluster by our own generator.

Stock Tunix prefills every copy of a prompt, computes logits for all its positions, recompiles for
every length, samples all steps with one key unless told otherwise, cuts off the end token, and does
not know where an answer ends.
"""

from typing import Any

import jax
import numpy as np
from tunix.rl.rollout import base_rollout

from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.sampling import Sampling
from reasoning_lab.formats import SOLUTION_END


class PolicyRollout(base_rollout.BaseRollout):
    """Samples from a Policy with its LoRA weights as they are at the moment.

    Given to `ClusterConfig.rollout_engine` as a partial with `policy`, `num_generations`,
    `batch_size` and `end_after_answer`; Tunix adds the rest.

    Args:
        policy: what samples; its trainer updates it in place.
        num_generations: consecutive copies of each prompt that `generate` will be given.
        batch_size: completions sampled at once.
        end_after_answer: a completion ends one token after "</answer>".
    """

    def __init__(
        self,
        *,
        policy: Policy,
        num_generations: int,
        batch_size: int,
        end_after_answer: bool,
        rollout_actor: Any,
        tokenizer: Any,
        mesh: jax.sharding.Mesh,
        rollout_config: base_rollout.RolloutConfig,
    ) -> None:
        self._policy = policy
        self._num_generations = num_generations
        self._batch_size = batch_size
        self._closing = SOLUTION_END if end_after_answer else None
        self.truncated: list[bool] = []
        """Of the last call, which completions ran out of tokens: RolloutOutput has no place."""

    def generate(
        self, prompts: list[str], rollout_config: base_rollout.RolloutConfig, **kwargs: Any
    ) -> base_rollout.RolloutOutput:
        """Completions in the order of `prompts`: user turns, each `num_generations` times.

        Their tokens include the end token, if it was sampled.
        """
        tokenizer = self._policy.tokenizer
        ids = [tokenizer.prompt(text) for text in prompts[:: self._num_generations]]
        completions = self._policy.generator(batch_size=self._batch_size).complete_groups(
            ids,
            self._num_generations,
            max_prompt_length=rollout_config.max_prompt_length,
            max_new_tokens=rollout_config.max_tokens_to_generate,
            sampling=Sampling(
                temperature=rollout_config.temperature,
                top_p=rollout_config.top_p or 1.0,
                top_k=rollout_config.top_k or 0,
            ),
            seed=rollout_config.seed,
            closing=self._closing,
        )
        self.truncated = [completion.truncated for completion in completions]
        width = rollout_config.max_prompt_length
        padded = np.full((len(prompts), width), tokenizer.pad_id, np.int32)
        for row in range(len(prompts)):
            prompt = ids[row // self._num_generations]
            padded[row, width - len(prompt) :] = prompt
        return base_rollout.RolloutOutput(
            text=[completion.text for completion in completions],
            logits=None,
            tokens=[np.array(completion.sampled, np.int32) for completion in completions],
            left_padded_prompt_tokens=padded,
            logprobs=[np.array(completion.log_probs, np.float32) for completion in completions],
        )

    def get_per_token_logps(
        self, prompt_tokens: jax.Array, completion_tokens: jax.Array
    ) -> jax.Array:
        """Not needed: the first update with a batch returns them (engine/grpo_step.py)."""
        raise NotImplementedError("old log-probabilities come from the training pass")

    def update_params(self, params: Any, filter_types: tuple[Any, ...] | None = None) -> None:
        """Nothing to do: the trainer and this share the policy."""

    def pad_id(self) -> int:
        return self._policy.tokenizer.pad_id

    def eos_id(self) -> int:
        return self._policy.tokenizer.eos_id

    def model(self) -> Any:
        return self._policy.lora
