"""VoxCeleb1 as a folder of audio files -> CSV manifests for SpeechBrain.

Three sets of speakers, none of them in two: those of the trial list (the
test set), the development speakers held out of the rest, and the training
speakers. The order of the file system has no influence on any of them.
"""

import csv
import hashlib
import json
import logging
import os
import random
from pathlib import Path
from typing import NamedTuple

from audio_files import AudioInfo, inspect_many
from voxceleb1_layout import (
    find_gender_table,
    find_trials,
    find_utterances,
    read_genders,
)
from whole_files import replacing

from custom_modules.scoring import (
    Trials,
    draw_trials,
    read_trials,
    speaker_id,
    write_trials,
)

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # of the manifests: raise it to have them made anew
NUM_NAMED = 10  # bad files in an error message; the others are in a file


class Manifests(NamedTuple):
    """What preparation wrote; the last two are None without development."""

    train_csv: Path
    dev_csv: Path | None
    dev_trials: Path | None


def prepare_voxceleb1(
    data_folder: str | Path,
    save_folder: str | Path,
    trials: str | Path | None = None,
    num_dev_speakers: int = 40,
    num_dev_trials: int = 20000,
    sample_rate: int = 16000,
    seed: int = 1986,
    num_workers: int | None = None,
    is_resumed: bool = False,
) -> Manifests:
    """Check all audio and write the training and development manifests.

    `train.csv` and `dev.csv` have the columns ID, duration (in seconds), wav
    (`$data_root/...`, `data_root` being `data_folder`) and spk_id. Settings
    go to `prepare.json`, last: manifests made with the same settings of the
    same files are used again, without reading any audio.

    Arguments
    ---------
    data_folder : str | Path
        VoxCeleb1, in one of the layouts that `find_utterances` accepts.
    save_folder : str | Path
        Where to write; made if missing.
    trials : str | Path | None
        Test trials, see `find_trials`: their speakers are not trained on.
    num_dev_speakers : int
        Training speakers to hold out, at most a tenth of them; 0 for none.
    num_dev_trials : int
        Number of trials drawn from the development speakers.
    sample_rate : int
        The model's, in Hz: files below it are refused.
    seed : int
        Of the choice of speakers, of the trials and of the row order.
    num_workers : int | None
        Threads that read headers, see `inspect_many`.
    is_resumed : bool
        Whether there are checkpoints: manifests of other settings are then
        an error, for speakers once trained on must not become development
        speakers, nor labels other speakers' labels.

    Returns
    -------
    manifests : Manifests
        Paths in `save_folder`.

    Raises
    ------
    ValueError
        If files are bad (all of them are listed in `bad_files.txt`, and
        nothing else is written), speakers too few, or a resumed training's
        data not its own.
    FileNotFoundError
        If the audio or the trials are missing.

    Example
    -------
    >>> import numpy as np, soundfile as sf
    >>> root = getfixture("tmp_path")
    >>> for speaker in ("id10001", "id10002", "id10270"):
    ...     folder = root / "wav" / speaker / "session"
    ...     folder.mkdir(parents=True)
    ...     sf.write(folder / "00001.wav", np.linspace(0, 1, 800), 16000)
    >>> lines = "1 id10270/x/1.wav id10270/y/1.wav\\n0 id10270/x/1.wav id1/1/1"
    >>> _ = (root / "veri_test2.txt").write_text(lines)
    >>> manifests = prepare_voxceleb1(root, root / "save", num_dev_speakers=0)
    >>> print(manifests.train_csv.read_text().splitlines()[0])
    ID,duration,wav,spk_id
    """
    data_folder = Path(data_folder).absolute()
    save_folder = Path(save_folder).absolute()
    utterances = find_utterances(data_folder)
    trial_list = find_trials(data_folder, save_folder, trials)
    meta = find_gender_table(data_folder)
    root = len(str(data_folder)) + 1
    wavs = {
        utt_id: path[root:].replace(os.sep, "/")
        for utt_id, path in utterances.items()
    }
    settings = {
        "format_version": FORMAT_VERSION,
        "num_utterances": len(utterances),
        "utterances": _hash("\n".join(wavs.values()).encode()),
        "trials": _hash(trial_list.read_bytes()),
        "meta": _hash(meta.read_bytes()) if meta else None,
        "num_dev_speakers": num_dev_speakers,
        "num_dev_trials": num_dev_trials,
        "sample_rate": sample_rate,
        "seed": seed,
    }
    manifests = Manifests(
        save_folder / "train.csv",
        save_folder / "dev.csv" if num_dev_speakers else None,
        save_folder / "dev_trials.txt" if num_dev_speakers else None,
    )
    record = save_folder / "prepare.json"
    changed = _changed_settings(record, settings, manifests)
    if not changed:
        logger.info("manifests in %s are up to date", save_folder)
        return manifests
    if is_resumed:
        raise ValueError(
            f"{save_folder} holds checkpoints of a training on other data "
            f"(changed: {', '.join(changed)}): give the settings it was "
            "started with, or another output_folder"
        )
    logger.info("manifests are made anew: %s", ", ".join(changed))

    generator = random.Random(seed)
    train_speakers, dev_speakers = _split_speakers(
        {speaker_id(utt_id) for utt_id in utterances},
        _trial_speakers(trial_list),
        num_dev_speakers,
        generator,
    )
    train_ids = [utt for utt in wavs if speaker_id(utt) in train_speakers]
    dev_ids = [utt for utt in wavs if speaker_id(utt) in dev_speakers]
    generator.shuffle(train_ids)
    genders = read_genders(meta) if meta else {}
    if dev_speakers:
        dev_trials = _draw(dev_ids, genders, num_dev_trials, seed)
    infos, problems = inspect_many(
        list(utterances.values()), sample_rate, num_workers
    )
    save_folder.mkdir(parents=True, exist_ok=True)
    _refuse_bad_files(problems, len(utterances), save_folder)

    rows = {
        utt_id: _row(utt_id, wav, info)
        for (utt_id, wav), info in zip(wavs.items(), infos, strict=True)
    }
    record.unlink(missing_ok=True)  # while they are written, none are valid
    _write_csv(manifests.train_csv, [rows[utt_id] for utt_id in train_ids])
    if dev_speakers:
        _write_csv(manifests.dev_csv, [rows[utt_id] for utt_id in dev_ids])
        write_trials(manifests.dev_trials, dev_trials)
    else:  # none of an earlier preparation stays behind
        (save_folder / "dev.csv").unlink(missing_ok=True)
        (save_folder / "dev_trials.txt").unlink(missing_ok=True)
    with replacing(record) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    logger.info(
        "%d training utterances of %d speakers, %d development utterances "
        "of %d, in %s",
        *(len(train_ids), len(train_speakers)),
        *(len(dev_ids), len(dev_speakers)),
        save_folder,
    )
    return manifests


