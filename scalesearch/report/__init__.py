"""Tables for the terminal and files, figures, and one HTML page per run."""
