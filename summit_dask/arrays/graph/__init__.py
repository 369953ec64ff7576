"""From the counts of a class to its attribution graph."""
