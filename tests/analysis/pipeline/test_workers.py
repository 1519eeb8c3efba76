"""Claims of `analysis.workers`: on a cluster the bytes are the same, whoever dies, and what is not alike is refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beholder.analysis.pipeline.workers import AHEAD, on_cluster, processes
from beholder.shared.errors import StudyError


def square(number: int) -> int:
    if number < 0:
        raise StudyError(f"{number} is negative")
    return number**2


def test_outcomes_stand_in_the_jobs_order_and_the_first_error_is_raised() -> None:
    told: list[tuple[str, int, int]] = []
    with processes(2, lambda *t: told.append(t)) as run:
        assert run(square, [3, 1, 2], "squares") == [9, 1, 4]
        assert told == [("squares", done, 3) for done in range(4)]
        with pytest.raises(StudyError, match="-1 is negative"):
            run(square, [1, -1], "squares")


def test_jobs_are_made_when_they_are_wanted_and_not_all_at_once() -> None:
    made = 0
    most_ahead = 0

    def jobs() -> Iterator[int]:
        nonlocal made
        for number in range(60):
            made += 1
            yield number

    def told(_: str, done: int, total: int) -> None:
        nonlocal most_ahead
        assert total == 60
        most_ahead = max(most_ahead, made - done)

    with processes(2, told) as run:
        assert run(square, jobs(), "squares", 60) == [number**2 for number in range(60)]
    assert 2 <= most_ahead <= 2 * AHEAD
    with pytest.raises(ValueError, match="argument"), processes(1) as run:
        run(square, jobs(), "squares", 61)


def test_an_address_where_nobody_answers_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beholder.analysis.pipeline.workers.ANSWER_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://here"):
        with pytest.raises(StudyError, match=f"no Dask scheduler answers at {address}"), on_cluster(address, tmp_path):
            pass


def test_without_the_package_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StudyError, match=r"\[cluster\]"), on_cluster("tcp://127.0.0.1:9", tmp_path):
        pass


@pytest.mark.slow
def test_a_cluster_without_workers_or_that_does_not_see_the_study_is_refused(
    cluster: Callable[[], Any], tmp_path: Path
) -> None:
    one = cluster()
    (tmp_path / "study").mkdir()
    with pytest.raises(StudyError, match="has no workers"), on_cluster(one.address, tmp_path / "study"):
        pass
    one.worker()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with on_cluster(one.address, tmp_path / "study"):
                pytest.fail("it does not see a study.toml")
        except StudyError as error:
            if "has no workers" not in str(error):
                assert "does not see" in str(error)
                break
        time.sleep(0.2)
    (tmp_path / "study" / "study.toml").write_text("")
    with on_cluster(one.address, tmp_path / "study") as run:
        assert run(abs, [-3, 1], "sizes") == [3, 1]
        assert run(abs, iter(range(-200, 0)), "sizes", 200) == list(range(200, 0, -1))
        with pytest.raises(TypeError):
            run(len, [1], "lengths")
