"""Sentences on chance, on differences between heads, models and groups, and on the published analysis."""

from __future__ import annotations

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import BestSigma, Findings, LayerReading, Replication
from beholder.analysis.report.labels import (
    amount,
    head_label,
    heads_listed,
    interval,
    layer_label,
    layer_words,
    listed,
    model_of,
    number,
    p_equals,
    plural,
    short_label,
    sigma_text,
)
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import LEVEL
from beholder.analysis.statistics.quasi_f import HeadEffect
from beholder.shared.study import Study


def floor_sentences(results: Results, findings: Findings) -> list[str]:
    """Sentences on chance for each model, and on floors and ceiling of the main layer."""
    main = findings.main()
    texts = []
    for t in findings.above_chance:
        label = short_label(model_of(results, t.model))
        if t.p is None or t.z is None or t.gain is None:
            continue
        p = f"p < {t.smallest_p:.1g}" if t.p <= t.smallest_p and not t.exact else f"p = {number(t.p, 4)}"
        how = f"all {t.permutations:,} orders" if t.exact else f"{t.permutations:,} permutations"
        texts.append(
            f"Above chance, {label}: the largest standardised gain of {t.maps} heads is that of {head_label(t.map)} of "
            f"{layer_words(results, t.model, t.layer)} ({amount(t.gain, MEASURES[t.measure])}"
            f", z = {number(t.z, 1)}; {p} by {how} of the pictures of attention, corrected for all heads and "
            f"layers). {_follows(t.p)}"
        )
    nss = next((s for s in findings.measures_of(main) if s.measure == "nss"), None)
    if nss is not None:
        centre = next((r for r in nss.references if r.map == "centre"), None)
        text = (
            f"By NSS the heads go from {number(nss.worst.value.mean)} ({head_label(nss.worst.map)}) to "
            f"{number(nss.best.value.mean)} ({head_label(nss.best.map)})"
        )
        if centre is not None:
            text += f"; a Gaussian at the centre has {number(centre.value.mean)}"
        if findings.half is not None:
            text += f", and one half of the viewers predicts the other half at {number(findings.half.mean)}"
        texts.append(f"{text}.")
    if main.best.inside is not None and main.inside_uniform is not None:
        m = MEASURES[main.measure]
        texts.append(
            f"Within the object alone, where figure and ground play no part, {head_label(main.best.map)} scores "
            f"{number(main.best.inside.mean)} ({interval(main.best.inside)}) and an even spread over the object "
            f"{number(main.inside_uniform.mean)}; {m.closer} is closer."
        )
    return texts


def _follows(p: float) -> str:
    """What the test by permuted pictures shows, in a sentence."""
    if p < 1 - LEVEL:
        return "It says that attention follows which picture was shown, for these participants and pictures like these."
    return "It does not show that attention follows which picture was shown."


def layer_sentences(results: Results, findings: Findings) -> list[str]:
    """The head effect of each layer shown, in words with its numbers."""
    texts = []
    for s in findings.shown():
        label = layer_label(results, s.model, s.layer)
        if s.head_effect is None:
            texts.append(f"{label}: whether heads differ cannot be tested with so few heads, participants or pictures.")
            continue
        measure = MEASURES[s.measure].label
        text = f"{label}: heads {_differ(s.head_effect, s.head_effect_p_holm)} in {measure}, {_test(s.head_effect)}"
        if s.head_effect_p_holm is not None:
            text += f", p {p_equals(s.head_effect_p_holm)} when corrected for the model's layers by Holm's method"
        if s.gain_effect is not None:
            text += f"; and {_differ(s.gain_effect)} in how far above chance they are, {_test(s.gain_effect)}"
        texts.append(text + ".")
        if s.on_logs is not None:
            texts.append(_logs_sentence(s, measure))
    return texts


def _logs_sentence(s: LayerReading, measure: str) -> str:
    """What the logarithms of a skewed measure say of the closest head and of the head effect."""
    logs = s.on_logs
    if logs is None:
        return ""
    same = "stays" if logs.ranked[0] == s.ranked[0] else "would be"
    text = (
        f"{measure} has a long tail, longer for some heads than for others. By its logarithm "
        f"{head_label(logs.ranked[0])} {same} the closest"
    )
    if logs.head_effect is not None:
        ties = f"{heads_listed(logs.ties)} cannot" if logs.ties else "every other head can"
        text += f", {ties} be told from it, and heads {_differ(logs.head_effect)} ({_test(logs.head_effect)})"
    return f"{text}."


