"""Tables of the worst trials, with a player for each recording."""

import base64
from typing import NamedTuple

from report_examples import Recordings, WorstTrial
from report_html import Cell, Html, element, note, section, table

from custom_modules.scoring import speaker_id

HEADER = ("Rank", "Score", "Enrolled", "Tested")
SORTS = ("number", "number", "text", "text")


class Examples(NamedTuple):
    """What is shown of the worst trials.

    Arguments
    ---------
    false_accepts, false_rejects : list[WorstTrial]
        The worst first.
    remarks : dict[str, str]
        Of utterances: gender, duration.
    pictures : dict[str, Html]
        Of utterances: attention.
    left_out : list[str]
        What the page has not, and why.
    """

    false_accepts: list[WorstTrial]
    false_rejects: list[WorstTrial]
    remarks: dict[str, str]
    pictures: dict[str, Html]
    left_out: list[str]


def show_examples(
    examples: Examples, recordings: Recordings, eer_threshold: float
) -> Html:
    """Both tables; each recording is embedded where it is first shown.

    Arguments
    ---------
    examples : Examples
        The trials.
    recordings : Recordings
        Of their utterances, as far as they can be had.
    eer_threshold : float
        What decides whether they are errors.

    Returns
    -------
    section : Html
    """
    num_accepts = sum(
        trial.score >= eer_threshold for trial in examples.false_accepts
    )
    num_rejects = sum(
        trial.score < eer_threshold for trial in examples.false_rejects
    )
    seen: dict[str, str] = {}
    tables = []
    for title, worst, text in (
        (
            "False accepts",
            examples.false_accepts,
            f"Two speakers, and the highest scores: {num_accepts} of these "
            f"{len(examples.false_accepts)} are accepted at the threshold of "
            "the EER.",
        ),
        (
            "False rejects",
            examples.false_rejects,
            f"One speaker, and the lowest scores: {num_rejects} of these "
            f"{len(examples.false_rejects)} are rejected at the threshold of "
            "the EER.",
        ),
    ):
        rows = [
            [
                Cell(trial.rank, trial.rank),
                Cell(f"{trial.score:.4f}", trial.score),
                *(
                    Cell(_show(utt_id, examples, recordings, seen), utt_id)
                    for utt_id in (trial.enrol, trial.test)
                ),
            ]
            for trial in worst
        ]
        tables += [
            element("h3", title),
            element("p", text),
            table(f"{title}, the worst {len(worst)}", HEADER, rows, SORTS),
        ]
    return section(
        "examples",
        "The worst trials",
        *(note(text) for text in _notes(examples, recordings)),
        *tables,
    )


def _notes(examples: Examples, recordings: Recordings) -> list[str]:
    notes = list(examples.left_out)
    if recordings.flac:
        notes.insert(
            0,
            "Recordings are cut to their first "
            f"{recordings.max_seconds:g} s, 16 kHz.",
        )
    if recordings.problems:
        reasons = sorted(set(recordings.problems.values()))
        notes.append(
            f"Recordings left out: {len(recordings.problems)} "
            f"({'; '.join(reasons)}).",
        )
    return notes


def _show(
    utt_id: str,
    examples: Examples,
    recordings: Recordings,
    seen: dict[str, str],
) -> Html:
    """An utterance's names, and its player or a link to it."""
    speaker = speaker_id(utt_id)
    remark = examples.remarks.get(utt_id)
    names = element(
        "div",
        element("strong", speaker),
        " ",
        element("span", utt_id.removeprefix(f"{speaker}/"), class_="utterance"),
        " ",
        element("span", remark, class_="remark") if remark else "",
        class_="names",
    )
    parts = []
    if utt_id in recordings.flac:
        data = base64.b64encode(recordings.flac[utt_id]).decode()
        parts.append(
            element(
                "audio",
                controls="",
                preload="none",
                src=f"data:audio/flac;base64,{data}",
                aria_label=f"Recording {utt_id}",
            )
        )
    if utt_id in examples.pictures:
        parts.append(
            element(
                "details",
                element("summary", "Attention"),
                examples.pictures[utt_id],
            )
        )
    if not parts:
        return element("div", names, class_="recording")
    if utt_id in seen:
        link = element(
            "a",
            "Player at its first trial",
            href=f"#{seen[utt_id]}",
            class_="again",
        )
        return element("div", names, link, class_="recording")
    seen[utt_id] = f"recording-{len(seen) + 1}"
    return element("div", names, *parts, class_="recording", id=seen[utt_id])
