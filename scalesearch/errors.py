"""What a user can get wrong, as one small tree. The command line prints each of these as one red line.

ScaleSearchError
├── FieldError            a field of a file or an option breaks its rule
│   ├── SpecError
│   └── RecipeError
├── BaselineError         no such baseline
├── ScalingError          the multipliers leave nothing of a layer
│   └── SurgeryError      a module that cannot be scaled soundly
│       └── ChannelsError its first layer takes other images
├── EmptyGridError        no candidate qualifies
├── DataError             images are missing, empty or unreadable
├── DeviceError           the device is not there
├── RunError              a run's folder cannot be used
│   └── UnreachableError  the ledger's server does not answer
├── TrialError            one trial failed; the search goes on
│   ├── DivergedError
│   ├── GraphError        the network's step cannot be a CUDA graph
│   └── OutOfMemoryError
├── DroppedError          a trial was ended early: its candidate has fallen behind; nothing to mend
└── LeaseLostError        a trial was given to another worker; nothing to mend
"""

from __future__ import annotations

import re
from pathlib import Path

MISTAKES = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ZeroDivisionError)
"""What is rather wrong in a network's code than with the images that it is given."""

_LIBRARY = re.compile(rf"site-packages|dist-packages|^{re.escape(str(Path(__file__).parent))}")


class ScaleSearchError(Exception):
    """Something a user can mend; its text says what was wrong and what to do."""


class FieldError(ScaleSearchError):
    """A field breaks its rule. ``got`` is what it has, `...` where there is nothing to show."""

    def __init__(self, path: str, want: str, got: object) -> None:
        super().__init__(path, want, got)  # all three, so that it survives pickling between workers
        self.path, self.want, self.got = path, want, got

    def __str__(self) -> str:
        return f"{self.path}: expected {self.want}" + ("" if self.got is ... else f", got {self.got!r}")


class SpecError(FieldError):
    """A network spec breaks a rule."""


class RecipeError(FieldError):
    """A recipe, or the option that overrides it, breaks a rule."""


class BaselineError(ScaleSearchError):
    """No baseline goes by this name."""


class ScalingError(ScaleSearchError):
    """The multipliers leave nothing of a layer or of the image."""


class SurgeryError(ScalingError):
    """A module cannot be scaled soundly: ``layer`` is where, ``reason`` why."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(layer, reason)
        self.layer, self.reason = layer, reason

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason}"


class ChannelsError(SurgeryError):
    """A network's first layer, ``layer``, takes ``taken`` channels, and was given images of ``given``."""

    def __init__(self, layer: str, taken: int, given: int) -> None:
        super().__init__(layer, f"it takes {taken} channel{'s' * (taken != 1)}, and the images have {given}")
        self.args = (layer, taken, given)
        self.taken, self.given = taken, given


class EmptyGridError(ScaleSearchError):
    """No candidate qualifies; the message names the nearest one."""


class DataError(ScaleSearchError):
    """The images are missing, empty or unreadable."""


class DeviceError(ScaleSearchError):
    """The device asked for is not there."""


class RunError(ScaleSearchError):
    """A run's folder cannot be used: other settings, another process, no room, no right to write."""


class UnreachableError(RunError):
    """The server that keeps the ledger does not answer."""


class TrialError(ScaleSearchError):
    """One trial failed; its reason is recorded and the search goes on."""


class DivergedError(TrialError):
    """The loss is no longer a finite number."""


class GraphError(TrialError):
    """A network's training step cannot be recorded as a CUDA graph."""


class OutOfMemoryError(TrialError):
    """The device's memory ended: in training at a micro-batch of one image, in measuring at the recipe's batch."""


class LeaseLostError(ScaleSearchError):
    """This worker's trial was given to another, which took it for dead; what it still holds does not count."""


class DroppedError(ScaleSearchError):
    """A trial was ended in mid-schedule because its candidate has fallen behind."""


def why_it_failed(failure: Exception) -> str:
    """The first line of what a network of anybody's raises; of a mistake in its code, also the kind and the place."""
    import traceback

    said, kind = str(failure).strip().partition("\n")[0], type(failure).__name__
    if not isinstance(failure, MISTAKES):
        return said or kind
    own = [frame for frame in traceback.extract_tb(failure.__traceback__) if not _LIBRARY.search(frame.filename)]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{kind}{f': {said}' if said else ''}{place}"
