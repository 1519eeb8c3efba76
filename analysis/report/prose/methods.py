"""The report's methods section, and the references that it rests on.

Every sentence is made from results and settings alone and says no more than they carry: simulated observers are never
called people, what was not recorded is named, and only what was done is described.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.report.labels import known_total, listed, number, plural, sigma_text, viewers
from beholder.analysis.report.prose.quality import limits_sentence
from beholder.analysis.results.study_results import ModelSummary, Results
from beholder.shared.study import Study

REFERENCES_FILE = Path(__file__).resolve().parents[1] / "templates" / "references.bib"


def methods(results: Results) -> list[str]:
    """Sentences of a paper's methods section, from settings and results; only what was done."""
    imported = "fixations" in results.summary.sources
    recorded = results.summary.sources != ("fixations",)
    return [
        *(_recording_words(results) if recorded else []),
        *(["Fixations were imported as given, without samples." if not recorded else
           "Some fixations were imported as given, without samples."] if imported else []),
        limits_sentence(results),
        *_map_words(results),
        *(_model_words(results, m) for m in results.summary.models),
        *_comparison_words(results.study),
    ]  # fmt: skip


def _recording_words(results: Results) -> list[str]:
    """Participants, apparatus, procedure, calibration, data quality and fixations, after Dunn et al. (2023)."""
    s, summary = results.study, results.summary
    simulated = summary.simulated >= summary.participants > 0
    # The protocol of recordings imported from a tracker's own files is not known here.
    ours = "recordings" not in summary.sources
    missing: list[str] = []
    who = viewers(results, summary.participants)
    timed = _times_shown(results) if ours else ""
    texts = [f"{who[0].upper()}{who[1:]} viewed {plural(summary.stimuli, 'picture')}{timed}."]
    if not simulated:
        texts += _people_words(summary.setup.answers, missing)
        if ours:
            texts.append("They were asked to look freely, and to keep their heads still.")
    if not ours:
        texts.append("Recordings were imported from the tracker's own files; their protocol is described elsewhere.")
    texts += _apparatus_words(results, simulated, missing)
    if ours and results.quality["accuracy_deg"].notna().any():
        texts.append(
            f"Calibration had {s.protocol.calibration_points} points, validation {s.protocol.validation_points} "
            f"others; a validation passed up to {s.limits.accuracy_mean_deg:g}° on average, "
            f"{s.limits.accuracy_worst_deg:g}° at the worst point and {s.limits.loss_percent:g} % of samples lost."
        )
    texts += _quality_numbers(results, missing)
    if ours and not simulated:
        for name, said in (("head support", s.protocol.head_support), ("lighting", s.protocol.lighting)):
            if said:
                texts.append(f"{name[0].upper()}{name[1:]}: {said.rstrip('.')}.")
            else:
                missing.append(name)
    texts.append(_fixation_words(results))
    return [*texts, *([f"Not recorded: {listed(missing)}."] if missing else [])]


def _times_shown(results: Results) -> str:
    """How long pictures were shown, by the recordings of included trials, and the dots before them, by study.toml."""
    shown = results.trials.loc[results.trials["included"], "shown_s"].dropna()
    if not len(shown):
        return ""
    low, middle, high = (round(float(v), 2) for v in (shown.min(), shown.median(), shown.max()))
    spread = "" if high - low < 0.05 else f" ({low:g} to {high:g} s)"
    return f", each for {middle:g} s{spread} after a dot of {results.study.protocol.dot_s:g} s"


def _people_words(answers: dict[str, dict[str, int]], missing: list[str]) -> list[str]:
    """Age, sex and vision of the participants, as they answered; what nobody answered is added to `missing`."""
    parts = []
    ages = {int(a): n for a, n in answers.get("age", {}).items() if a.isdigit()}
    if ages:
        each = np.repeat(list(ages), list(ages.values()))
        spread = f", SD {number(each.std(ddof=1), 1)}" if len(each) > 1 else ""
        parts.append(f"mean age {number(each.mean(), 1)} years ({each.min()} to {each.max()}{spread})")
    else:
        missing.append("age")
    names = {"F": "female", "M": "male", "O": "other", "none": "no aid to vision"}
    for column in ("sex", "vision"):
        given = {names.get(k, k): n for k, n in answers.get(column, {}).items() if k != "n/a"}
        parts += [f"{n} {k}" for k, n in given.items()]
        if not given:
            missing.append(column)
    unknown = [f"{column} of {n}" for column, by in answers.items() if 0 < (n := by.get("n/a", 0)) < sum(by.values())]
    return [f"They were: {listed(parts)}{f' ({listed(unknown)} unknown)' if unknown else ''}."] if parts else []


