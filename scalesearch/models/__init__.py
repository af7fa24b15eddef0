"""From data to modules."""