def _trial_speakers(path: Path) -> set[str]:
    trials = read_trials(path)
    return {speaker_id(name) for name in (*trials.enrol, *trials.test)}


def _split_speakers(
    speakers: set[str],
    test_speakers: set[str],
    num_dev_speakers: int,
    generator: random.Random,
) -> tuple[set[str], set[str]]:
    """Training and development speakers, neither of them in the trials."""
    if not speakers & test_speakers:
        logger.warning(
            "none of the %d speakers of the trial list is in the data "
            "folder: is it the list of another corpus?",
            len(test_speakers),
        )
    train = sorted(speakers - test_speakers)  # before any drawing
    num_dev = min(num_dev_speakers, len(train) // 10)
    if num_dev_speakers != 0 and num_dev < 2:
        raise ValueError(
            f"num_dev_speakers ({num_dev_speakers}) must be at least 2 and "
            f"at most a tenth of the {len(train)} speakers outside the trial "
            f"list: set num_dev_speakers to 0 to train without development "
            f"trials, or add speakers (20 are enough)"
        )
    if num_dev < num_dev_speakers:
        logger.info(
            "num_dev_speakers reduced from %d to %d, a tenth of %d speakers",
            *(num_dev_speakers, num_dev, len(train)),
        )
    if len(train) - num_dev < 2:
        raise ValueError(
            f"{len(train)} of {len(speakers)} speakers in the data folder are "
            f"outside the trial list, training needs 2 at least: add "
            f"VoxCeleb1's development part, or take a shorter trial list"
        )
    dev = set(generator.sample(train, num_dev))
    return set(train) - dev, dev


def _draw(
    utt_ids: list[str], genders: dict[str, str], num_trials: int, seed: int
) -> Trials:
    speakers = [speaker_id(utt_id) for utt_id in utt_ids]
    sessions = [utt_id.split("/")[1] for utt_id in utt_ids]
    known = [genders.get(speaker) for speaker in speakers]
    return draw_trials(utt_ids, speakers, sessions, known, num_trials, seed)


def _refuse_bad_files(
    problems: list[str], num_files: int, save_folder: Path
) -> None:
    """Raise one error for all; the complete list goes to `bad_files.txt`."""
    path = save_folder / "bad_files.txt"
    if not problems:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as partial:
        partial.write_text("\n".join(problems) + "\n", "utf-8")
    named = "\n  ".join(problems[:NUM_NAMED])
    if len(problems) > NUM_NAMED:
        named += f"\n  ... and {len(problems) - NUM_NAMED} more"
    raise ValueError(
        f"{len(problems)} of {num_files} audio files cannot be used:\n"
        f"  {named}\nAll of them are listed in {path}. Repair them (extract "
        f"or download them again) or delete them, then start again."
    )


def _row(utt_id: str, wav: str, info: AudioInfo) -> dict[str, str]:
    return {
        "ID": utt_id,
        "duration": str(info.num_samples / info.sample_rate),
        "wav": f"$data_root/{wav}",
        "spk_id": speaker_id(utt_id),
    }


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with (
        replacing(path) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _changed_settings(
    record: Path, settings: dict, manifests: Manifests
) -> list[str]:
    """What keeps the manifests from being used again; nothing if they can."""
    if not all(path is None or path.is_file() for path in manifests):
        return ["manifests are missing"]
    try:
        old = json.loads(record.read_text("utf-8"))
        return sorted(key for key in settings if old.get(key) != settings[key])
    except (OSError, ValueError, AttributeError):
        return [f"no valid {record.name}"]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
