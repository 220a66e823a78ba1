"""Whether a reward can be cheated: known cheats against honest answers, on problems of our own."""