def _apparatus_words(results: Results, simulated: bool, missing: list[str]) -> list[str]:
    """Screen, tracker, sampling rate and eyes; what is not known is added to `missing`."""
    s, setup, texts = results.study, results.summary.setup, []
    screens = list(setup.screens)
    if not screens and s.screen is not None:
        screens = [f"{s.screen.width_px} x {s.screen.height_px} px and {s.screen.width_cm:g} x "
                   f"{s.screen.height_cm:g} cm, at {s.screen.distance_cm:g} cm"]  # fmt: skip
    if screens:
        size = f" Pictures spanned {s.pictures.size_deg:g}° ({s.pictures.size_of})." if s.pictures.size_deg else ""
        refresh = f", refreshed at {s.screen.refresh_hz:g} Hz" if s.screen is not None and not simulated else ""
        texts.append(f"The screen had {' or '.join(screens)} from the eyes{refresh}.{size}")
    else:
        missing.append("the screen's size and distance")
    rates = sorted(results.quality["rate_hz"].dropna().unique())
    of = {
        "better": "of the eye with the smaller validation error",
        "mean": "of both eyes, whose mean was taken,",
    }.get(s.fixations.eye, f"of the {s.fixations.eye} eye")
    gaze = "Synthetic gaze" if simulated else "Gaze"
    if len(rates):
        by = "" if simulated or not setup.trackers else f" by {listed(setup.trackers)}"
        texts.append(f"{gaze} {of} was sampled{by} at {listed([f'{r:g}' for r in rates])} Hz.")
    if not setup.trackers and not simulated:
        missing.append("the tracker's model")
    return texts


def _quality_numbers(results: Results, missing: list[str]) -> list[str]:
    """Accuracy and precision over participants, added to `missing` where not known, and data loss over trials."""
    q = results.quality[results.quality["used"]].groupby("participant")
    texts = []
    accuracy, precision = q["accuracy_deg"].mean().dropna(), q["rms_s2s_deg"].mean().dropna()
    if len(accuracy):
        spread = f" (SD {number(accuracy.std(ddof=1))}°, worst {number(accuracy.max())}°)" if len(accuracy) > 1 else ""
        said = f"By the last accepted validation accuracy was {number(accuracy.mean())}°{spread} over participants"
        if len(precision):
            said += f" and precision {number(precision.mean(), 3)}° (RMS of steps from sample to sample)"
        overridden = known_total(results.quality.drop_duplicates(["participant", "run"])["overridden"])
        if overridden:
            said += f"; {plural(overridden, 'validation')} beyond the limits went on by the operator's decision"
        texts.append(f"{said}; determined with ETDQualitizer (Niehorster et al. 2026).")
    else:
        missing.append("accuracy and precision")
    lost = results.trials["loss_percent"].dropna()
    if len(lost):
        texts.append(f"While pictures stood, {number(lost.mean(), 1)} % of samples were lost.")
    return texts


