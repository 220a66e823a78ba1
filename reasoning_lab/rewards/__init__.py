"""What a completion is worth: one file for each kind of reward."""
