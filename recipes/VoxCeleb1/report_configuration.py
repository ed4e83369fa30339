"""The report page's last section: what was run, on what, by what."""

import re

from report_html import Html, element, facts, note, section


def show_configuration(report: dict, settings: dict) -> Html:
    """What was run, on what, by what."""
    names = {
        "model": "Model",
        "commit": "Commit",
        "seed": "Seed",
        "machine": "Machine",
        "trials": "Trial list",
        "trials_sha256": "SHA-256 of the list",
        "scoring": "Scores",
        "score_normalisation": "Score normalisation",
    }
    known = {
        "training", "calibration", "block_rates", "num_trials", "num_speakers",
        "num_target_trials", "num_utterances", "num_resamples",
        "num_speakers_trained_on", "condition", *names,
    }  # fmt: skip
    rest = {
        key: value
        for key, value in report.items()
        if key not in known and not re.match("eer_|min_dcf_", key)
    }
    main = {shown: report.get(key) for key, shown in names.items()}
    return section(
        "configuration",
        "Configuration",
        facts({**main, **_flatten(rest)}),
        _details("Training", report.get("training")),
        _details("Settings of the verification", settings),
    )


def _details(title: str, content: dict | None) -> Html:
    if not content:
        return note(f"{title}: not known.")
    return element(
        "details",
        element("summary", title),
        facts(
            {
                key: element("pre", value)
                if isinstance(value, str) and "\n" in value
                else "none"
                if value is None
                else value
                for key, value in _flatten(content).items()
            }
        ),
    )


def _flatten(content: dict, prefix: str = "") -> dict:
    """Nested values by the names of all levels."""
    flat = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
