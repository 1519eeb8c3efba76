"""Sentences on data quality: what was left out, the study's limits, and drift."""

from __future__ import annotations

from typing import Any

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import Findings, LayerReading, MapReading
from beholder.analysis.gaze.exclusion import LIMITS, counted, rules
from beholder.analysis.report.labels import amount, head_label, known_mean, listed, number, plural
from beholder.analysis.results.study_results import Results


def left_out(results: Results, main: LayerReading | None = None) -> str:
    """What did not go into the maps, and into the intervals of `main`; that nothing was left out is said too."""
    trials, fixations = results.trials, results.fixations
    kept = trials[trials["included"]]
    parts = []
    nobody = sorted(set(trials["participant"]) - set(kept["participant"]))
    if nobody:
        parts.append(f"{plural(len(nobody), 'participant')} altogether ({', '.join(nobody)})")
    for rows, all_rows, word in (
        (trials[~trials["included"]], trials, "trial"),
        (fixations[~fixations["used"]], fixations, "fixation"),
    ):
        if len(rows):
            parts.append(
                f"{len(rows):,} of {plural(len(all_rows), word)} ({counted(rows['why'], results.study.exclusion)})"
            )
    text = f"{listed(parts)}." if parts else "nothing: every trial and every fixation went into the maps."
    if main is not None:
        n, of = main.best.value.participants, kept["participant"].nunique()
        m, of_pictures = main.best.value.pictures, kept["stimulus"].nunique()
        if (n, m) != (of, of_pictures):
            text += (
                f" The intervals need every participant on every picture, and rest on {n} of {of} participants and {m} "
                f"of {of_pictures} pictures."
            )
    return text


def limits_sentence(results: Results) -> str:
    """The study's limits, set before the maps are made, and what they left out; that there are none is said too."""
    settings = results.study.exclusion
    if results.summary.sources != ("samples",):
        # Whether pictures were late is not known of imported data.
        settings = settings.model_copy(update={"late": False})
    said = rules(settings)
    if not said:
        return "The study sets no limits to loss, drift or accuracy: no trial was left out by any."
    # A trial without samples has no data loss to be judged by.
    unknown = int(results.trials["loss_percent"].isna().sum())
    text = f"By the study's limits {listed(said)} are left out before maps are made: "
    n = int(results.trials["why"].isin(LIMITS).sum())
    text += f"{f'{n:,}' if n else 'none'} of {plural(len(results.trials), 'trial')}."
    if unknown:
        text += f" {plural(unknown, 'trial')} without samples {'has' if unknown == 1 else 'have'} no loss to judge by."
    return text


def drift_sentences(results: Results, findings: Findings) -> list[str]:
    """How large drift was, and what its correction does to the heads' reading; nothing where none was measured."""
    every, limit = results.trials["drift_deg"], results.study.limits.drift_deg
    known = every.dropna()
    if known.empty:
        return []
    missing = len(every) - len(known)
    texts = [
        f"Drift, measured on the dot of {len(known):,} of {plural(len(every), 'trial')}, has a median of "
        f"{number(float(known.median()))}° and is at most {number(float(known.quantile(0.9)))}° in 90 % of them; "
        f"{plural(int((known > limit).sum()), 'trial')} drifted by more than {limit:g}°, and "
        f"{'none is' if missing == 0 else plural(missing, 'trial') + (' is' if missing == 1 else ' are')} without a "
        "figure."
    ]
    main = findings.main()
    other = findings.other_drift_of(main)
    if other is not None:
        moved = max(abs(_gain_or_score(b) - _gain_or_score(other.head(b.map))) for b in main.heads)
        corrected = results.study.fixations.correct_drift
        of = "gain over chance" if main.best.gain is not None else "score"
        same = main.ranked[0] == other.ranked[0]
        closest = f"{head_label(other.ranked[0])} {'stays' if same else 'would be'} the closest"
        texts.append(
            f"The main analysis {'corrects' if corrected else 'does not correct'} it. "
            f"{'Without' if corrected else 'With'} the correction {closest}, and no head's {of} differs by more than "
            f"{amount(moved, MEASURES[main.measure])}."
        )
    return texts


def counts(results: Results) -> dict[str, Any]:
    """The numbers with which the section on data quality begins."""
    trials, fixations, quality = results.trials, results.fixations, results.quality
    included = trials[trials["included"]]
    return {
        "participants": trials["participant"].nunique(),
        "participants_kept": included["participant"].nunique(),
        "trials": len(trials),
        "trials_kept": len(included),
        "fixations": len(fixations),
        "fixations_kept": int(fixations["used"].sum()),
        "empty": int((included["n_used"] == 0).sum()),
        "per_trial": float(included["n_used"].mean()) if len(included) else 0.0,
        "lost": known_mean(trials["loss_percent"]),
        "limits": limits_sentence(results),
        "outside": known_mean(100 * trials["outside_share"]),
        "validated": bool(quality["accuracy_deg"].notna().any()),
        "left_out": left_out(results),
    }


def _gain_or_score(head: MapReading) -> float:
    return head.value.mean if head.gain is None else head.gain.mean
