"""What a run would need, before it runs: memory, time, and what to change."""
