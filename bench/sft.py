"""Speed and memory of supervised fine-tuning: ours, stock Tunix and TRL on the same examples.

    python -m bench.sft
    python -m bench.sft --workloads short --rounds 1 --systems ours tunix
    python -m bench.sft --markdown measured.md

The losses of the first batch must agree, or it is not the same work.
"""

from bench import sft_report, worker
from bench.rounds import Benchmark
from bench.sft_workloads import WORKLOADS

BENCHMARK = Benchmark(
    stage="sft",
    workloads=WORKLOADS,
    rounds={"short": 3, "mixed": 2},  # what fits into a quarter of an hour on two cores
    result_type=worker.SFTResult,
    table=sft_report.table,
    limit_line=sft_report.limit_line,
)

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
