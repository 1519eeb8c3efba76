"""Digests name contents, not places, times or orders of keys."""

from pathlib import Path

import numpy as np
import pytest

from beholder.shared.provenance import digest, versions


def test_a_digest_changes_with_every_kind_of_content() -> None:
    array = np.arange(4.0)
    values = [array, array.astype(np.float32), array.reshape(2, 2), b"a", "a", 1, 1.5, None, True, [1], {"a": 1}]
    assert len({digest(v) for v in values}) == len(values)


def test_a_digest_does_not_change_with_the_order_of_keys_or_the_layout_in_memory() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    square = np.arange(6.0).reshape(2, 3)
    assert digest(square) == digest(np.asfortranarray(square))


def test_a_path_is_no_content() -> None:
    with pytest.raises(TypeError, match="where a file lies"):
        digest({"file": Path("a")})


def test_an_absent_package_is_said_to_be_absent() -> None:
    assert versions(["numpy", "no-such-package"]) == {"numpy": np.__version__, "no-such-package": "absent"}
