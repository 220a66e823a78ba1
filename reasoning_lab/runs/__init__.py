"""A run is a folder: its id, what went into it, what happened, and a report of both."""
