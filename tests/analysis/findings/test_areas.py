"""Areas of interest: shares as counted by hand, lifts with intervals that cover, parts that are absent left out."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from beholder.analysis.findings.areas import AREA_COLUMNS, AreaPicture, areas_table, attention, dwell, widest_px
from beholder.analysis.results.tables import FIXATION_COLUMNS

NAMES = {1: "body", 2: "handle", 3: "lid"}


def labelled(height: int = 40, width: int = 60) -> np.ndarray:
    """Background, a body of 20 x 30 px, and a handle of 4 x 30 px above it."""
    labels = np.zeros((height, width), np.uint8)
    labels[15:35, 10:40] = 1
    labels[11:15, 10:40] = 2
    return labels


def fixations(rows: list[tuple[str, str, float, float, float, float]], **more: object) -> pd.DataFrame:
    """Of (participant, stimulus, onset_s, duration_s, x_px, y_px)."""
    table = pd.DataFrame(rows, columns=["participant", "stimulus", "onset_s", "duration_s", "x_px", "y_px"])
    return table.assign(**({"run": 1, "trial": 1, "fixation": 1, "eye": "left", "used": True, "why": ""} | more))[
        list(FIXATION_COLUMNS)
    ]


def no_models() -> pd.DataFrame:
    return attention("m", 1, {"head-01": np.ones((4, 6))}, AreaPicture("x", "", np.zeros((4, 6), np.uint8)))


def test_dwell_is_shared_out_as_counted_by_hand() -> None:
    picture = AreaPicture("a", "bag", labelled(), NAMES)
    seen = fixations(
        [
            ("01", "a", 0.1, 0.2, 20.0, 20.0),  # body
            ("01", "a", 0.4, 0.3, 39.999, 14.999),  # handle, its last px
            ("01", "a", 0.9, 0.1, 40.0, 20.0),  # background, one px beside the body
            ("01", "a", 1.2, 0.4, 30.0, 30.0),  # body
            ("02", "a", 0.5, 0.5, 1.0, 1.0),  # background alone
        ]
    )
    seen = pd.concat([seen, fixations([("01", "a", 0, 9, 20, 12)], used=False), fixations([("01", "b", 0, 9, 0, 0)])])
    found = dwell(seen, [picture]).set_index(["participant", "part"])
    one = found.loc["01"]
    np.testing.assert_allclose(one["dwell_s"][["body", "handle", "object"]], [0.6, 0.3, 0.9])
    np.testing.assert_allclose(one["share"][["body", "handle", "object"]], [0.6, 0.3, 0.9])
    np.testing.assert_allclose(one["share_of_object"][["body", "handle", "object"]], [2 / 3, 1 / 3, 1])
    np.testing.assert_allclose(one["fixation_share"][["body", "handle", "object"]], [0.5, 0.25, 0.75])
    np.testing.assert_allclose(one["first_s"][["body", "handle", "object"]], [0.1, 0.4, 0.1])
    assert "lid" not in found.index.get_level_values("part")
    two = found.loc["02"]
    assert (two["share"] == 0).all() and not two["looked"].any()
    assert two["share_of_object"].isna().all() and two["first_s"].isna().all()


def test_runs_of_a_participant_are_joined_and_each_has_its_own_first_fixation() -> None:
    picture = AreaPicture("a", "", labelled(), NAMES)
    seen = pd.concat(
        [
            fixations([("01", "a", 0.2, 0.1, 20, 20), ("01", "a", 0.6, 0.1, 20, 20)]),
            fixations([("01", "a", 0.8, 0.2, 20, 20), ("01", "a", 0.1, 0.4, 0, 0)], run=2),
        ]
    )
    body = dwell(seen, [picture]).set_index("part").loc["body"]
    assert body["first_s"] == pytest.approx(0.5)
    assert body["share"] == pytest.approx(0.5)


def test_unknown_onsets_leave_the_first_fixation_unknown_and_nothing_else() -> None:
    seen = fixations([("01", "a", math.nan, 0.2, 20, 20)])
    found = dwell(seen, [AreaPicture("a", "", labelled(), NAMES)]).set_index("part").loc["body"]
    assert math.isnan(found["first_s"]) and found["share"] == 1 and found["looked"]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 59.999), st.floats(0, 39.999), st.floats(0.01, 2)), min_size=1, max_size=15),
    st.lists(st.integers(0, 3), min_size=24, max_size=24),
)
def test_parts_share_out_what_the_object_gets(looks: list[tuple[float, float, float]], cells: list[int]) -> None:
    """Whatever the label map: parts add up to the object, for people and for attention."""
    labels = np.kron(np.array(cells, np.uint8).reshape(4, 6), np.ones((10, 10), np.uint8))
    picture = AreaPicture("a", "", labels, NAMES)
    found = dwell(fixations([("01", "a", 0.0, d, x, y) for x, y, d in looks]), [picture])
    weights = np.array([d for _, _, d in looks])
    on_object = np.array([labels[int(y), int(x)] > 0 for x, y, _ in looks])
    attended = attention("m", 1, {"head-01": np.arange(1, 13.0).reshape(3, 4)}, picture)
    if not labels.any():
        assert found.empty and attended.empty
        return
    by_part = found.set_index("part")
    assert math.isclose(by_part.loc["object", "share"], weights[on_object].sum() / weights.sum(), abs_tol=1e-9)
    for table in (by_part["share"], by_part["fixation_share"], attended.set_index("part")["share"]):
        assert math.isclose(table.drop("object").sum(), table["object"], abs_tol=1e-9)


def test_attention_on_a_part_is_that_of_its_pixels() -> None:
    """Patches of 7 x 8 px over parts that cut through them, against attention spread evenly over each patch's px."""
    rng, labels = np.random.default_rng(1), np.zeros((42, 64), np.uint8)
    labels[5:30, 9:40], labels[30:37, 20:61] = 1, 2
    heads = {"head-01": rng.random((6, 8)), "head-02": rng.random((6, 8))}
    found = attention("m", 3, heads, AreaPicture("a", "", labels, NAMES)).set_index(["map", "part"])["share"]
    for name, values in heads.items():
        spread = np.kron(values, np.ones((7, 8))) / (values.sum() * 56)
        for number, part in ((1, "body"), (2, "handle")):
            assert math.isclose(found[name, part], spread[labels == number].sum(), rel_tol=1e-9)


