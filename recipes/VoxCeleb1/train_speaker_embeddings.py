#!/usr/bin/env python3
"""Train speaker embeddings on VoxCeleb1.

usage: python train_speaker_embeddings.py hparams/mfcon.yaml [--key=value …]
Example: python train_speaker_embeddings.py hparams/mfcon.yaml --num_epochs=10
"""

import logging
import sys
from contextlib import ExitStack
from pathlib import Path

import speechbrain as sb
from augmentation_files import find_noises, find_rirs
from command import Experiment, load_experiment, run
from cpu_memory import keep_freed_memory
from dataio import TrainingDataset, make_train_loader
from development import SCORES, describe_development, scores_of
from export import export_model, folder_name, resolve_model
from folder_use import using
from interruption import Interrupted, stop_request
from manifest import Manifest
from processes import process_group, run_on_main, seed_process
from progress import is_terminal
from report import git_commit, machine
from results_readme import write_readme
from speaker_brain import SpeakerBrain
from speechbrain.utils.distributed import infer_device
from starting_point import (
    describe_start,
    read_source,
    refuse_development_speakers,
    start_from,
    write_record,
)
from training_checks import (
    check_classifier,
    check_compilation,
    check_loggers,
)
from training_statistics import LogEnd
from voxceleb1_prepare import prepare_voxceleb1
from whole_utterances import (
    choose_batch_seconds,
    make_evaluation_loader,
    read_manifest,
)

from custom_modules.checkpoints import load_strictly
from custom_modules.distributed import num_processes, process_rank
from custom_modules.scoring import read_trials, speaker_id

logger = logging.getLogger(__name__)

LOCK = "training.lock"
KEYS = [
    "seed",
    "data_folder",
    "noise_folder",
    "rir_folder",
    "output_folder",
    "save_folder",
    "model_folder",
    "init_from",
    "init_from_other_corpus",
    "sample_rate",
    "trials",
    "num_dev_speakers",
    "num_dev_trials",
    "sentence_len",
    "max_grad_norm",
    "ckpt_interval_minutes",
    "num_checkpoints",
    "max_bad_files",
    "compile_module_keys",
    "num_workers",
    "batch_size",
    "eval_batch_seconds",
    "margin",
    "model",
    "modules",
    "classifier",
    "noise_or_reverb",
    "wav_augment",
    "augmentation_source",
    "sampler",
    "objective",
    "opt_class",
    "schedule",
    "epoch_counter",
    "train_log",
    "train_logger",
    "more_loggers",
    "checkpointer",
]


def main(argv: list[str]) -> None:
    """Train, in one process or as many as torchrun started."""
    experiment = load_experiment(argv, KEYS, __doc__)
    check_compilation(experiment.run_opts, experiment.hparams["sentence_len"])
    folder = Path(experiment.hparams["output_folder"])
    with process_group(experiment.run_opts) as run_opts, ExitStack() as stack:

        def use_folder() -> None:
            stack.enter_context(using(folder, LOCK))

        run_on_main(use_folder)
        exit_status = train(experiment._replace(run_opts=run_opts))
    if exit_status:
        sys.exit(exit_status)


