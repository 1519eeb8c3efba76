"""The columns of an analysis's tables, and the words that stand in them."""

from __future__ import annotations

# x_px and y_px are px of the picture (origin upper left); onset_s counts from picture onset. `used` is false where the
# fixation is left out of the maps, and `why` says so: "dot" (under way at onset), "outside" (off the picture),
# "repeat" (the picture had been seen before), "interrupted" (its time was cut short), or a limit of
# gaze/exclusion.py.
FIXATION_COLUMNS = {
    "participant": "str", "run": "int64", "trial": "int64", "stimulus": "str", "fixation": "int64", "eye": "str",
    "onset_s": "float64", "duration_s": "float64", "x_px": "float64", "y_px": "float64", "used": "bool", "why": "str",
}  # fmt: skip


# Of the eye whose gaze was analysed, while the picture was shown: samples_expected from rate and time; loss_percent:
# the share of these without gaze (data loss, blinks included); blink_percent: the share of the time in gaps too long to
# be bridged; effective_hz: samples with gaze a second. accuracy_deg and passed: the last validation before the picture.
# drift: gaze less dot, in degrees and in px of the picture. dropped_frames: of the dot and the picture of the trial.
# outside_share: the share of the fixated time that is off the picture. `included` is false where nothing of the trial
# went into a map, and `why` says so: a reason of gaze/trials.py, or a limit of gaze/exclusion.py. NaN is "not known".
TRIAL_COLUMNS = {
    "participant": "str", "run": "int64", "trial": "int64", "stimulus": "str", "status": "str", "exposure": "str",
    "shown_s": "float64", "samples_expected": "float64", "loss_percent": "float64", "blink_percent": "float64",
    "effective_hz": "float64", "passed": "str", "accuracy_deg": "float64", "drift_x_deg": "float64",
    "drift_y_deg": "float64", "drift_deg": "float64", "drift_x_px": "float64", "drift_y_px": "float64",
    "dropped_frames": "float64", "n_fixations": "int64", "n_used": "int64", "outside_share": "float64",
    "included": "bool", "why": "str",
}  # fmt: skip


# The last validation that was accepted, per eye; `used` marks the eye whose gaze was analysed. `overridden` counts the
# validations of the run that failed and were accepted all the same, `overridden_by` says by whom. NaN is "not known"
# (imported fixations have no validation).
QUALITY_COLUMNS = {
    "participant": "str", "run": "int64", "eye": "str", "used": "bool", "passed": "str", "accuracy_deg": "float64",
    "accuracy_worst_deg": "float64", "rms_s2s_deg": "float64", "sd_deg": "float64", "loss_percent": "float64",
    "effective_hz": "float64", "rate_hz": "float64", "calibrations": "float64", "validations": "int64",
    "overridden": "int64", "overridden_by": "str",
}  # fmt: skip


# The model's attention on a picture: `map` is head-01 ..., mean or rollout. Masses are shares of all patches'
# attention; lift_pp = 100 (inside - area), in percentage points. special_mass: attention on class and register tokens,
# a share of all tokens', before the patches are renormalised; NaN for rollout. The rest is NaN where the picture has no
# mask.
ATTENTION_COLUMNS = {
    "model": "str", "layer": "int64", "map": "str", "stimulus": "str", "inside": "float64", "outside": "float64",
    "area": "float64", "lift_pp": "float64", "special_mass": "float64",
}  # fmt: skip


# `participant` is a label or "pooled" (all participants' map, each weighing the same). `map` is head-01 ..., mean,
# rollout, or a reference: centre, uniform, object (uniform within the mask), shuffled-head-01 ... and shuffled-mean
# (the same picture's gaze against that map on a few other pictures, mean over these). A measure that is not defined is
# null. `drift_corrected` is as the study set it; only the two tables below have rows with the other choice as well: the
# same fixations, moved by the drift on their trial's dot, participants' alone, by the primary measure alone.
ALIGNMENT_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "model": "str", "layer": "int64", "map": "str",
    "smooth": "str", "sigma": "float64", "sigma_unit": "str", "window_start_s": "float64", "window_end_s": "float64",
    "drift_corrected": "bool", "n_fixations": "int64",
}  # fmt: skip


# What chance is: gaze on `stimulus` against the attention on other pictures, at the fixed sigma. `of`: "others", a
# participant's mean over the other pictures that make up chance; "same kind" and "same half", over those of the
# picture's kind, or of its half (where heads are chosen on one half of the pictures and estimated on the other);
# "picture", the mean over participants for one other picture, `attention_of` (empty in the other rows), which
# `same_kind` and `same_half` describe. That mean is over "everybody", or over the participants of one `group` where
# these are compared, with equal counts. `drift_corrected` and measures as above (by equal counts the primary measure
# alone), `counted` as below.
CHANCE_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "of": "str", "attention_of": "str", "same_kind": "bool",
    "same_half": "bool", "group": "str", "counted": "str", "model": "str", "layer": "int64", "map": "str",
    "drift_corrected": "bool",
}  # fmt: skip


EVERYBODY = "everybody"


# At the fixed sigma: what the sound reading is made of. Columns and rows as in the comparisons over sigma, but without
# shuffled maps; in addition `within`: "picture", or "object" where both maps are cut to the object and then sum to one;
# `window_...`: the fixations of a window of viewing time (the first window is the whole); `counted`: "all" fixations,
# or "equal" where everybody has equally many on a picture, to compare groups. Further maps: see REFERENCES. Windows
# other than the whole, "object" and "equal" have nobody pooled. Such windows and "equal" have the primary
# measure alone, "object" has kl, cc, sim, nss and auc where the study has them.
FIXED_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "model": "str", "layer": "int64", "map": "str",
    "within": "str", "window_start_s": "float64", "window_end_s": "float64", "counted": "str",
    "drift_corrected": "bool", "n_fixations": "int64",
}  # fmt: skip


# Maps that know nothing of the trained model. centre: a Gaussian of set width; centre-fitted: fitted by likelihood to
# everybody's fixations on other pictures; uniform; object: uniform within it; random: the heads of the same network
# with random weights, the mean of their scores over heads and seeds; others: the ceiling, by each measure the map that
# is best for it by the density of the other viewers, fitted by likelihood (ceilings.py); by ssim and emd, where no such
# map is known, that density itself, which is no ceiling. HALF, not among these: the map of the first half of viewers
# at the fixed sigma (participant "pooled", whose fixations are the other half's).
REFERENCES = ("centre", "centre-fitted", "uniform", "object", "random", "others")


HALF = "half"


POOLED = "pooled"


MEASURE_COLUMNS = ("kl", "cc", "sim", "ssim", "nss", "auc", "auc_judd", "sauc", "ig", "emd")