def model_sentences(results: Results, findings: Findings) -> list[str]:
    """Each pair of models in a sentence, by the mean of heads in the last layer analysed."""
    measure = MEASURES[findings.primary]
    texts = []
    for c in findings.model_contrasts:
        labels = layer_label(results, c.first, c.first_layer), layer_label(results, c.second, c.second_layer)
        closer, other = labels if c.difference >= 0 else labels[::-1]
        low, high = sorted((c.low, c.high) if c.difference >= 0 else (-c.low, -c.high))
        whether = "" if c.p < 1 - LEVEL else ", from which it cannot be told"
        by_how_much = amount(abs(c.difference), measure)
        what = {
            "score": f"is {by_how_much} closer to where they looked than {other}",
            "gain": f"gains {by_how_much} more over its attention on other pictures than {other}",
        }[c.of]
        texts.append(
            f"By the mean of its heads {closer} {what}{whether} (simultaneous 95 % interval {number(low)} to "
            f"{number(high)}, p {p_equals(c.p)})."
        )
    return texts


def group_sentences(results: Results, findings: Findings) -> list[str]:
    """Groups of participants, by the mean of heads and head by head, in the layers shown."""
    groups = findings.groups
    if groups is None:
        return []
    measure = MEASURES[findings.primary]
    sizes = listed([f"{n} of {name}" for name, n in groups.sizes.items()])
    texts = [
        f"Groups by {groups.column} ({sizes}) are compared with equal numbers of fixations, "
        f"{number(groups.fixations, 1)} on a picture, for maps of more fixations are less noisy."
    ]
    keys = list(dict.fromkeys((c.model, c.layer, c.first, c.second, c.of) for c in groups.contrasts))
    for *key, by in keys:
        of = [c for c in groups.contrasts if [c.model, c.layer, c.first, c.second, c.of] == [*key, by]]
        model, layer, first, second = of[0].model, of[0].layer, of[0].first, of[0].second
        label = layer_label(results, model, layer)
        for c in of:
            if c.map != "mean":
                continue
            closer, other = (first, second) if c.difference >= 0 else (second, first)
            by_how_much = amount(abs(c.difference), measure)
            text = f"The mean of heads of {label} is {by_how_much} closer to {closer} than to {other}"
            if by == "gain":
                text = (
                    f"Over chance the mean of heads of {label} gains {by_how_much} more with {closer} than with {other}"
                )
            if c.low is not None and c.high is not None and c.p is not None:
                low, high = sorted((c.low, c.high) if c.difference >= 0 else (-c.low, -c.high))
                text += "" if c.p < 1 - LEVEL else ", which is no difference that these data show"
                text += f" (95 % interval {number(low)} to {number(high)}, p {p_equals(c.p)})"
            texts.append(f"{text}.")
        heads = [c for c in of if c.p_holm is not None]
        differing = [c.map for c in heads if c.p_holm is not None and c.p_holm < 1 - LEVEL]
        if heads:
            verb = "differs" if len(differing) == 1 else "differ"
            what = f"{heads_listed(differing)} {verb}" if differing else "no head differs"
            gain = " in its gain over chance" if by == "gain" else ""
            texts.append(
                f"Head by head, {what}{gain} between {first} and {second}, corrected over heads by Holm's method."
            )
    return texts


def _differ(e: HeadEffect, corrected: float | None = None) -> str:
    return "differ" if (e.p if corrected is None else corrected) < 1 - LEVEL else "are not shown to differ"


def _test(e: HeadEffect) -> str:
    return f"quasi-F({e.df1:.1f}, {e.df2:.1f}) = {e.f:.2f}, p {p_equals(e.p)} (Huynh-Feldt epsilon {e.epsilon:.2f})"


