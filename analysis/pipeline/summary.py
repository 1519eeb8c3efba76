"""What an analysis says of itself: its summary, and where its numbers come from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from math import radians, tan
from pathlib import Path
from typing import Any

from beholder.analysis.pipeline.attention_stage import ModelAttention
from beholder.analysis.pipeline.find import Inputs
from beholder.analysis.pipeline.fixation_stage import MOUSE, ViewedTrials, files_of
from beholder.analysis.pipeline.versions import PACKAGES, VERSION
from beholder.analysis.results.study_results import Source, Summary
from beholder.shared.dataset.participants import read_participants
from beholder.shared.errors import Remark
from beholder.shared.provenance import file_digest, machine, versions
from beholder.shared.study import Study


def groups_of(study_folder: Path, study: Study) -> dict[str, str]:
    """The group of each participant who has one, where groups are compared."""
    column = study.alignment.groups
    people = read_participants(study_folder)
    return {str(k): str(v) for k, v in people[column].dropna().items()} if column and column in people else {}


def summarise(
    study_folder: Path,
    found: Inputs,
    people: ViewedTrials,
    seen: Sequence[ModelAttention],
    halves: dict[str, int],
    remarks: Sequence[Remark],
) -> Summary:
    """What the report needs to know of a study beside its tables."""
    simulated = [p for p in sorted(set(people.trials["participant"])) if p in people.simulated]
    ours = {run.participant for run in found.recordings} - set(people.imported)
    there: dict[Source, bool] = {
        "samples": bool(ours), "recordings": bool(people.imported), "fixations": bool(found.imports)
    }  # fmt: skip
    widths = people.width_deg
    return Summary(
        participants=int(people.trials["participant"].nunique()),
        stimuli=len(found.stimuli),
        simulated=len(simulated),
        observers=_observers(study_folder, {p: people.simulated[p] for p in simulated}),
        sources=tuple(source for source, is_there in there.items() if is_there),
        models=tuple(s.summary for s in seen),
        px_per_deg={
            s.name: s.width_px * tan(radians(1)) / (2 * tan(radians(widths[s.name]) / 2))
            for s in found.stimuli
            if s.name in widths
        },
        remarks=(*found.remarks, *people.remarks, *remarks),
        setup=people.setup,
        halves=halves,
    )


def _observers(study_folder: Path, participants: Mapping[str, str]) -> str:
    """What simulated participants followed, as far as it is known: the truth files say it, or the tracker's name."""
    sentences: list[str] = []
    for participant, tracker in participants.items():
        if tracker == MOUSE:
            sentences.append("moving a mouse by hand in the place of their eyes")
        for file in sorted((study_folder / "sourcedata" / f"sub-{participant}").glob("*_truth.json")):
            truth = json.loads(file.read_text("utf-8"))
            named = (
                f"the maps in {truth['map']}"
                if truth.get("head") is None
                else (f"the attention of head {truth['head']} in {truth['map']}")
            )
            source = {"centre": "a Gaussian at the picture's centre", "object": "the object's mask"}.get(
                truth["map"], named
            )
            share = f"{100 * truth['follow']:.0f} % of their fixations from {source}"
            rest = "" if truth["follow"] >= 1 or truth["map"] == "centre" else ", the others from the picture's centre"
            sentences.append(f"drawing {share}{rest}")
            break
    return "; ".join(dict.fromkeys(sentences))


def provenance_of(study_folder: Path, study: Study, found: Inputs) -> dict[str, Any]:
    """Where the numbers come from: versions, machine, seed, and the digest of every file that was read."""
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(PACKAGES),
        "machine": machine(),
        "stage_versions": VERSION,
        "seed": study.study.seed,
        "inputs": {p.relative_to(study_folder).as_posix(): file_digest(p)
                   for r in (*found.recordings, *found.imports) for p in files_of(r)}
        | {f"stimuli/{s.stim_file}": file_digest(s.file) for s in found.stimuli},
    }  # fmt: skip


def written_key(provenance: Path) -> str:
    """The key of the report that stands there; empty where there is none."""
    try:
        return str(json.loads(provenance.read_text("utf-8"))["key"])
    except (OSError, ValueError, KeyError):
        return ""
