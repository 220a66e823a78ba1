from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.specs import Attempt

REASONING = "9 + 9 = 18. 18 + 8 = 26."  # 24 characters


def attempt(completion: str, answer: str = "26", *, truncated: bool = False) -> Attempt:
    example = Example("sums: 9 + 9 + 8", "sums", "addition", "9 + 9 + 8?", None, answer, "")
    return Attempt(example, completion, truncated)


def answered(given: str, answer: str = "26", reasoning: str = REASONING) -> Attempt:
    return attempt(render_completion(reasoning, given), answer)


HOSTILE = [
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202e26",
    "२६",
    "²⁶",
    "<answer>",
    "</answer>26<answer>",
    "<answer>26</answer>" * 1000,
    "<reasoning>" * 10_000,
    "\\frac{1}{2",
    "\\frac{1}{0}",
    "\\frac" * 20,
    "\\boxed{" * 10_000,
    "{" * 90,
    "(" * 90,
    "((((((((((1))))))))))" * 4,
    "\\left(" * 15,
    "$9^{9^{9^9}}$",
    "9^{9^{9^{9^{9}}}}",
    "9^9^9^9",
    "(((9^{99})^{99})^{99})^{99}",
    "((((9^{99})^{99})^{99})^{-99})",
    "x^{99}-(y+z)^{99}",
    "(a+b+c+d)^{99}-(e+f+g+h)^{9}",
    "9" * 10**6,
    "9" * 90,
    "1e999999999",
    "-" * 10**6,
    "1/" * 10**5,
    "1/0",
    "0/0",
    "\\infty-\\infty",
    "\\ln(0)",
    "\\log(\\log(\\log(x)))^{99}",
    "\\sqrt{\\sqrt{\\sqrt{\\sqrt{-1}}}}",
    "\\sin(\\cos(\\tan(10^{99})))",
    "\\int_0^\\infty x^x dx",
    "\\sum_{n=1}^{10^{99}} n",
    "100000!!!!",
    "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{99}",
    "x=y=z=1",
    "=",
    "^^^^",
    "^{99}",
    "x_{x_{x_{x}}}",
    "|||||||",
    "[1,2),(3",
    "\\{1,2,3",
    "__import__('os').system('true')",
    "exec",
    "\\input{/etc/passwd}",
    "%s %n {0} {given}",
    '"]\n["1", "1',
    "NaN",
    "inf",
    "True",
    "70%",
    "26 or 27",
    "a" * 10**6,
    "\n" * 10**6,
]
