"""Write a corpus of synthetic speakers in VoxCeleb1's layout.

    python synthetic_corpus.py DEST

makes all that the recipe reads, without a download and in a minute or two:

    DEST/wav/id10001/<session>/00001.wav    speech, 16 kHz
    DEST/meta/veri_test2.txt                trials: label enrol test
    DEST/meta/vox1_meta.csv                 speakers, tab separated
    DEST/noise/*.wav, DEST/rir/*.wav        for augmentation
    DEST/corpus.json                        settings, files, state

A session has its own mood, channel (equaliser, band limits), level and
background noise, all drawn without regard to the speaker, so that long-term
spectra mislead. The same settings give the same bytes with any number of
processes.
"""

import argparse
import json
import logging
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from synthetic_files import Settings, plan_jobs
from whole_files import replacing

logger = logging.getLogger(__name__)

GENERATOR = "synthetic_corpus"
VERSION = 2  # count up when the same settings give other bytes


def make_corpus(
    dest: str | Path,
    seed: int = 1986,
    num_train_speakers: int = 64,
    num_test_speakers: int = 40,
    num_sessions: int = 4,
    utterances_per_session: int = 4,
    num_trials: int = 8000,
    num_noises: int = 20,
    num_rirs: int = 30,
    utterance_seconds: tuple[float, float] = (2.5, 5.0),
    num_processes: int | None = None,
) -> None:
    """Write the corpus, unless it is there already.

    A corpus of other settings, or a half-written one, is replaced; of the
    folder's files only those that `corpus.json` lists are ever removed.

    Arguments
    ---------
    dest : str | Path
        Folder of the corpus, made where missing.
    seed : int
        Of everything.
    num_train_speakers : int
        At most 1211.
    num_test_speakers : int
        From 3 (for impostors of the same gender) to 40.
    num_sessions : int
        For each speaker, at least 2.
    utterances_per_session : int
        At least 1.
    num_trials : int
        At most; fewer where there are not enough distinct target pairs.
    num_noises : int
        Coloured noise, hum and babble in turn.
    num_rirs : int
        Rooms, of 0.2 to 0.7 s.
    utterance_seconds : tuple[float, float]
        Shortest and longest utterance, from 0.5: less may be silence.
    num_processes : int | None
        None is one for each core. The files do not depend on it.

    Raises
    ------
    ValueError
        If a count is out of range.
    FileExistsError
        If the folder holds files that are not of an earlier corpus.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as dest:
    ...     make_corpus(dest, 0, 2, 3, 2, 1, 4, 1, 1, (0.5, 0.6), 1)
    ...     sorted(path.name for path in (Path(dest) / "wav").iterdir())
    ['id10001', 'id10002', 'id10270', 'id10271', 'id10272']
    """
    settings = Settings(
        seed,
        num_train_speakers,
        num_test_speakers,
        num_sessions,
        utterances_per_session,
        num_trials,
        num_noises,
        num_rirs,
        utterance_seconds,
    )
    dest = Path(dest)
    jobs = plan_jobs(dest, settings)
    record = {
        "generator": GENERATOR,
        "version": VERSION,
        # through JSON and back, where tuples turn into lists
        "settings": json.loads(json.dumps(settings._asdict())),
        "is_complete": True,
        "files": [file for job in jobs for file in job.files],
    }
    if _is_complete(dest, record):
        logger.info("%s is complete, nothing to do", dest.resolve())
        return
    _remove_earlier(dest, record["files"])
    for folder in {(dest / file).parent for file in record["files"]}:
        folder.mkdir(parents=True, exist_ok=True)
    # From here on the files are known to be ours, even after an interrupt.
    _write_record(dest, {**record, "is_complete": False})
    if num_processes is None:
        num_processes = os.cpu_count() or 1
    if num_processes == 1:
        for job in jobs:
            job.write()
    else:
        # Not fork: it is unsafe once torch has started its threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(num_processes, context) as pool:
            for future in [pool.submit(job.write) for job in jobs]:
                future.result()
    _write_record(dest, record)
    logger.info("%s: %d files", dest.resolve(), len(record["files"]))


def _read_record(dest: Path) -> dict | None:
    """The corpus.json of an earlier run; None where there is none of ours."""
    path = dest / "corpus.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError:
        return None
    is_ours = isinstance(record, dict) and record.get("generator") == GENERATOR
    return record if is_ours else None


def _write_record(dest: Path, record: dict) -> None:
    """Replace corpus.json in one step: an interrupt leaves the old one."""
    with replacing(dest / "corpus.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


def _is_complete(dest: Path, record: dict) -> bool:
    return _read_record(dest) == record and all(
        (dest / file).is_file() for file in record["files"]
    )


def _remove_earlier(dest: Path, files: list[str]) -> None:
    """Remove an earlier corpus, and make sure that no other file is hit."""
    earlier = _read_record(dest)
    if earlier is None and dest.exists() and any(dest.iterdir()):
        raise FileExistsError(
            f"{dest.resolve()} is not empty and holds no synthetic corpus: "
            "its files stay as they are; give a new or an empty folder"
        )
    if earlier is not None:
        logger.info("%s: replacing another corpus", dest.resolve())
        _write_record(dest, {**earlier, "is_complete": False})
        for file in earlier["files"]:
            (dest / file).unlink(missing_ok=True)
            for folder in (dest / file).parents[:3]:
                if (
                    folder == dest
                    or not folder.is_dir()
                    or any(folder.iterdir())
                ):
                    break
                folder.rmdir()
    for file in files:
        if (dest / file).exists():
            raise FileExistsError(
                f"{(dest / file).resolve()} would be overwritten, but "
                "corpus.json does not list it: move it away"
            )


def main(argv: list[str]) -> None:
    """Make a corpus as the command line says."""
    parser = argparse.ArgumentParser(
        description="Write a synthetic corpus in VoxCeleb1's layout.",
        epilog="What is not given is make_corpus's default. Example: python "
        "synthetic_corpus.py data/synthetic",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("dest", type=Path, help="folder of the corpus")
    for name in Settings._fields[:-1]:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument(
        "--utterance_seconds",
        type=float,
        nargs=2,
        metavar=("SHORTEST", "LONGEST"),
    )
    parser.add_argument("--num_processes", type=int)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_corpus(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
