"""A few problems of each domain, written for the lint."""

from reasoning_lab.rewards.lint.problem import Problem
from reasoning_lab.rewards.lint.problems import code, creative, math, science, summarization

PROBLEMS: dict[str, tuple[Problem, ...]] = {
    "math": math.PROBLEMS,
    "code": code.PROBLEMS,
    "science": science.PROBLEMS,
    "summarization": summarization.PROBLEMS,
    "creative": creative.PROBLEMS,
}