def replication_sentences(findings: Findings) -> list[str]:
    """The published analysis of each measure of the main layer, in words with its numbers."""
    texts = []
    for r in findings.replications_of(findings.main()):
        found = []
        if r.best_sigma_mean is not None:
            found.append(_best_sigma_words(r, r.best_sigma_mean))
        if r.anova is not None:
            a = r.anova
            found.append(
                f"One-way ANOVA over heads at σ = {r.sigma:g}: F({a.df1}, {a.df2}) = {a.f:.2f}, p {p_equals(a.p)}, "
                f"eta squared {a.eta_squared:.3f}"
            )
            found.append(f"Closest {head_label(r.ranked[0])}, farthest {head_label(r.ranked[-1])}")
        if found:
            texts.append(f"{MEASURES[r.measure].label}: {'. '.join(found)}.")
    return texts


def _best_sigma_words(r: Replication, mean: float) -> str:
    text = f"best σ {number(mean)}"
    if r.best_sigma_sd is not None and r.best_sigma_se is not None:
        text += f" ± {number(r.best_sigma_se, 3)} over heads (mean ± SE; SD {number(r.best_sigma_sd, 3)})"
    edge = sum(c.at_edge for c in r.curves)
    if edge:
        text += f", for {edge} of {plural(len(r.curves), 'head')} at the end of the sweep, where it is no optimum"
    text += _over_cells(r.over_cells)
    if r.shuffled_curve is not None and r.shuffled_curve.best_sigma is not None:
        at_end = ", the end of the sweep" if r.shuffled_curve.at_edge else ""
        text += f"; the shuffled pictures' best is {r.shuffled_curve.best_sigma:g}{at_end}"
    return text


def _over_cells(of: BestSigma | None) -> str:
    """The best sigma over participants x pictures, for a sentence; nothing where there is none."""
    if of is None:
        return ""
    text = f"; {number(of.mean)}"
    if of.sd is not None and of.se is not None:
        text += f" ± {number(of.se, 3)}"
    text += " over participants x pictures, each with the mean of its heads"
    if of.sd is not None:
        text += f" (SD {number(of.sd, 3)}, n = {of.cells:,})"
    return text + (f", {of.at_edge:,} of them at the end of the sweep" if of.at_edge else "")


def sigma_reading(study: Study, findings: Findings) -> str:
    """At which sigma the replicated measure's curves are best, in words; empty where nothing was compared."""
    if len(study.maps.sigmas()) == 1:
        return f"Sigma was not swept: every score is of σ = {sigma_text(study, study.maps.sigma)}, and none is best."
    found = [r for r in findings.replications_of(findings.main()) if r.measure == findings.replicated]
    if not found or found[0].mean_curve.best_sigma is None:
        return ""
    mean, chance = found[0].mean_curve, found[0].shuffled_curve
    text = f"By {MEASURES[findings.replicated].label} the heads' mean is best at σ = "
    text += sigma_text(study, found[0].mean_curve.best_sigma or 0.0)
    text += ", where the sweep ends: that is no optimum" if mean.at_edge else ""
    if chance is not None and chance.best_sigma is not None:
        text += f"; other pictures are best at {sigma_text(study, chance.best_sigma)}"
        text += ", where the sweep ends" if chance.at_edge else ""
    if findings.replicated != findings.primary:
        text += f". {MEASURES[findings.primary].label}, the primary measure, is taken at the fixed σ alone"
    return f"{text}."


REPLICATION_WARNING = (
    "This is the published analysis. It treats every participant and picture as an independent replicate of a head, "
    "which they are not: people share pictures, and a head does well on some pictures and badly on others. In "
    "simulated studies of 30 participants, 20 pictures and 12 heads that did not differ at all, its ANOVA found p < "
    ".05 in 4 % of studies where pictures did not matter to heads, in 45 % where the SD of head by picture was 0.3 of "
    "the residual SD, and in nearly all where it was 1; taking sigmas as replicates found it always. That is where "
    "participants, and pictures, differ from each other by one residual SD and hide some of it; where they differ by "
    "half as much, it was 45 % even though pictures did not matter to heads. The sound reading found it in 4 to 5 %. "
    "Do not conclude from these p values."
)


SIGMA_WARNING = (
    "Sigma changes the target as well as the match: a wider Gaussian makes every human map flatter, so that any map, "
    "that of another picture included, comes closer to it. The dashed curve shows how much of the change any map "
    "shares. Heads may be compared with each other at one sigma. Scores at different sigmas may not be compared to "
    "choose one, and where a curve is best is no measure of how wide people's or the model's attention is."
)
