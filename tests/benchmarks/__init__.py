"""What the trainer costs beside the bare step, and beside other loops: ``python -m tests.benchmarks --help``."""