def studies(seed: int, n_people: int = 12, n_pictures: int = 10) -> tuple[list[AreaPicture], pd.DataFrame, float]:
    """People who look at the handle with a chance of their own, in pictures of which each draws to it in its own way.

    Returns the true ratio of the mean share to the mean area too.
    """
    rng = np.random.default_rng(seed)
    pictures, rows = [], []
    liking = rng.normal(size=n_people) * 0.04
    people, n = np.repeat(np.arange(n_people), 20), n_people * 20
    for p in range(n_pictures):
        labels = np.zeros((50, 50), np.uint8)
        rows_of_handle = rng.integers(3, 8)
        labels[:rows_of_handle], labels[rows_of_handle:40] = 2, 1
        pictures.append(AreaPicture(f"p{p}", "", labels, NAMES))
        chance = np.clip(0.25 + 0.04 * rng.normal() + liking, 0.01, 1)[people]
        y = np.where(rng.random(n) < chance, rng.uniform(0, rows_of_handle, n), rng.uniform(10, 50, n))
        columns = [f"{i:02d}" for i in people], [f"p{p}"] * n, np.arange(n) % 20, rng.lognormal(-1.3, 0.4, n)
        rows += list(zip(*columns, rng.uniform(0, 50, n), y, strict=True))
    return pictures, fixations(rows), 0.25 / 0.1  # 3 to 7 rows of 50