def _fixation_words(results: Results) -> str:
    f = results.study.fixations
    by = {
        "ivt": f"by velocity (I-VT, Salvucci and Goldberg 2000; {f.velocity_deg_s:g}°/s, {f.window_ms:g} ms window)",
        "idt": f"by dispersion (I-DT, Salvucci and Goldberg 2000; {f.dispersion_deg:g}°)",
        "i2mc": "by two-means clustering (I2MC, Hessels et al. 2017)",
    }
    # "auto" chooses by the sampling rate: only methods that were used are named.
    rates = results.quality["rate_hz"].dropna()
    used = [m for m, some in (("ivt", (rates >= 100).any()), ("i2mc", (rates < 100).any())) if some]
    both = f"{by['ivt']} from 100 Hz on, {by['i2mc']} below"
    how = by.get(f.method) or (by[used[0]] if len(used) == 1 else both)
    return (
        f"Fixations were found {how} with pymovements (Krakowczyk et al. 2023), merged below {f.merge_ms:g} ms and "
        f"{f.merge_deg:g}°, and dropped below "
        f"{f.shortest_ms:g} ms; gaps up to {f.gap_ms:g} ms were interpolated and {f.blink_margin_ms:g} ms around "
        f"blinks removed. The fixation under way at picture onset was {'left out' if f.drop_first else 'kept'}; "
        f"drift was {'corrected by the dot before each picture' if f.correct_drift else 'not corrected'}"
        f"{', and the primary measure computed both ways' if results.trials['drift_x_px'].notna().any() else ''}."
    )


def _map_words(results: Results) -> list[str]:
    s = results.study
    smoothed = {"human": "people's maps", "model": "the model's maps", "both": "people's and the model's maps"}
    weight = "weighted by duration" if s.maps.weight == "duration" else "each counting the same"
    first, last = f"{s.maps.sigma_from:g}", sigma_text(s, s.maps.sigma_to)
    swept = f", and swept from {first} to {last} in steps of {s.maps.sigma_step:g} for the replication"
    swept = swept if len(s.maps.sigmas()) > 1 else ""
    return [
        f"Fixations, {weight}, made maps of {s.maps.longer_side_px} px on the longer side. A Gaussian smoothed "
        f"{smoothed[s.maps.smooth]}; its σ was fixed beforehand at {sigma_text(s, s.maps.sigma)}{swept}."
    ]


def _model_words(results: Results, m: ModelSummary) -> str:
    layers = f"layer{'s' if len(m.analysed_layers) > 1 else ''} {listed([str(n) for n in m.analysed_layers])}"
    table = results.attention_table
    special = table.loc[(table["model"] == m.name) & (table["map"] == "mean"), "special_mass"].mean()
    text = (
        f"Attention of {m.label} ({m.name}; weights: {m.weights.rstrip('.')}) was taken after the softmax from "
        f"{m.query} to the patches of {m.patch_px} px, in {plural(m.heads, 'head')} of {layers} of {m.layers}, on "
        f"the whole picture resized to {max(m.input_px)} px on its longer side, and divided by its sum over patches."
    )
    if np.isfinite(special):
        text += f" Before that, {number(100 * special, 1)} % of it lay on class and register tokens on average."
    return text


def _comparison_words(s: Study) -> list[str]:
    names = {
        "kl": "KL divergence of the model's map from people's, KL(human || model) in nats",
        "cc": "Pearson's correlation (CC)",
        "sim": "SIM, the sum over pixels of the smaller of both densities",
        "ssim": "SSIM of maps scaled to a maximum of 1 (Wang et al. 2004)",
        "nss": "NSS at the fixated pixels",
        "auc": "AUC with all pixels as negatives",
        "auc_judd": "AUC-Judd",
        "sauc": "shuffled AUC, whose negatives are the fixations on all other pictures (Zhang et al. 2008)",
        "ig": "information gain in bits per fixation over a centre bias fitted to other pictures (K\u00fcmmerer et al. "
        "2015; maps had a share of 1 % of the uniform density)",
        "emd": "the earth mover's distance on at most 16 cells a side",
    }
    texts = [
        "The maps of each participant and picture were compared by "
        f"{listed([names[m] for m in s.alignment.measures])}, with the conventions of the MIT saliency benchmark "
        f"(Bylinskii et al. 2019). The primary measure, set beforehand, is {MEASURES[s.alignment.primary].label}."
    ]
    if s.alignment.chance_pictures:
        texts.append(
            "Chance for a head is the same gaze compared with that head's attention on "
            + (
                "all other pictures"
                if s.alignment.chance_pictures >= 50
                else f"{plural(s.alignment.chance_pictures, 'other picture')}"
            )
            + ". Further floors are a Gaussian at the centre whose SD is "
            f"{s.alignment.centre_share:.3g} of the picture's width and height, a Gaussian fitted by likelihood to the "
            "fixations on all other pictures, an even spread, an even spread over the object"
            + (
                f", and the same network with random weights ({s.alignment.random_weights} seeds)"
                if s.alignment.random_weights
                else ""
            )
            + ". The ceiling is the density of all the other viewers of the same picture, with a width and admixtures "
            f"fitted by the likelihood of each viewer's fixations under the others'. {_ceiling_words(s)}"
        )
    if s.alignment.choose_on == "half":
        texts.append(
            "The closest head was chosen on half of the pictures, drawn at random, and its figures estimated on the "
            "other half, with chance from that half alone."
        )
    texts.append(
        "Means over participants and pictures carry 95 % intervals by Satterthwaite's approximation with both as "
        "random factors (Satterthwaite 1946; Clark 1973; Baayen et al. 2008; Judd et al. 2012). Heads were compared "
        "by a quasi-F with Huynh-Feldt epsilon (Huynh and Feldt 1976), and in pairs with Bonferroni's correction. The "
        "gain over chance is a U-statistic over pictures (Hoeffding 1948), each of which has a part in it by its gaze "
        "and by its attention: intervals and tests are of the jackknife's pseudo-values (Efron and Stein 1981), with p "
        "values corrected over the heads of a layer by Holm's method. Whether any head is above chance was tested by "
        "permuting pictures, corrected over all heads and layers (Westfall and Young 1993). Beside these stands that "
        "of Carrasco et al. (2025): a one-way ANOVA over heads and Tukey's HSD at "
        f"{'the mean best' if len(s.maps.sigmas()) > 1 else 'that'} σ."
    )
    return texts


