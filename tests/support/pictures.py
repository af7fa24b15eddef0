"""The README's pictures of a report, in light and dark: ``python -m tests.support.pictures RUN [--out results]``."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from scalesearch.report.html.write import write_report
from tests.support.browser import CHROMIUM

SIZE = 960, 1400
SCHEMES = {"dark": 0, "light": 1}


def take(page: Path, scheme: str, picture: Path) -> None:
    """The top of ``page`` as a PNG, as small as it can be without loss."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder}", f"--window-size={SIZE[0]},{SIZE[1]}",
                f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", f"--screenshot={picture}",
                page.resolve().as_uri(),
            ],
            capture_output=True,
            timeout=120,
            check=True,
        )  # fmt: skip
    with Image.open(picture) as image:
        image.convert("RGB").save(picture, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    report = write_report(arguments.run)
    for name in SCHEMES:
        take(report, name, arguments.out / f"report-{name}.png")
