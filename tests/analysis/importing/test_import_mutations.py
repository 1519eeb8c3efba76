"""Imports end in one sentence, in unchanged numbers, or in what somebody may have wanted: never in a traceback."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.analysis.importing.import_mutations import (
    FILES,
    Kind,
    Mutation,
    expected_numbers,
    is_allowed,
    mutations,
    valid,
    verdict,
)
from tests.watching import outside, watched

# Of them all, those that the fast tests try.
EVERY = 17


def assert_all_end_well(tried: list[Mutation], folder: Path) -> Counter[str]:
    ends: Counter[str] = Counter()
    for kind in FILES:
        expected_numbers(kind)  # beforehand, since it writes into a temporary folder
    with watched() as paths:
        for number, mutation in enumerate(tried):
            found = verdict(mutation, folder / str(number))
            assert is_allowed(mutation.expects, found), (mutation.kind, mutation.what, found, mutation.expects)
            ends[found] += 1
    # HDF5 is read in a process of its own, which hands its arrays over in a temporary folder that is gone again.
    handed_over = {path for path in paths if path.parent == Path(tempfile.gettempdir()) and path.name.startswith("tmp")}
    assert not outside(paths - handed_over, folder)
    assert not any(path.exists() for path in handed_over)
    return ends


@pytest.mark.parametrize("kind", list(FILES))
def test_the_valid_files_are_imported(tmp_path: Path, kind: Kind) -> None:
    assert verdict(Mutation(kind, "nothing", valid(kind), "unchanged"), tmp_path) == "unchanged"


def test_mutated_files_end_in_a_sentence_or_in_unchanged_numbers(tmp_path: Path) -> None:
    ends = assert_all_end_well(mutations()[::EVERY], tmp_path)
    assert ends.total() > 75 and min(ends["refused"], ends["unchanged"], ends["changed"]) > 1


@pytest.mark.slow
def test_more_than_a_thousand_mutated_files_end_so(tmp_path: Path) -> None:
    ends = assert_all_end_well(mutations(0), tmp_path)
    assert ends.total() > 1000 and min(ends["refused"], ends["unchanged"], ends["changed"]) > 50
