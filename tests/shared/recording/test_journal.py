"""Claims of `shared.journal`: whatever was appended whole is read back, wherever writing broke off."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.recfunctions import structured_to_unstructured

from beholder.shared.errors import DataError
from beholder.shared.gaze import SAMPLE, Samples
from beholder.shared.recording import journal as shared_journal
from beholder.shared.recording.journal import (
    HEADER,
    LOG,
    MOST_UNSYNCED_BYTES,
    RESERVE,
    RESERVE_BYTES,
    SAMPLES,
    JournalWriter,
    exclusive,
    format_samples,
    join_saved,
    journals,
    read_journal,
)
from beholder.shared.recording.records import MessageSent, Record
from tests.headers import session_header

ROOT = Path(__file__).parents[3]
WHO = session_header()


def assert_same(found: Samples, expected: Samples) -> None:
    """The same to the last bit, missing where missing."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(structured_to_unstructured(found), structured_to_unstructured(expected))


def some_samples(n: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    samples = np.zeros(n, SAMPLE)
    for name in SAMPLE.names or ():
        samples[name] = np.round(rng.uniform(-50, 2000, n), 2)
        if name != "time_s":
            samples[name][rng.random(n) < 0.2] = np.nan
    samples["time_s"] = np.arange(n) / 250
    return samples


def some_records(n: int) -> list[Record]:
    return [Record(i / 2, MessageSent(f"línea {i}\twith a tab\nand a line end")) for i in range(n)]


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, WHO)
    samples, records = some_samples(100), some_records(5)
    writer.append_samples(samples[:40])
    writer.append_records(records)
    writer.append_samples(samples[40:])
    writer.close()
    journal = read_journal(writer.folder)
    assert_same(journal.samples, samples)
    assert list(journal.records) == records
    assert journal.header == WHO
    assert journal.remarks == ()


@pytest.mark.parametrize("name", [SAMPLES, LOG])
def test_cut_at_any_byte_of_the_last_lines_all_whole_rows_are_read(tmp_path: Path, name: str) -> None:
    writer = JournalWriter(tmp_path, WHO)
    samples, records = some_samples(20), some_records(20)
    writer.append_samples(samples)
    writer.append_records(records)
    writer.close()
    whole = (writer.folder / name).read_bytes()
    start_of_last_three = len(b"".join(whole.splitlines(keepends=True)[:-3]))
    for end in range(start_of_last_three, len(whole) + 1):
        (writer.folder / name).write_bytes(whole[:end])
        journal = read_journal(writer.folder)
        expected = whole[:end].count(b"\n")
        if name == SAMPLES:
            assert_same(journal.samples, samples[:expected])
        else:
            assert list(journal.records) == records[:expected]
        assert bool(journal.remarks) == (not whole[:end].endswith(b"\n"))


@pytest.mark.parametrize("name", [SAMPLES, LOG])
@pytest.mark.parametrize("garbage", [b"\0" * 512, b"\0\0\0\n\0\0", b"1.0\t2\n", b"\n\n", b"x\ty\tz\n", b"\xff\xfe\n"])
def test_garbage_from_a_power_cut_does_not_hide_the_rows_before_it(tmp_path: Path, name: str, garbage: bytes) -> None:
    writer = JournalWriter(tmp_path, WHO)
    samples, records = some_samples(30), some_records(30)
    writer.append_samples(samples)
    writer.append_records(records)
    writer.close()
    path = writer.folder / name
    path.write_bytes(path.read_bytes() + garbage)
    journal = read_journal(writer.folder)
    assert_same(journal.samples, samples)
    assert list(journal.records) == records
    assert {remark.about for remark in journal.remarks} == {f"sub-01_run-1/{name}"}
    assert journal.damaged == ((name,) if b"\n" in garbage else ())


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.none() | st.integers(-(10**7), 10**7), min_size=7, max_size=7).filter(
            lambda row: row[0] is not None
        ),
        max_size=8,
        unique_by=lambda row: row[0],
    ).map(lambda rows: sorted(rows, key=lambda row: row[0] or 0))
)
def test_any_sample_in_hundredths_of_a_pixel_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int | None]]
) -> None:
    samples = np.zeros(len(rows), SAMPLE)
    for column, name in enumerate(SAMPLE.names or ()):
        samples[name] = [np.nan if row[column] is None else row[column] / 100 for row in rows]
    writer = JournalWriter(tmp_path_factory.mktemp("study"), WHO)
    writer.append_samples(samples)
    writer.close()
    assert_same(read_journal(writer.folder).samples, samples)


