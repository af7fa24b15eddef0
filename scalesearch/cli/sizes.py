"""The size of images on the command line: ``--resolution 224``, ``--resolution 64x192``."""

from typing import TYPE_CHECKING, Annotated

import typer

from scalesearch.cli.keys import CANDIDATES, Key

if TYPE_CHECKING:
    from scalesearch.image_size import Resolution

SIZE = "224|64x192"
"""How sizes of images are written."""

ResolutionOption = Annotated[
    str | None,
    Key("resolution"),
    typer.Option(
        "--resolution",
        metavar=SIZE,
        help="The baseline's input side, or HEIGHTxWIDTH, pixels.",
        rich_help_panel=CANDIDATES,
    ),
]


def size_of(text: str | None) -> "Resolution | None":
    """The size that ``--resolution`` names; None where it was not given.

    Raises:
        RecipeError: it is none.
    """
    from scalesearch.errors import RecipeError
    from scalesearch.image_size import as_resolution

    try:
        return None if text is None else as_resolution(text)
    except ValueError as failure:
        raise RecipeError("--resolution", str(failure).removeprefix("Input should be "), text) from failure
