"""Run the recipe's commands in this process, on a narrow model."""

import json
from pathlib import Path

import train_speaker_embeddings
import verify

ROOT = Path(__file__).parents[1]
HPARAMS = ROOT / "hparams"
RECIPE = ROOT / "recipes" / "VoxCeleb1"
BASELINE = ["--model_yaml=mean_and_deviation.yaml"]
NARROW = [
    "--num_epochs=2",
    "--batch_size=8",
    "--sentence_len=0.5",
    "--num_dev_speakers=2",
    "--num_dev_trials=20",
    "--warmup_steps=4",
    "--num_workers=0",
    "--d_model=16",
    "--num_blocks=2",
    "--d_ffn=32",
    "--subsampling=4",
    "--subsampling_channels=4",
    "--attention_channels=8",
    "--emb_dim=16",
    "--noprogressbar",
]
NARROW_MHA = [
    "--num_epochs=2",
    "--batch_size=8",
    "--sentence_len=[0.4, 0.6]",
    "--num_dev_speakers=2",
    "--num_dev_trials=20",
    "--num_workers=0",
    "--n_mels=32",
    "--channels=[4, 4, 16]",
    "--emb_dim=16",
    "--num_pooling_heads=8",
    "--noprogressbar",
]

NARROW_IVECTOR = [
    "--num_components=8",
    "--ivector_size=8",
    "--lda_size=6",
    "--plda_rank=4",
    "--n_mfcc=8",
    "--ubm_frames=1500",
    "--ubm_iterations=5",
    "--ivector_iterations=5",
    "--plda_iterations=3",
    "--num_dev_speakers=2",
    "--num_dev_trials=20",
    "--batch_seconds=20",
    "--num_workers=0",
    "--num_resamples=20",
    "--device=cpu",
]


def merged(*arguments):
    """Arguments of which a later one replaces an earlier of the same key."""
    return list({a.partition("=")[0]: a for a in arguments}.values())


def train_arguments(data, output, *overrides):
    """Of a short training."""
    return merged(
        str(HPARAMS / "mfcon.yaml"),
        f"--data_folder={data}",
        f"--noise_folder={data}/noise",
        f"--rir_folder={data}/rir",
        f"--output_folder={output}",
        *NARROW,
        *overrides,
    )


def train(data, output, *overrides):
    """Run the training command in this process."""
    train_speaker_embeddings.main(train_arguments(data, output, *overrides))


def train_mha(data, output, *overrides):
    """Run the training command on the CNN, in this process."""
    train_speaker_embeddings.main(
        merged(
            str(HPARAMS / "mha.yaml"),
            f"--data_folder={data}",
            f"--output_folder={output}",
            *NARROW_MHA,
            *overrides,
        )
    )


def run_verify(data, model, output, *overrides):
    """Run the verification command in this process; return its report."""
    verify.main(
        merged(
            str(HPARAMS / "verify.yaml"),
            f"--data_folder={data}",
            f"--model_folder={model}",
            f"--output_folder={output}",
            "--num_workers=0",
            "--batch_seconds=4",
            "--num_resamples=20",
            "--cache_folder=null",
            "--page=False",
            "--block_rates=False",
            *overrides,
        )
    )
    return json.loads((Path(output) / "report.json").read_text())


def snapshot(folder):
    """Contents of a folder, to see that nothing changed; logs aside, to which
    this process goes on writing."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {p: p.read_bytes() for p in files if p.name != "log.txt"}
