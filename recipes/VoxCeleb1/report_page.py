"""report.html: what a verification says, as one page that needs no network."""

import base64
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from string import Template

import numpy as np
from attention_maps import find_attention, map_attention
from audio_files import inspect_many
from report import AS_RECORDED
from report_attention import (
    AttentionCurve,
    draw_attention,
    summarise_attention,
)
from report_configuration import show_configuration
from report_examples import (
    MAX_SECONDS,
    Recordings,
    encode_recordings,
    worst_trials,
)
from report_groups import GENDERS, Groups, rate_durations, rate_genders
from report_html import element, to_html
from report_players import Examples, show_examples
from report_sections import (
    show_blocks,
    show_calibration,
    show_curves,
    show_groups,
    show_headline,
)
from speechbrain.inference.speaker import SpeakerRecognition
from voxceleb1_layout import find_gender_table, read_genders
from whole_files import replacing

from custom_modules.scoring import Trials, index_utterances, speaker_id

MAX_BYTES = 12_000_000
RESERVE = 50_000  # bytes, for what stands around the recordings
NUM_WORST = 20  # of each kind
MIN_RATE = 1  # Hz: files are looked into for their duration alone
FOLDER = Path(__file__).parent


def write_report_page(
    path: Path,
    report: dict,
    trials: Trials,
    scores: np.ndarray,
    utterances: dict[str, str] | None = None,
    *,
    data_folder: str | Path | None = None,
    model: SpeakerRecognition | None = None,
    settings: dict | None = None,
) -> None:
    """Write the page of a report, whole or not at all, under 12 MB; say where.

    What it cannot show it leaves out, and says so.

    Arguments
    ---------
    path : Path
        Such as report.html, in an existing folder.
    report : dict
        Of `make_report`; with "block_rates" and "calibration" where these were
        measured.
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    utterances : dict[str, str] | None
        File of each utterance; for players, durations and attention.
    data_folder : str | Path | None
        VoxCeleb1, for the table of its speakers.
    model : SpeakerRecognition | None
        That gave the scores; for attention and its threshold.
    settings : dict | None
        Of the verification.
    """
    utterances = utterances or {}
    genders = _read_genders(data_folder)
    durations = _measure_durations(utterances)
    accepts, rejects = (
        worst_trials(trials, scores, is_target, NUM_WORST)
        for is_target in (False, True)
    )
    shown = dict.fromkeys(
        utt_id
        for trial in (*accepts, *rejects)
        for utt_id in (trial.enrol, trial.test)
    )
    curves, no_attention = _attend(shown, utterances, model)
    sections = [
        show_headline(report),
        show_calibration(report["calibration"])
        if "calibration" in report
        else "",
        show_curves(report, trials, scores, *_dev_threshold(report, model)),
        show_groups(_rate_groups(report, trials, scores, genders, durations)),
        show_blocks(report.get("block_rates")),
    ]
    remarks = {
        utt_id: " · ".join(_remark(utt_id, genders, durations))
        for utt_id in shown
    }
    last = show_configuration(report, settings or {})

    left_out = [*_tell_condition(report), *no_attention]

    def compose(recordings: Recordings) -> bytes:
        pictures = {
            utt_id: draw_attention(curve, utt_id, recordings.max_seconds)
            for utt_id, curve in curves.items()
        }
        examples = Examples(accepts, rejects, remarks, pictures, left_out)
        middle = show_examples(examples, recordings, report["eer_threshold"])
        return _fill_template(report, [*sections, middle, last])

    without = compose(Recordings({}, MAX_SECONDS, {}))
    room = (MAX_BYTES - RESERVE - len(without)) * 3 // 4  # base64 adds a third
    page = compose(encode_recordings(shown, utterances, room))
    with replacing(path) as partial:
        partial.write_bytes(page)
    sys.stdout.write(f"{path.name}: {path.parent.resolve()}\n")