@pytest.mark.slow
def test_peoples_lift_covers_what_was_planted() -> None:
    found = []
    for seed in range(200):
        pictures, seen, truth = studies(seed)
        table = areas_table(pictures, dwell(seen, pictures), no_models(), {})
        handle = table.set_index(["part", "source"]).loc["handle", "people"]
        found.append(
            (handle["lift"], handle["low"] <= truth <= handle["high"], handle["low_pp"] <= 15 <= handle["high_pp"])
        )
    lifts, covered, covered_pp = np.array(found, dtype=float).T
    assert min(covered.mean(), covered_pp.mean()) >= stats.binom.ppf(0.001, 200, 0.93) / 200
    # A ratio of means is biased by the squared error of its denominator: 2 of 5 rows' SD 1.4, over 10 pictures.
    bias = 2.5 * (1.4142 / 5) ** 2 / 10
    assert abs(lifts.mean() - 2.5 - bias) < 3.5 * lifts.std() / math.sqrt(200)


def test_who_looks_anywhere_lifts_nothing() -> None:
    rng = np.random.default_rng(3)
    pictures = [AreaPicture(f"p{i}", "", labelled(), NAMES) for i in range(8)]
    rows = [
        (f"{person}", p.name, 0.0, 0.3, *(rng.random(2) * [60, 40]))
        for person in range(10)
        for p in pictures
        for _ in range(40)
    ]
    flat = pd.concat([attention("m", 2, {"head-01": np.ones((4, 6))}, p) for p in pictures])
    patches = {("m", p.name): (4, 6) for p in pictures}
    table = areas_table(pictures, dwell(fixations(rows), pictures), flat, patches).set_index(["part", "source"])
    for part in ("body", "handle", "object"):
        people, head = table.loc[part, "people"], table.loc[part, "head-01"]
        assert people["low"] < 1 < people["high"] and people["low_pp"] < 0 < people["high_pp"]
        assert math.isclose(head["lift"], 1) and math.isclose(head["lift_pp"], 0, abs_tol=1e-9)
        assert math.isclose(head["area"], people["area"])
    assert table.loc["body", "people"]["participants"] == 10
    assert table.loc["body", "head-01"]["participants"] == 0


def test_a_part_that_a_picture_lacks_is_left_out_there_and_counted() -> None:
    without = labelled()
    without[without == 2] = 0
    with_lid = without.copy()
    with_lid[0:5, 0:20] = 3
    pictures = [
        AreaPicture("a", "bag", labelled(), NAMES),
        AreaPicture("b", "bag", labelled(), NAMES),
        AreaPicture("c", "jar", with_lid, NAMES),
        AreaPicture("d", "jar", np.zeros((40, 60), np.uint8), NAMES),  # nothing is drawn in it
    ]
    on_handle = [(who, name, 0.0, 1.0, 20.0, 12.0) for who in ("1", "2", "3") for name in "abcd"]
    table = areas_table(pictures, dwell(fixations(on_handle), pictures), no_models(), {})
    rows = table.set_index(["part", "kind"])
    assert rows.loc[("handle", "all"), "pictures"] == 2 and rows.loc[("handle", "all"), "share"] == 1
    assert rows.loc[("lid", "all"), "pictures"] == 1
    assert rows.loc[("lid", "all"), "share"] == 0 and math.isnan(rows.loc[("lid", "all"), "low"])
    assert rows.loc[("body", "all"), "pictures"] == 3
    # A row for a kind where a part occurs in several.
    assert set(table.loc[table["part"] == "body", "kind"]) == {"all", "bag", "jar"}
    assert set(table.loc[table["part"] == "handle", "kind"]) == {"all"}
    assert list(table.columns) == list(AREA_COLUMNS)


def test_who_did_not_see_every_picture_is_left_out_of_the_intervals() -> None:
    pictures = [AreaPicture(name, "", labelled(), NAMES) for name in "abc"]
    rows = [
        (who, name, 0.0, 1.0, 20.0, y)
        for who in "1234"
        for name, y in zip("abc", (12.0, 20.0, 12.0), strict=True)
        if (who, name) != ("4", "b")
    ]
    table = areas_table(pictures, dwell(fixations(rows), pictures), no_models(), {}).set_index("part")
    assert table.loc["handle", "participants"] == 3 and table.loc["handle", "pictures"] == 3
    assert table.loc["handle", "share"] == pytest.approx(2 / 3)
    assert table.loc["handle", "looked"] == pytest.approx(2 / 3) and table.loc["handle", "people"] == 1