def _ceiling_words(s: Study) -> str:
    """Which map of the other viewers' density each measure of the study is scored with."""
    own = {
        "sauc": "its ratio to the density of fixations on other pictures for shuffled AUC",
        "kl": "the mean human map for KL divergence",
        "cc": "the mean of z-scored human maps, to the first order in the number of fixations, for CC",
        "sim": "quantiles of the human maps' values for SIM",
    }
    measures, points = s.alignment.measures, s.maps.smooth == "model"
    if points:
        del own["sim"]
    plain = [MEASURES[m].label for m in measures if m not in (*own, "sim") and not MEASURES[m].no_best_map]
    maps = [f"the density itself for {listed(plain)}"] if plain else []
    maps += [text for m, text in own.items() if m in measures]
    without = [MEASURES[m].label for m in measures if MEASURES[m].no_best_map]
    texts = []
    if maps:
        best = "By each measure it is scored as the map that is best for it on average (K\u00fcmmerer et al. 2018)"
        texts.append(f"{best}: {listed(maps)}.")
    if without:
        have = "has" if len(without) == 1 else "have"
        texts.append(f"{listed(without)} {have} no ceiling, as no rule for the best map is known.")
    if points and "sim" in measures:
        texts.append("SIM has no ceiling where people's fixations stay points.")
    return " ".join(texts)


def references(results: Results) -> str:
    """BibTeX of what the methods rest on, only what this study used."""
    study = results.study
    keys = {"bylinskii2019", "clark1973", "satterthwaite1946", "huynh1976", "baayen2008", "judd2012", "dunn2023"}
    keys |= {"carrasco2025", "tukey1949", "dosovitskiy2021"}
    by_measure = {"ssim": "wang2004", "sauc": "zhang2008", "ig": "kummerer2015"}
    keys |= {key for measure, key in by_measure.items() if measure in study.alignment.measures}
    keys |= {"westfall1993", "hoeffding1948", "efron1981", "kummerer2018"} if study.alignment.chance_pictures else set()
    if results.summary.sources != ("fixations",):
        keys |= {"niehorster2026", "krakowczyk2023"}
        keys |= {"salvucci2000"} if study.fixations.method != "i2mc" else set()
        keys |= {"hessels2017"} if study.fixations.method in ("i2mc", "auto") else set()
    of_family = {"dino": "caron2021", "dinov2": "oquab2023"}
    keys |= {of_family[m.family] for m in results.summary.models if m.family in of_family}
    entries = REFERENCES_FILE.read_text("utf-8").strip().splitlines()
    return "\n".join(e for e in entries if e.partition("{")[2].partition(",")[0] in keys)
