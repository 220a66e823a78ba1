"""Speed and memory of a GRPO step: ours, stock Tunix and TRL on the same prompts.

    python -m bench.grpo
    python -m bench.grpo --rounds 1 --systems ours tunix
    python -m bench.grpo --markdown measured.md

A step is the rollout, the log-probabilities of the reference and one optimizer update. Before the
first, all must give the same fixed completions the same loss, or it is not the same work.
"""

from bench import grpo_report, worker
from bench.grpo_workloads import WORKLOADS
from bench.rounds import Benchmark

BENCHMARK = Benchmark(
    stage="grpo",
    workloads=WORKLOADS,
    rounds={"short": 2},  # what fits into twenty minutes on two cores
    result_type=worker.GRPOResult,
    table=grpo_report.table,
    limit_line=grpo_report.limit_line,
)

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
