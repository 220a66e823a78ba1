"""Where problems come from, how they are mixed without leaks, and how they fill rows."""