def test_what_is_not_finite_is_written_as_missing() -> None:
    sample = np.array([(1, np.inf, -np.inf, np.nan, 0, 0, 0)], SAMPLE)
    assert format_samples(sample) == b"1.000000\tn/a\tn/a\tn/a\t0.00\t0.00\t0.000\n"


def test_a_running_session_is_known_and_nobody_else_may_touch_its_journal(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, WHO)
    assert [state.running for state in journals(tmp_path)] == [True]
    with pytest.raises(DataError, match="running"), exclusive(writer.folder):
        pass
    with pytest.raises(DataError, match="running"):
        JournalWriter(tmp_path, WHO)
    writer.close()
    assert [(s.participant, s.run, s.running) for s in journals(tmp_path)] == [("01", 1, False)]


def test_a_journal_that_was_left_is_never_written_into(tmp_path: Path) -> None:
    JournalWriter(tmp_path, WHO).close()
    with pytest.raises(DataError, match="left by a crash"):
        JournalWriter(tmp_path, WHO)


def test_a_journal_that_cannot_be_made_is_told_in_a_sentence_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".beholder").write_text("a file is in the way")
    with pytest.raises(DataError, match=r"cannot be made .* writable"):
        JournalWriter(tmp_path, WHO)
    (tmp_path / ".beholder").unlink()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shared_journal, "write_synced", full)
        with pytest.raises(DataError, match=r"No space left on device.*make room"):
            JournalWriter(tmp_path, WHO)
    assert journals(tmp_path) == ()
    JournalWriter(tmp_path, WHO).close()


def test_room_is_held_while_a_session_runs_and_given_back_at_its_end(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, WHO)
    assert (writer.folder / RESERVE).stat().st_blocks * 512 >= RESERVE_BYTES
    writer.close()
    assert not (writer.folder / RESERVE).exists()


def test_where_nobody_syncs_memory_is_bounded_and_the_rows_are_all_there(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, WHO)
    samples = some_samples(2000)
    later = [samples.copy() for _ in range(25)]
    for number, part in enumerate(later):
        part["time_s"] = np.arange(number * 2000, (number + 1) * 2000) / 250
        writer.append_samples(part)
        writer.flush()
        assert writer._grown[SAMPLES].unsynced_bytes <= MOST_UNSYNCED_BYTES
    assert (writer.folder / SAMPLES).stat().st_size > 2 * MOST_UNSYNCED_BYTES
    writer.close()
    assert_same(read_journal(writer.folder).samples, np.concatenate(later))


def test_what_was_saved_of_one_session_is_never_joined_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one, other = JournalWriter(tmp_path / "one", WHO), JournalWriter(tmp_path / "other", WHO)
    one.append_samples(some_samples(5))
    place = one.save_elsewhere([some_samples(8)[5:]])
    assert place.stat().st_mode & 0o077 == 0
    other.close()
    one.close()
    assert join_saved(other.folder) == 0
    assert join_saved(one.folder) > 0
    assert len(read_journal(one.folder).samples) == 8
    assert not place.exists()


def test_the_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom beholder.shared.recording.journal import JournalWriter\n"
        "from tests.headers import session_header\n"
        "writer = JournalWriter(Path(sys.argv[1]), session_header())\n"
        "print('locked', flush=True)\nsys.stdin.read()\nos._exit(9)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().strip() == "locked"
        assert [state.running for state in journals(tmp_path)] == [True]
        process.stdin.close()
        assert process.wait() == 9
    assert [state.running for state in journals(tmp_path)] == [False]


def test_a_journal_of_a_later_format_or_without_a_header_is_refused_by_name(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, WHO)
    writer.close()
    (writer.folder / HEADER).write_text('{"format": 99}')
    with pytest.raises(DataError, match="later Beholder"):
        read_journal(writer.folder)
    (writer.folder / HEADER).write_text("{")
    with pytest.raises(DataError, match=r"session\.json cannot be read"):
        read_journal(writer.folder)
