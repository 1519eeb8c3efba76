"""What can go wrong through no fault of the program: errors that a user can mend, and remarks that a report repeats.

A `BeholderError` is one sentence that names the file or key, the place in it and the remedy. The command line
prints the sentence and exits with 1; anything else that is raised is a defect and shows its traceback.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from zipfile import BadZipFile

# What Python, numpy, pandas and pyarrow raise when they read a damaged file.
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError, BadZipFile, zlib.error,
)  # fmt: skip


class BeholderError(Exception):
    """Something that the user can mend; the message is one sentence with the remedy."""


class StudyError(BeholderError):
    """The study's settings or its folder are not usable."""


class DataError(BeholderError):
    """A recording, table, picture or mask cannot be read as what it claims to be."""


class TakenError(DataError):
    """What is to be added is in the data set already, and not the same."""


class DisplayError(BeholderError):
    """There is no screen to show anything on, or no window can be opened on it."""


class TrackerError(BeholderError):
    """The tracker cannot be reached, or cannot do what the study asks."""


class WeightsError(BeholderError):
    """A model's weights cannot be obtained, or do not fit the model."""


@dataclass(frozen=True)
class Remark:
    """Something that did not stop the analysis and that its reader must know; shown at once and in the report.

    `about` says what it concerns (a file, a participant and picture, a setting), `text` what was found and done.
    """

    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"
