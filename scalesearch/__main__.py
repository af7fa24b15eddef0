"""``python -m scalesearch``."""

from scalesearch.cli.main import main

main()
