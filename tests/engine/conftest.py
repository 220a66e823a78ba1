"""Most of these tests' time is compilation: tell XLA not to work hard on programs that run once."""

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