def _read_genders(data_folder: str | Path | None) -> dict[str, str]:
    found = None if data_folder is None else find_gender_table(data_folder)
    return {} if found is None else read_genders(found)


def _measure_durations(utterances: dict[str, str]) -> dict[str, float]:
    """In s, of the utterances whose files can be read."""
    infos, _ = inspect_many(list(utterances.values()), MIN_RATE)
    return {
        utt_id: info.num_samples / info.sample_rate
        for utt_id, info in zip(utterances, infos, strict=True)
        if info is not None
    }


def _rate_groups(
    report: dict,
    trials: Trials,
    scores: np.ndarray,
    genders: dict[str, str],
    durations: dict[str, float],
) -> dict[str, Groups | str]:
    drawn = report["num_resamples"], report["seed"]
    speakers = {speaker_id(name) for name in (*trials.enrol, *trials.test)}
    groups: dict[str, Groups | str] = {
        "gender": "the data folder has no vox1_meta.csv with these speakers",
        "duration": "there are no files of the trials' utterances",
    }
    if speakers & set(genders):
        groups["gender"] = rate_genders(trials, scores, genders, *drawn)
    if durations.keys() & set(index_utterances(trials).utt_ids):
        groups["duration"] = rate_durations(trials, scores, durations, *drawn)
    return groups


def _remark(
    utt_id: str, genders: dict[str, str], durations: dict[str, float]
) -> Iterable[str]:
    gender = genders.get(speaker_id(utt_id))
    if gender is not None:
        yield GENDERS[gender]
    if utt_id in durations:
        yield f"{durations[utt_id]:.1f} s"


def _tell_condition(report: dict) -> Iterable[str]:
    condition = report.get("condition") or AS_RECORDED
    if condition != AS_RECORDED:
        yield (
            f"Scored were recordings {condition}: players, durations and "
            "attention are those of the whole files, without that."
        )


def _dev_threshold(
    report: dict, model: SpeakerRecognition | None
) -> tuple[float | None, str]:
    """The model's threshold, or why it is not shown."""
    threshold = None
    if model is not None:
        threshold = getattr(model.hparams, "threshold", None)
    if threshold is None:
        return None, "There is no threshold of development trials."
    kind = report.get("scoring"), report.get("score_normalisation")
    if kind != ("cosine", "none") or "calibration" in report:
        return None, (
            "The model's own, of the development trials, is left out: it is "
            "of plain cosines."
        )
    return float(threshold), ""


def _attend(
    utt_ids: Iterable[str],
    utterances: dict[str, str],
    model: SpeakerRecognition | None,
) -> tuple[dict[str, AttentionCurve], list[str]]:
    """Attention in utterances, or why there is none."""
    if model is None:
        return {}, ["Attention weights are left out: there is no model."]
    found = find_attention(model)
    if len(found) != 1:
        embedding_model = model.mods["embedding_model"]
        head = getattr(embedding_model, "embedding_head", embedding_model)
        name = type(getattr(head, "pooling", head)).__name__
        return {}, [
            f"Attention weights are left out: {name} has {len(found)} parts "
            "with weights of frames, and one is needed."
        ]
    return {
        utt_id: summarise_attention(
            map_attention(model, found[0], utterances[utt_id])
        )
        for utt_id in utt_ids
        if utt_id in utterances
    }, []


def _fill_template(report: dict, sections: list[str]) -> bytes:
    style, script = (
        (FOLDER / f"report_template.{suffix}").read_text("utf-8")
        for suffix in ("css", "js")
    )
    template = Template((FOLDER / "report_template.html").read_text("utf-8"))
    page = template.substitute(
        model=to_html(report.get("model") or "a file of scores"),
        trials=to_html(report.get("trials") or "Trials"),
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        commit=to_html(report.get("commit") or "not known"),
        calibration=element("a", "Calibration", href="#calibration")
        if "calibration" in report
        else "",
        body="\n".join(sections),
    )
    return page.encode()


def _digest(text: str) -> str:
    """Of a style or a script, for the page's security policy."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