def train(experiment: Experiment) -> int:
    """Prepare, train, export, in each process; only the main one writes.

    Arguments
    ---------
    experiment : Experiment
        What to train.

    Returns
    -------
    exit_status : int
        0 where the model is trained; else that of the signal that asked to
        stop, and all is saved.
    """
    hparams_file, run_opts, overrides, hparams = experiment
    check_loggers(hparams["more_loggers"])
    model, commit = resolve_model(hparams_file, overrides), git_commit()
    device = run_opts.device or infer_device()
    if device == "cpu":
        keep_freed_memory()
    seed_process(hparams["seed"])
    checkpointer = hparams["checkpointer"]
    is_resumed = checkpointer.find_checkpoint() is not None
    data = Path(hparams["data_folder"]).resolve().name
    source, is_other = None, hparams["init_from_other_corpus"]
    if hparams["init_from"] and not is_resumed:
        source = run_on_main(read_source, hparams["init_from"])
    manifests = run_on_main(
        prepare_voxceleb1,
        hparams["data_folder"],
        hparams["save_folder"],
        trials=hparams["trials"],
        num_dev_speakers=hparams["num_dev_speakers"],
        num_dev_trials=hparams["num_dev_trials"],
        sample_rate=hparams["sample_rate"],
        seed=hparams["seed"],
        is_resumed=is_resumed,
    )
    sample_rate = hparams["sample_rate"]
    noise_folder, rir_folder = hparams["noise_folder"], hparams["rir_folder"]
    augmentation = None
    if noise_folder or rir_folder:
        augmentation = hparams["augmentation_source"](
            run_on_main(find_noises, noise_folder, sample_rate)
            if noise_folder
            else [],
            run_on_main(find_rirs, rir_folder, sample_rate)
            if rir_folder
            else [],
        )
    train_set = TrainingDataset(
        Manifest(manifests.train_csv, hparams["data_folder"]),
        hparams["sentence_len"],
        sample_rate,
        hparams["seed"],
        augmentation,
    )
    speakers = sorted(train_set.labels)
    sampler = hparams["sampler"](
        train_set.utterance_labels,
        rank=process_rank(),
        world_size=num_processes(),
    )
    if sampler.batch_size != hparams["batch_size"]:
        raise ValueError(
            f"the sampler's batches have {sampler.batch_size} utterances, not "
            f"batch_size ({hparams['batch_size']}): utterances_per_speaker "
            "must divide it"
        )
    train_loader = make_train_loader(train_set, sampler, hparams["num_workers"])
    dev_trials = dev_loader = None
    if manifests.dev_csv is not None:
        dev_trials = read_trials(manifests.dev_trials)
        if source is not None:
            dev_speakers = map(speaker_id, dev_trials.enrol + dev_trials.test)
            refuse_development_speakers(source, dev_speakers, is_other)
        dev_loader = make_evaluation_loader(
            *read_manifest(manifests.dev_csv, hparams["data_folder"]),
            choose_batch_seconds(hparams["eval_batch_seconds"], device),
            sample_rate,
            hparams["num_workers"],
        )

    modules = hparams["modules"]
    classifier = hparams["classifier"](out_neurons=len(speakers))
    check_classifier(
        classifier, hparams["model"]["emb_dim"], hparams["objective"]
    )
    modules["classifier"] = classifier
    checkpointer.add_recoverable("classifier", modules["classifier"])
    checkpointer.add_recoverable("dataloader-TRAIN", train_loader)
    checkpointer.check_modules()

    run_on_main(
        lambda: sb.create_experiment_directory(
            hparams["output_folder"], hparams_file, overrides
        )
    )
    run_on_main(write_readme, hparams["output_folder"])
    if is_resumed and hparams["init_from"]:
        logger.info("init_from is not read: this training has checkpoints")
    elif not is_resumed:
        if source is not None:
            start_from(source, checkpointer.recoverables, speakers, is_other)
        run_on_main(write_record, source, hparams["save_folder"], is_other)
    copies = "no" if augmentation is None else str(hparams["batch_size"])
    shares = ""
    if num_processes() > 1:
        share = hparams["batch_size"] // num_processes()
        shares = f", shared by {num_processes()} processes, {share} each"
    logger.info(
        f"{len(train_set)} utterances of {len(speakers)} speakers; each batch "
        f"holds {hparams['batch_size']} of them and {copies} augmented copies"
        f"{shares}"
    )
    brain = SpeakerBrain(
        modules, hparams["opt_class"], hparams, run_opts, checkpointer
    )
    brain.steps_per_epoch = len(sampler)
    brain.train_sampler = sampler
    brain.dev_trials = dev_trials
    checkpointer.add_recoverable("statistics", brain.statistics)
    if dev_trials is not None:  # older checkpoints have none
        checkpointer.add_recoverable(
            SCORES, brain.dev_scores, optional_load=True
        )
    checkpointer.add_recoverable("log_end", LogEnd(hparams["train_log"]))
    exit_status = 0
    run_on_main(brain.loggers.start)
    with stop_request() as brain.stop_request:
        try:
            brain.fit(
                hparams["epoch_counter"],
                train_loader,
                dev_loader,
                # None: as --noprogressbar says; a log file gets lines.
                progressbar=None if is_terminal() else False,
            )
        except Interrupted as stop:
            exit_status = stop.exit_status
            logger.warning(str(stop))
    run_on_main(brain.loggers.close, brain.validated)
    minutes = round(brain.statistics.minutes, 2)
    machine_name = machine(brain.device)
    brain.modules.clear()  # and with them their hold on the process group
    if exit_status:
        return exit_status

    # The best on the development trials; without them, the last.
    key = "eer" if dev_trials is not None else None
    best = checkpointer.find_checkpoint(min_key=key)
    load_strictly(
        hparams["model"]["embedding_model"],
        best.paramfiles["embedding_model"],
    )
    development = run_on_main(
        describe_development,
        *(best.meta, scores_of(best), dev_trials, hparams["seed"]),
    )
    run_on_main(
        export_model,
        model,
        hparams["model"]["embedding_model"],
        {
            "data": data,
            **describe_start(hparams["save_folder"], speakers),
            "hours": round(train_set.manifest.hours(), 2),
            "noise": folder_name(noise_folder),
            "rooms": folder_name(rir_folder),
            "hparams_file": hparams_file,
            "overrides": overrides,
            "seed": hparams["seed"],
            "epoch": best.meta["epoch"],
            **development,
            "minutes": minutes,
            "machine": machine_name,
            "commit": commit,
        },
        hparams["model_folder"],
    )
    if dev_trials is None:
        logger.warning(
            "There are no development trials: this is the last epoch, and the "
            "model folder holds no threshold"
        )
    logger.info(
        f"Epoch {best.meta['epoch']} is in {hparams['model_folder']}. Verify "
        f"with: python verify.py hparams/verify.yaml "
        f"--model_folder={hparams['model_folder']}"
    )
    return 0


if __name__ == "__main__":
    run(main, is_for_several=True)
