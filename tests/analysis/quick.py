"""Analyses in the process that asks for them, without drawing: for tests that are about neither."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from beholder.analysis.pipeline import analyze, workers
from beholder.analysis.report.plates import Plate, _plate

drawn_plate = _plate
BLANK = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'


def run_here(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone, an analysis with one worker starts no process, and its figures are blank."""

    def runner(
        n: int, cluster: str | None, study_folder: Path, progress: workers.Progress
    ) -> AbstractContextManager[workers.Runner]:
        return _here(progress) if n == 1 and cluster is None else workers.runner(n, cluster, study_folder, progress)

    patch.setattr(analyze, "runner", runner)
    patch.setattr(
        "beholder.analysis.report.plates._plate",
        lambda name, figure, words: Plate(name, *words, svg=BLANK, png=b"blank"),
    )


@contextmanager
def _here(progress: workers.Progress) -> Iterator[workers.Runner]:
    def run(
        function: Callable[[Any], Any],
        jobs: Iterable[Any],
        stage: str,
        total: int | None = None,
    ) -> list[Any]:
        numbered, total = workers._numbered(jobs, total)
        progress(stage, 0, total)
        outcomes = []
        for number, job in numbered:
            outcomes.append(workers._alone(function, job))
            progress(stage, number + 1, total)
        return outcomes

    yield run
