"""Many runs from one command: which, where and in what order; skipped, resumed, watched."""
