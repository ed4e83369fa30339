"""The Brain that trains speaker embeddings: SpeechBrain's hooks alone."""

import logging
import time
from collections import defaultdict

import speechbrain as sb
import torch
from extraction import embed_batch, score_trials
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor

from custom_modules.losses import Predictions
from custom_modules.metrics import equal_error_rate, min_dcf
from custom_modules.scoring import Trials

logger = logging.getLogger(__name__)


class SpeakerBrain(sb.Brain):
    """Train with an objective on all embeddings, validate by EER.

    Main sets `steps_per_epoch`, and `dev_trials` where there are any.
    """

    steps_per_epoch: int
    dev_trials: Trials | None = None

    def compute_forward(
        self, batch: PaddedBatch, stage: sb.Stage
    ) -> tuple[Predictions, Tensor]:
        """Waveforms → predictions and labels, of augmented copies too."""
        batch = batch.to(self.device)
        wavs, lens = batch.sig
        labels = batch.spk_id_encoded.data.squeeze(1)
        if hasattr(batch, "material"):
            self.hparams.noise_or_reverb.set_draws(
                batch.material.data,
                batch.snr.data.squeeze(1),
                batch.is_noise.data.squeeze(1),
            )
            wavs, lens = self.hparams.wav_augment(wavs, lens)
            labels = self.hparams.wav_augment.replicate_labels(labels)
        feats = self.modules.compute_features(wavs)
        feats = self.modules.mean_var_norm(feats, lens)  # crops: all are full
        block_outputs, lengths = self.modules.encoder(feats)
        frames = torch.cat(block_outputs, dim=-1)
        embeddings = self.modules.embedding_head(frames, lengths)
        block_embeddings = []
        if self.hparams.objective.is_active("mfcon"):
            block_embeddings = self.modules.block_heads(block_outputs, lengths)
        # Cosines and Gram matrices want float32, whatever the precision.
        with torch.autocast(self.device_type, enabled=False):
            embeddings = embeddings.float()
            outputs = self.modules.classifier(embeddings)
        outputs = outputs.reshape(len(embeddings), -1)  # (batch, speakers)
        block_embeddings = [block.float() for block in block_embeddings]
        return Predictions(outputs, embeddings, block_embeddings), labels

    def compute_objectives(
        self,
        predictions: tuple[Predictions, Tensor],
        batch: PaddedBatch,
        stage: sb.Stage,
    ) -> Tensor:
        """Sum of the objective's terms; each goes to the statistics."""
        predictions, labels = predictions
        with torch.autocast(self.device_type, enabled=False):
            terms = self.hparams.objective(predictions, labels)
        loss = sum(terms.values())
        outputs = predictions.outputs.detach()
        targets = outputs.gather(1, labels.unsqueeze(1))  # (batch, 1)
        others = outputs.scatter(1, labels.unsqueeze(1), -torch.inf)
        leads = targets.squeeze(1) - others.amax(dim=1)
        self.pending = {name: term.detach() for name, term in terms.items()}
        self.pending["accuracy"] = (leads > 0).float().mean()
        self.pending["accuracy_with_margin"] = (
            (leads > self.hparams.margin).float().mean()
        )
        return loss

    def fit_batch(self, batch: PaddedBatch) -> Tensor:
        """One step; none, and nothing changed, where the loss is not finite.

        SpeechBrain's own counts such a loss, then steps on it.
        """
        started = time.perf_counter()
        self.waited += started - self.idle_since
        buffers = [buffer.clone() for buffer in self.modules.buffers()]
        should_step = self.step % self.grad_accumulation_factor == 0
        with self.no_sync(not should_step), self.training_ctx:
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
            loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        if loss.isfinite():
            with self.no_sync(not should_step):
                self.scaler.scale(
                    loss / self.grad_accumulation_factor
                ).backward()
            if should_step:
                self.rate = self.hparams.schedule.step(
                    self.optimizer, self.steps_per_epoch
                )
                self.optimizers_step()
            for name, value in self.pending.items():
                self.sums[name] += value
            self.num_batches += 1
        else:
            for buffer, saved in zip(
                self.modules.buffers(), buffers, strict=True
            ):
                buffer.copy_(saved)
            logger.warning(
                f"The loss is not finite, no step is taken. Utterances: "
                f"{', '.join(batch.id)}"
            )
            self.check_loss_isfinite(loss)  # raises when patience is out
        self.num_utterances += len(predictions[1])
        self.idle_since = time.perf_counter()
        self.worked += self.idle_since - started
        return loss.detach().cpu()

    @torch.no_grad()
    def evaluate_batch(self, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Embed whole utterances, by the unwrapped inference model."""
        with self.evaluation_ctx:
            self.embeddings |= embed_batch(
                batch.to(self.device), self.hparams.model["modules"]
            )
        return torch.zeros(())

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the epoch's statistics, or an empty set of embeddings."""
        if stage == sb.Stage.TRAIN:
            self.sums = defaultdict(float)
            self.num_batches = self.num_utterances = 0
            self.waited = self.worked = self.rate = 0.0
            self.idle_since = time.perf_counter()
        else:
            self.hparams.model["embedding_model"].eval()
            self.embeddings = {}

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float, epoch: int | None = None
    ) -> None:
        """Score the development trials, log, save a checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = self._training_statistics(stage_loss)
            if self.dev_trials is None:
                self._log_and_save(epoch, {})
            return
        trials = self.dev_trials
        scores = score_trials(trials, self.embeddings)
        eer, threshold = equal_error_rate(scores, trials.is_target)
        cost, _ = min_dcf(scores, trials.is_target, p_target=0.01)
        self._log_and_save(
            epoch,
            {
                "eer": float(eer),
                "min_dcf": float(cost),
                "threshold": float(threshold),
            },
        )

    def _training_statistics(self, stage_loss: float) -> dict[str, float]:
        """Means over the epoch's steps, throughput, share of waiting."""
        seconds = self.waited + self.worked
        means = {
            name: float(value) / max(1, self.num_batches)
            for name, value in self.sums.items()
        }
        return {
            "loss": stage_loss,
            **means,
            "utterances_per_second": self.num_utterances / max(1e-9, seconds),
            "share_waiting_for_data": self.waited / max(1e-9, seconds),
        }

    def _log_and_save(self, epoch: int, valid_stats: dict[str, float]) -> None:
        self.hparams.train_logger.log_stats(
            stats_meta={"epoch": epoch, "lr": self.rate},
            train_stats=self.train_stats,
            valid_stats=valid_stats,
        )
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, **valid_stats},
            importance_keys=[],
            min_keys=["eer"] if valid_stats else [],
        )
