"""The sections of the report page: figures to HTML; reads no files."""

import math
import re
from collections.abc import Sequence

import numpy as np
from figures import ScoredSystem
from report_charts import draw_blocks, draw_det, draw_interval, draw_scores
from report_groups import Groups
from report_html import Html, element, facts, note, section, table

from custom_modules.scoring import Trials

LETTERS = "ABCDEFGH"


def show_headline(report: dict) -> Html:
    """EER and minDCF with intervals, and what they were measured on."""
    low, high = report["eer_interval_percent"]
    eer = report["eer_percent"]
    tiles = [
        _tile(
            "Equal error rate",
            f"{eer:.2f} %",
            f"{low:.2f} to {high:.2f} %",
            draw_interval(eer, low, high, max(1.25 * high, 0.1)),
        )
    ]
    for p_target in find_priors(report):
        key = f"min_dcf_{p_target}"
        cost, interval = report[key], report.get(f"{key}_interval")
        shown, line = "", Html("")
        if interval is not None:
            shown = f"{interval[0]:.3f} to {interval[1]:.3f}"
            line = draw_interval(cost, *interval, max(1.0, interval[1]))
        tiles.append(_tile(f"minDCF({p_target})", f"{cost:.3f}", shown, line))
    warning = Html("")
    if report.get("num_speakers_trained_on"):
        warning = element(
            "p",
            element("strong", "NOT A FAIR TEST"),
            f": {report['num_speakers_trained_on']} of "
            f"{report['num_speakers']} speakers were trained on, so the error "
            "rates are too low.",
            class_="warning",
        )
    counts = {
        "Trial list": report.get("trials"),
        "Trials": f"{report['num_trials']:,}",
        "Target trials": f"{report['num_target_trials']:,}",
        "Speakers": f"{report['num_speakers']:,}",
    }
    if "condition" in report:
        counts["Condition"] = report["condition"]
    if "num_utterances" in report:
        counts["Utterances"] = f"{report['num_utterances']:,}"
    return section(
        "figures",
        "How good, and how sure",
        warning,
        element("div", *tiles, class_="tiles"),
        note(
            f"Ranges are 95 % intervals over speakers, by a bootstrap of "
            f"{report['num_resamples']:,} resamples. minDCF is normalised: 1 "
            "is a system that rejects everything."
        ),
        element("div", facts(counts), class_="counts"),
    )


def _tile(name: str, value: str, interval: str, line: Html) -> Html:
    return element(
        "div",
        element("p", name, class_="name"),
        element("p", value, class_="value"),
        line,
        element("p", interval, class_="range"),
        class_="tile",
    )


def find_priors(report: dict) -> list[str]:
    """The p_target of every minDCF of a report, as they are written.

    Example
    -------
    >>> find_priors({"min_dcf_0.01": 1.0, "min_dcf_0.01_threshold": 0.5})
    ['0.01']
    """
    matches = (re.fullmatch(r"min_dcf_([\d.]+)", key) for key in report)
    return [match[1] for match in matches if match]


def show_calibration(calibration: dict) -> Html:
    """Whatever numbers a calibration has, like with like in a table."""
    groups = {k: v for k, v in calibration.items() if isinstance(v, dict)}
    tables: dict[tuple[str, ...], list[list[object]]] = {}  # by columns
    for name, values in groups.items():
        row = [name, *map(_number, values.values())]
        tables.setdefault(tuple(values), []).append(row)
    rest = {k: v for k, v in calibration.items() if k not in groups}
    return section(
        "calibration",
        "Calibration",
        *(
            table(
                ", ".join(str(row[0]) for row in rows),
                ["Measure", *columns],
                rows,
            )
            for columns, rows in tables.items()
        ),
        facts({name: _number(value) for name, value in rest.items()})
        if rest
        else "",
    )


