"""What a plan said, for whoever runs the same later: the message of an out-of-memory quotes it."""

import json

from reasoning_lab.preflight.plan import Plan
from reasoning_lab.runs.files import write_atomically
from reasoning_lab.stages.plans import plan_path


def keep(plan: Plan) -> None:
    """Write peaks and verdicts, in bytes of one chip."""
    budget = plan.machine.memory_budget
    summary = {
        "how": plan.how,
        "programs": [
            {
                "name": program.name,
                "peak_bytes": round(program.peak),
                "budget_bytes": budget,
                "verdict": program.verdict,
            }
            for program in plan.programs
        ],
    }
    path = plan_path(plan.experiment)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(summary, indent=2) + "\n")
