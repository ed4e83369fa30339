"""One Markdown table of what all stages measured."""

import json
from pathlib import Path


def make_table(folder: Path) -> str:
    """One Markdown table of all stages whose results are in a folder."""
    lines = [
        "| stage | what | median | fastest to slowest | per second | note |",
        "|---|---|---|---|---|---|",
    ]
    targets = ["| target | measured | bound | |", "|---|---|---|---|"]
    profiles, origins = [], []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        stage = content["stage"]
        for row in content["rows"]:
            per_second = f"{row['per_second']:,.4g} {row['unit']}"
            spread = f"{_time(row['fastest_s'])} to {_time(row['slowest_s'])}"
            lines.append(
                f"| {stage} | {row['what']} | {_time(row['median_s'])} | "
                f"{spread} | {per_second} | {row['note']} |"
            )
        for target in content["targets"]:
            sign = "≥" if target["is_lower_bound"] else "≤"
            verdict = "met" if target["is_met"] else "**not met**"
            targets.append(
                f"| {stage}: {target['what']} | {target['value']:,.3g} "
                f"{target['unit']} | {sign} {target['bound']:,g} "
                f"{target['unit']} | {verdict} |"
            )
        for what, shares in content.get("profiles", {}).items():
            parts = (f"{name} {share:.0%}" for name, share in shares.items())
            profiles.append(f"- {stage}, {what}: {', '.join(parts)}")
        origins.append(
            f"- {stage}: {content['machine']}; commit {content['commit']}; "
            f"{', '.join(f'{k} {v}' for k, v in content['settings'].items())}"
        )
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `python -m benchmarks`. The JSON beside it has more.",
            "",
            *targets,
            "",
            *lines,
            "",
            "Profiles: where the time of one call goes.",
            "",
            *profiles,
            "",
            "Machines and settings:",
            "",
            *origins,
            "",
        ]
    )


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs"
