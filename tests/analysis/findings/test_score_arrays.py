"""Claims of `analysis.cells`: read in parts, scores are those of one table; nothing is read that is not asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.score_arrays import at_fixed_sigma, in_windows, joined, over_sigma, to_cells
from beholder.analysis.results.map_names import SAME_KIND, SHUFFLED
from beholder.analysis.results.paths import alignment_path
from beholder.analysis.results.study_results import Results, read_results
from beholder.analysis.results.tables import POOLED
from beholder.shared.errors import DataError

row = st.tuples(
    st.sampled_from(["01", "02", "10"]), st.sampled_from(["a", "b", "c"]), st.sampled_from(["head-01", "mean"]),
    st.sampled_from([0.5, 1.0]), st.one_of(st.just(float("nan")), st.floats(-9, 9, width=32)),
)  # fmt: skip


@given(st.lists(row, min_size=1, max_size=40))
def test_pictures_joined_are_the_table_at_once(rows: list[tuple[str, str, str, float, float]]) -> None:
    table = pd.DataFrame(rows, columns=["participant", "stimulus", "map", "sigma", "kl"])
    whole = to_cells(table, ["kl"])["kl"]
    parts = joined([to_cells(own, ["kl"])["kl"] for _, own in table.groupby("stimulus", sort=False)])
    axes = ("participants", "pictures", "maps", "sigmas")
    assert [getattr(parts, axis) for axis in axes] == [getattr(whole, axis) for axis in axes]
    np.testing.assert_array_equal(parts.scores, whole.scores)
    # Each cell is the mean of its rows that have a score.
    for (who, what, name, sigma), own in table.groupby(["participant", "stimulus", "map", "sigma"]):
        found = whole.at(str(name), float(str(sigma)))[
            whole.participants.index(str(who)), whole.pictures.index(str(what))
        ]
        assert found == pytest.approx(own["kl"].mean(), nan_ok=True)


def test_a_picture_has_one_part() -> None:
    table = pd.DataFrame({"participant": ["01"], "stimulus": ["a"], "map": ["mean"], "sigma": [1.0], "kl": [2.0]})
    part = to_cells(table, ["kl"])["kl"]
    with pytest.raises(ValueError, match="two parts"):
        joined([part, part])
    with pytest.raises(ValueError, match="nothing"):
        joined([])


def test_scores_over_sigma_and_by_chance_are_the_tables(results: Results) -> None:
    swept = over_sigma(results, "first", 12, ["kl", "nss"])
    assert set(swept) == {"kl"}  # NSS has no curve over sigma
    table = results.scores("sigmas", [("model", "==", "first"), ("layer", "==", 12)])
    own = table[(table["participant"] == "02") & (table["stimulus"] == "object-03") & (table["map"] == "head-02")]
    at = (
        swept["kl"].participants.index("02"),
        swept["kl"].pictures.index("object-03"),
        swept["kl"].maps.index("head-02"),
    )
    np.testing.assert_array_equal(swept["kl"].scores[at], own.sort_values("sigma")["kl"])
    fixed = at_fixed_sigma(results, "first", 12, ["kl", "ssim"])
    assert POOLED not in fixed["kl"].cells.participants and set(fixed["kl"].pooled) >= {"head-01", "mean"}
    assert fixed["kl"].inside is not None and fixed["ssim"].inside is None
    chance = results.scores("chance", [("model", "==", "first"), ("layer", "==", 12), ("participant", "==", "02")])
    for of, prefix in (("others", SHUFFLED), ("same kind", SAME_KIND)):
        rows = chance[(chance["of"] == of) & (chance["map"] == "head-02") & ~chance["drift_corrected"]]
        found = fixed["kl"].cells.at(f"{prefix}head-02", 1.0)[fixed["kl"].cells.participants.index("02")]
        np.testing.assert_array_equal(found, rows.sort_values("stimulus")["kl"])


def test_windows_leave_out_the_whole_and_what_few_pictures_have(results: Results) -> None:
    found = in_windows(results, "first", 12, "kl")
    assert [(w.start_s, w.end_s) for w in found] == [(0.0, 1.0), (0.0, 3.0), (1.0, 2.0)]
    assert all(w.cells.pictures == results.compared("first", 12) for w in found)
    assert [w.fixations for w in found] == [3.0, 9.0, 3.0]


@pytest.mark.parametrize("broken", [None, b"not parquet"])
def test_a_partition_that_is_gone_or_broken_is_named_with_what_to_do(
    made_up_folder: Path, tmp_path: Path, broken: bytes | None
) -> None:
    results = read_results(Path(shutil.copytree(made_up_folder, tmp_path / "study")))
    path = alignment_path(results.study_folder, "first", 12, "object-02")
    path.unlink()
    if broken:
        path.write_bytes(broken)
    with pytest.raises(DataError, match=r'object-02\.parquet cannot be read, .* run "beholder analyze'):
        infer(results)


def test_a_partition_of_another_version_is_refused_in_one_line(results: Results) -> None:
    with pytest.raises(DataError, match=r'cannot be read, .* run "beholder analyze') as error:
        results.rows("fixed", "first", 12, "object-01", ["kl"], [("a column of tomorrow", "==", 1)])
    assert "\n" not in str(error.value)


def test_only_the_columns_asked_for_are_read(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, list[str] | None]] = []
    read = pyarrow.parquet.read_table

    def noted(path: Path, columns: list[str] | None, filters: object) -> object:
        asked.append((path, columns))
        return read(path, columns=columns, filters=filters)

    monkeypatch.setattr(pyarrow.parquet, "read_table", noted)
    over_sigma(results, "first", 12, ["kl"])
    assert len(asked) == len(results.compared("first", 12))
    assert all(columns == ["participant", "stimulus", "map", "sigma", "kl"] for _, columns in asked)