def _number(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else value


def show_curves(
    report: dict,
    trials: Trials,
    scores: np.ndarray,
    dev_threshold: float | None,
    threshold_note: str,
) -> Html:
    """DET curve, histograms, and what each threshold does.

    Arguments
    ---------
    report : dict
        Of `make_report`.
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    dev_threshold : float | None
        Of the model, chosen on development trials.
    threshold_note : str
        Why there is none.

    Returns
    -------
    section : Html
    """
    is_target = trials.is_target
    thresholds = {"EER": report["eer_threshold"]}
    for p_target in find_priors(report):
        threshold = report.get(f"min_dcf_{p_target}_threshold")
        if threshold is not None:
            thresholds[f"minDCF({p_target})"] = threshold
    scoring = report.get("scoring", "as given")
    elsewhere = {}  # what was not chosen on these trials
    if "calibration" in report:
        scoring = "calibrated log-likelihood ratio"
        for p_target in map(float, find_priors(report)):
            bayes = math.log((1 - p_target) / p_target)
            elsewhere[f"Bayes({p_target})"] = bayes
    if dev_threshold is not None:
        elsewhere["development EER"] = dev_threshold
    chosen_here = LETTERS[: len(thresholds)]
    thresholds |= elsewhere
    lettered = dict(zip(LETTERS, thresholds.items(), strict=False))
    rows = []
    for letter, (name, threshold) in lettered.items():
        miss = 100 * np.mean(scores[is_target] < threshold)
        false_alarm = 100 * np.mean(scores[~is_target] >= threshold)
        rows.append(
            [
                f"{letter} {name}",
                f"{threshold:.4f}",
                f"{miss:.2f}",
                f"{false_alarm:.2f}",
            ]
        )
    interval = tuple(report["eer_interval_percent"])
    system = ScoredSystem("", scores, is_target, interval)
    key = element(
        "p",
        element("span", "non-target", class_="key nontarget"),
        " ",
        element("span", "target", class_="key target"),
        class_="keys",
    )
    charts = element(
        "div",
        element(
            "figure",
            draw_det(system, report["eer_percent"]),
            element("figcaption", "DET curve. Down and left is better."),
        ),
        element(
            "figure",
            draw_scores(
                scores,
                is_target,
                {k: v for k, (_, v) in lettered.items()},
                scoring,
            ),
            key,
            element("figcaption", "Scores; letters are the thresholds below."),
        ),
        class_="charts",
    )
    return section(
        "curves",
        "Which threshold",
        charts,
        table(
            "Thresholds on these trials",
            ["Threshold", "Score", "Misses, %", "False alarms, %"],
            rows,
        ),
        note(
            f"{', '.join(chosen_here)} were chosen on these very trials. "
            f"{threshold_note}"
        ),
    )


def show_groups(groups: dict[str, Groups | str]) -> Html:
    """A table for each property, or why there is none."""
    parts = []
    for name, found in groups.items():
        if isinstance(found, str):
            parts.append(note(f"EER by {name} is left out: {found}."))
            continue
        rows = []
        for rate in found.rates:
            shown = "left out: one class alone"
            if rate.eer_percent is not None:
                shown = _range(rate.eer_percent, rate.interval_percent)
            counts = [f"{rate.num_trials:,}", f"{rate.num_target_trials:,}"]
            rows.append([rate.name, shown, *counts])
        header = [name.capitalize(), "EER, %", "Trials", "Target trials"]
        parts.append(table(f"EER by {name}", header, rows))
        if found.num_left_out:
            parts.append(
                note(f"{found.num_left_out:,} trials are in none of these.")
            )
    parts.append(
        note(
            "Gender: trials within one. Duration: thirds of the trials, by the "
            "shorter of the two utterances. In brackets: 95 % over speakers. "
            "Each EER has its own threshold."
        )
    )
    return section("groups", "Where it fails", *parts)


def show_blocks(rates: dict | None) -> Html:
    """Error rates of every block, or why there are none."""
    title = "Block by block"
    if rates is None:
        return section("blocks", title, note("Left out: not measured."))
    if "left_out" in rates:
        return section("blocks", title, note(f"Left out: {rates['left_out']}."))
    heads = {point["block"]: point for point in rates["heads"]}

    def show(point: dict | None) -> str:
        if point is None:
            return ""
        return _range(point["eer_percent"], point["eer_interval_percent"])

    rows = [
        [str(point["block"]), show(point), show(heads.get(point["block"]))]
        for point in rates["statistics"]
    ]
    rows.append(["whole model", show(rates["final"]), ""])
    header = ["Block", "Mean and deviation, %"]
    key = [element("span", "mean and deviation", class_="key statistics")]
    left_out = ""
    if heads:
        header.append("Trained head, %")
        key += [" ", element("span", "trained head", class_="key heads")]
    else:
        rows = [row[:2] for row in rows]
        left_out = f"Trained heads are left out: {rates['heads_left_out']}."
    chart = element(
        "figure", draw_blocks(rates), element("p", *key, class_="keys")
    )
    return section(
        "blocks",
        title,
        element(
            "p",
            "What each block of the encoder knows of the speaker, by plain "
            "cosines: of means and deviations of its frames, and of the "
            "embeddings of its trained head, if it has one.",
        ),
        element(
            "div",
            chart,
            table("EER of every block", header, rows),
            class_="charts",
        ),
        note(left_out) if left_out else "",
    )


def _range(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
