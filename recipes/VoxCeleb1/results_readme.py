"""What lies in the output folder of a training, told in its README.md."""

from pathlib import Path

from whole_files import replacing

TEXT = """\
# The output folder of a training

| file or folder | what it is |
|---|---|
| `README.md` | this |
| `hyperparams.yaml` | all settings, overrides included |
| `train_speaker_embeddings.py` | a copy of the command |
| `train_log.txt` | a line for each epoch: losses, accuracy, learning rate, \
development EER and minDCF |
| `log.txt`, `env.log` | all that was said; the packages at the time |
| `console.txt`, `lock` | what `reproduce.py` was told by its commands; that \
it works here |
| `training.lock` | keeps two trainings apart; empty |
| `save/` | what a training goes on from |
| `save/CKPT+…/` | checkpoints, with checksums (`sha256sum -c SHA256SUMS`): \
the last, and the best on the development trials |
| `save/train.csv`, `save/dev.csv` | training and development utterances |
| `save/dev_trials.txt` | development trials: epoch and threshold are chosen \
on them |
| `save/prepare.json` | what the manifests were made of |
| `save/init_from.json` | the training that this one started from, if any |
| `save/bad_files.txt` | audio that cannot be used, if any |
| `model/` | the trained model, for SpeechBrain and for `verify_files.py`; its \
own README.md is a model card |
| `verification…/` | what `verify.py` wrote: `report.html` to look at, with \
people's voices in it; `report.json` with all figures; `scores.txt` with a \
score for each trial, `development_scores.txt` with those of calibration |
| `embeddings/` | embeddings that `verify.py` need not compute again |
| `tensorboard/`, `wandb/`, `run_id.txt` | what `--more_loggers` wrote |

**Go on** after an interruption: type the same command again; it begins at the
last checkpoint. More epochs: the same with a larger `--num_epochs`.

**Verify**, in `recipes/VoxCeleb1`, with this folder for FOLDER:

    python verify.py hparams/verify.yaml --model_folder=FOLDER/model

**Start from it** with other data or settings: `--init_from=FOLDER` and another
`--output_folder`. **Average** its last epochs: `python average_checkpoints.py
hparams/average.yaml --init_from=FOLDER`.

**Make room**: `model/` is all that verification by cosines needs; PLDA, cohort
and calibration want the lists of `save/` too. `save/CKPT+…/` is the largest;
without it the training cannot go on, be averaged or lend its classifier.
`embeddings/`, `tensorboard/` and `wandb/` may go too.
"""


def write_readme(folder: str | Path) -> None:
    """Write README.md into an output folder.

    Arguments
    ---------
    folder : str | Path
        That exists.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_readme(folder)
    >>> (folder / "README.md").read_text("utf-8")[:17]
    '# The output fold'
    """
    with replacing(Path(folder) / "README.md") as partial:
        partial.write_text(TEXT, "utf-8")
