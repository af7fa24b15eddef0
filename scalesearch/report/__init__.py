"""stub"""

from pathlib import Path


def write_report(path: Path) -> None: ...
