"""A training on SpeechBrain alone, by the keys of its VoxCeleb recipe.

What `tests/test_wheel.py` runs where the wheel is installed and this
repository is not: python speechbrain_training.py FILE.yaml --data_folder=…
"""

import sys
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio import audio_io
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.encoder import CategoricalEncoder


class SpeakerBrain(sb.Brain):
    """Features, embedding model, classifier; the YAML file's cost."""

    def compute_forward(self, batch, stage):
        wavs, lens = batch.to(self.device).sig
        wavs, lens = self.hparams.wav_augment(wavs, lens)
        feats = self.modules.compute_features(wavs)
        feats = self.modules.mean_var_norm(feats, lens)
        outputs = self.modules.classifier(self.modules.embedding_model(feats))
        return outputs, lens

    def compute_objectives(self, predictions, batch, stage):
        outputs, lens = predictions
        labels = self.hparams.wav_augment.replicate_labels(batch.label.data)
        return self.hparams.compute_cost(outputs, labels, lens)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        self.hparams.train_logger.log_stats(
            {"epoch": epoch}, train_stats={"loss": stage_loss}
        )
        self.checkpointer.save_and_keep_only()


def make_dataset(data_folder, crop_size):
    """The first samples of every recording, and its speaker's number."""
    wavs = sorted((Path(data_folder) / "wav").rglob("*.wav"))
    data = DynamicItemDataset(
        {
            str(place): {"wav": str(path), "speaker": path.parts[-3]}
            for place, path in enumerate(wavs)
        }
    )
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(path.parts[-3] for path in wavs)
    encoder.expect_len(len({path.parts[-3] for path in wavs}))
    data.add_dynamic_item(
        lambda wav: audio_io.load(wav)[0][0, :crop_size], "wav", "sig"
    )
    data.add_dynamic_item(
        lambda speaker: torch.tensor([encoder.encode_label(speaker)]),
        "speaker",
        "label",
    )
    data.set_output_keys(["id", "sig", "label"])
    return data


def main(argv):
    """Train as the YAML file says."""
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    for name in ("prepare_noise_data", "prepare_rir_data"):
        if name in hparams:
            hparams[name]()
    brain = SpeakerBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
    )
    crop_size = int(hparams["sentence_len"] * hparams["sample_rate"])
    brain.fit(
        hparams["epoch_counter"],
        make_dataset(hparams["data_folder"], crop_size),
        train_loader_kwargs={
            "batch_size": hparams["batch_size"],
            "num_workers": hparams["num_workers"],
        },
    )


if __name__ == "__main__":
    main(sys.argv[1:])
