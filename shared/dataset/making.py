"""Make a new study on disk: pictures, study.toml and the files that a BIDS data set begins with."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from beholder.shared.errors import Remark, StudyError
from beholder.shared.recording.run_files import json_text
from beholder.shared.stimuli.folder import copy_stimuli
from beholder.shared.study import Study, write_study

BIDS_VERSION = "1.11.0"


_README = """# {name}

An eye-tracking study of pictures, recorded with Beholder as a BIDS {bids} data set.

Each participant looked at the pictures of the folder `stimuli`, a dot before each. Gaze is in
`sub-*/beh/*_physio.tsv.gz`, one file an eye, in pixels of the screen with their origin in its upper left corner; what
was shown when is in `*_events.tsv`. Every setting of the study is in `study.toml`. Files in `sourcedata` are the
tracker's own and are not meant to be shared.
"""


_SOURCEDATA_README = """The trackers' own files, kept as they came. Not for sharing: they may hold dates and images.
"""


def create_study(folder: Path, study: Study, stimuli_source: Path) -> tuple[Remark, ...]:
    """Make a study's folder: settings, description, pictures; the data set is valid from the start.

    The folder is made under another name and then renamed, so that nothing half-made remains. Returns remarks on the
    pictures for the user. Raises StudyError where the folder is not empty or cannot be made, and DataError where a
    picture cannot be used.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} exists already and is not empty: name another folder for the study.")
    # Resolved, so that "." has a name too.
    whole = folder.resolve()
    part = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write_study(study, part)
        (part / "dataset_description.json").write_text(json_text(_description(study.study.name)), encoding="utf-8")
        (part / ".bidsignore").write_text("study.toml\n.beholder/\n", encoding="utf-8")
        readme = _README.format(name=study.study.name, bids=BIDS_VERSION)
        (part / "README").write_text(readme, encoding="utf-8")
        (part / "sourcedata").mkdir()
        (part / "sourcedata" / "README").write_text(_SOURCEDATA_README, encoding="utf-8")
        _, remarks = copy_stimuli(stimuli_source, part / "stimuli")
    except OSError as error:
        raise StudyError(f"{folder} cannot be made ({error}): name a folder that you may write to.") from None
    else:
        if whole.exists():
            whole.rmdir()
        part.rename(whole)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return remarks


def _description(name: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "Beholder", "Version": beholder_version()}],
    }


def beholder_version() -> str:
    """The version of Beholder that is installed, "unknown" where none is."""
    try:
        return metadata.version("beholder")
    except metadata.PackageNotFoundError:
        return "unknown"
