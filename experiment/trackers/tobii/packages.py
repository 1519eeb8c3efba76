"""Which of the packages that speak to Tobii's SDK are installed; each is imported when a tracker is connected to."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

from beholder.experiment.trackers.tobii.sdk import TobiiSdk
from beholder.experiment.trackers.tobii.titta import TittaPy
from beholder.experiment.trackers.tobii.tobii_research import TobiiResearch
from beholder.shared.errors import TrackerError


def installed() -> Iterator[TobiiSdk]:
    """The packages that are installed for this Python, in the order in which they are to be tried.

    TittaPy brings two: one around version 2 of Tobii's SDK, one around version 1, for trackers that version 2 no longer
    knows. Each is imported when its turn comes. Raises TrackerError, with the command that installs one, where none is
    installed or another package has its name.
    """
    problems, count = [], 0
    for name in ("tobii_research", "TittaPy_v2", "TittaPy_v1"):
        try:
            package = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                problems.append(f"{name} cannot be imported: {error}")
        except ImportError as error:
            problems.append(f"{name} cannot be imported: {error}")
        else:
            count += 1
            yield speaking(package)
    if not count:
        problem = "; ".join(problems) or "Tobii's package is not installed"
        raise TrackerError(f'{problem}: install it with "{install_command()}".')


def speaking(package: Any) -> TobiiSdk:
    """A package as a `TobiiSdk`; raises TrackerError where it is another package of that name."""
    if hasattr(package, "find_all_eyetrackers"):
        return TobiiResearch(package)
    if hasattr(package, "find_all_eye_trackers"):
        return TittaPy(package)
    where = getattr(package, "__file__", None) or "this Python"
    raise TrackerError(
        f'the module {package.__name__} in {where} is not Tobii\'s: remove it, then "{install_command()}".'
    )


def install_command() -> str:
    """How to install the package for this Python: Tobii's own has wheels for 3.10 only."""
    package = "tobii-research" if sys.version_info < (3, 11) else "tittapy"
    return f"{sys.executable} -m pip install {package}"
