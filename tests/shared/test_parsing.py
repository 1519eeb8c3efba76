"""Numbers and JSON of other programs' files: what is taken is what Python takes, bounded; the rest is ValueError."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.shared.parsing import LARGEST, parse_json, parse_number


@given(st.floats(-LARGEST, LARGEST))
def test_a_number_is_the_one_that_was_written(value: float) -> None:
    assert parse_number(repr(value)) == value


@given(st.text() | st.from_regex(r"[+-]?[0-9_.eEinfa]{1,12}", fullmatch=True))
def test_any_text_is_a_finite_bounded_number_or_a_value_error(text: str) -> None:
    try:
        value = parse_number(text)
    except ValueError as error:
        assert len(str(error)) < 300
        return
    assert value == float(text) and math.isfinite(value) and abs(value) <= LARGEST


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "inf", "nan", "1_000", "0x10", "٣", " 1", "1,5", "1e", "."])
def test_what_is_no_number_here_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize("text", ["1e300", "-1e999", "9" * 100_000])
def test_what_nobody_measures_is_too_large(text: str) -> None:
    with pytest.raises(ValueError, match="larger than anything that is measured") as caught:
        parse_number(text)
    assert len(str(caught.value)) < 100


def test_microseconds_since_1970_are_a_number() -> None:
    assert parse_number("1764100000000000") == 1764100000000000


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "9" * 100_000, "{", ""])
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists, max_leaves=20))
def test_any_other_json_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
