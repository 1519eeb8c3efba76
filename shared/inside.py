"""The guard of a study's folder: nothing is written to, or deleted at, a place that a link moves out of the study.

A study may come from anybody, with symbolic links in it that point at other people's folders. Whatever writes or
deletes within a study passes the path through `inside` first. Reading is free: data sets of several gigabytes are often
links (DataLad's are), and a link that is read harms nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

from beholder.shared.errors import DataError


def inside(study_folder: Path, path: Path) -> Path:
    """`path` unchanged, after a check that writing or deleting there changes the study and nothing else.

    The study's own folder may be reached by a link; below it, neither a folder on the way nor the path itself may be a
    link that leads out. A path that does not exist yet is judged by those of its folders that do. Raises DataError.
    """
    # `realpath` rather than `resolve`, which ends in a RuntimeError where links go in a circle.
    root, target = Path(os.path.realpath(study_folder)), Path(os.path.realpath(path))
    if not target.is_relative_to(root):
        raise DataError(
            f"{path} lies outside of the study, at {target}: Beholder writes and deletes only within {study_folder}; "
            "remove the link, or put a folder of the study's own in its place."
        )
    return path
