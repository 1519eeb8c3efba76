"""The study on disk, a BIDS 1.11 data set: making one, publishing sessions into it, reading it, withdrawing from it.

    dataset_description.json  README  .bidsignore  participants.tsv/.json  study.toml  stimuli/
    sub-01/beh/sub-01_task-viewing_run-1_recording-eye1_physio.tsv.gz/.json        gaze, one file an eye
    sub-01/beh/sub-01_task-viewing_run-1_recording-eye1_physioevents.tsv.gz/.json  messages, blinks
    sub-01/beh/sub-01_task-viewing_run-1_events.tsv/.json                          what was shown when
    sub-01/beh/sub-01_task-viewing_run-1_beh.tsv/.json                             imported fixations, without samples
    sourcedata/sub-01/                                                             the tracker's own files; not shared

BIDS eye tracking from other programs is read too, where it has what is required: `shared.sidecars` and `shared.tables`
check it. Nothing is computed from the gaze here.
"""