def test_lifts_are_ratios_of_means_and_points_are_differences() -> None:
    """Two pictures whose parts differ in size."""
    wide, narrow = np.zeros((2, 10, 10), np.uint8)
    wide[:4], narrow[:1] = 1, 1
    pictures = [AreaPicture("a", "", wide, {1: "top"}), AreaPicture("b", "", narrow, {1: "top"})]
    heads = [np.ones((10, 10)), np.vstack([np.full((1, 10), 9.0), np.ones((9, 10))])]
    models = pd.concat([attention("m", 1, {"head-01": h}, p) for h, p in zip(heads, pictures, strict=True)])
    patches = {("m", "a"): (10, 10), ("m", "b"): (10, 10)}
    people = dwell(fixations([("1", "a", 0, 1, 5, 5)]), pictures)
    row = areas_table(pictures, people, models, patches).set_index(["part", "source"]).loc["top", "head-01"]
    assert row["share"] == pytest.approx((0.4 + 0.5) / 2)
    assert row["lift"] == pytest.approx(0.45 / 0.25)
    assert row["lift_pp"] == pytest.approx(20)
    expected = stats.t.interval(0.95, 1, 20, stats.sem([0, 40]))
    assert (row["low_pp"], row["high_pp"]) == pytest.approx(expected)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 9])
def test_a_strip_is_as_wide_as_it_is(width: int) -> None:
    mask = np.zeros((30, 50), bool)
    mask[5 : 5 + width] = True
    assert width - 1 <= widest_px(mask) <= width
    assert width - 1 <= widest_px(mask.T) <= width
    assert width - 1 <= widest_px(mask[5:]) <= width  # at the picture's border too


def test_a_disc_is_as_wide_as_its_diameter() -> None:
    y, x = np.ogrid[:101, :101]
    disc = (x - 50) ** 2 + (y - 50) ** 2 <= 30**2
    assert 59 <= widest_px(disc) <= 61
    assert widest_px(np.zeros((5, 5), bool)) == 0


def test_parts_narrower_than_gaze_or_patch_can_tell_are_flagged() -> None:
    """The handle is 4 px high, the body 20."""
    pictures = [
        AreaPicture("a", "", labelled(), NAMES, accuracy_px=1.5),
        AreaPicture("b", "", labelled(), NAMES, accuracy_px=3.0),
        AreaPicture("c", "", labelled(), NAMES),
    ]
    seen = dwell(fixations([(who, p.name, 0, 1, 20, 20) for who in "12" for p in pictures]), pictures)
    coarse = pd.concat([attention("m", 1, {"head-01": np.ones((4, 6))}, p) for p in pictures])
    patches = {("m", p.name): (4, 6) for p in pictures}  # of 10 px
    table = areas_table(pictures, seen, coarse, patches).set_index(["part", "source"])
    assert table.loc[("handle", "people"), "flags"] == (
        "narrower than twice the measured accuracy on 1 of 3 pictures; accuracy not known on 1 of 3 pictures"
    )
    assert table.loc[("handle", "people"), "narrow_pictures"] == 1
    assert table.loc[("handle", "head-01"), "flags"] == "narrower than one patch on all pictures"
    assert table.loc[("body", "head-01"), "flags"] == ""


def test_labels_without_names_are_called_by_their_number() -> None:
    labels = labelled()
    assert set(AreaPicture("a", "", labels).masks()) == {"object", "label 1", "label 2"}
    assert set(AreaPicture("a", "", labels, {1: "body", 2: "body"}).masks()) == {"object", "body"}
    assert set(AreaPicture("a", "", np.minimum(labels, 1)).masks()) == {"object"}
    np.testing.assert_array_equal(AreaPicture("a", "", labels, {1: "b", 2: "b"}).masks()["b"], labels > 0)


def test_gaze_off_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="off a"):
        dwell(fixations([("1", "a", 0, 1, 60.0, 5)]), [AreaPicture("a", "", labelled(), NAMES)])
