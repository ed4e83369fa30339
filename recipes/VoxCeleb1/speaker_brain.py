"""The Brain that trains speaker embeddings: SpeechBrain's hooks alone."""

import logging
import os
import time

import speechbrain as sb
import torch
from development import DevelopmentScores, measure_development
from extraction import embed_batch, score_trials
from faults import explaining_memory
from interruption import Interrupted, StopRequest
from processes import gather_from_all
from progress import Pace, is_terminal
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor
from training_loggers import EpochLoggers
from training_statistics import TrainingStatistics

from custom_modules.distributed import (
    mean_over_ranks,
    num_processes,
    process_rank,
)
from custom_modules.losses import Predictions
from custom_modules.scoring import Trials

logger = logging.getLogger(__name__)

MAX_WAITING = 0.1  # of an epoch, before a warning


class SpeakerBrain(sb.Brain):
    """Train with an objective on all embeddings, validate by EER.

    Main sets `steps_per_epoch`, and `dev_trials` where there are any. What
    must not happen in one process alone (a step, a save, the end) follows
    from what all say in the one exchange of each step.
    """

    steps_per_epoch: int
    dev_trials: Trials | None = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.statistics = TrainingStatistics()
        self.dev_scores = DevelopmentScores()
        self.stop_request = StopRequest()
        self.saved_at = time.monotonic()
        self.is_save_due = self.must_stop = self.has_bad_files = False
        self.validated: tuple[dict[str, Tensor], int] | None = None
        self.loggers = EpochLoggers(
            self.hparams.train_logger, self.hparams.more_loggers
        )

    def compute_forward(
        self, batch: PaddedBatch, stage: sb.Stage
    ) -> tuple[Predictions, Tensor]:
        """Waveforms → predictions and labels, of augmented copies too."""
        batch = batch.to(self.device, non_blocking=True)
        wavs, lens = batch.sig
        labels = batch.spk_id_encoded.data.squeeze(1)
        if hasattr(batch, "material"):
            self.hparams.noise_or_reverb.set_draws(
                batch.material.data,
                batch.snr.data.squeeze(1),
                batch.is_noise.data.squeeze(1),
                batch.material_length.data.squeeze(1),
            )
            wavs, lens = self.hparams.wav_augment(wavs, lens)
            labels = self.hparams.wav_augment.replicate_labels(labels)
        feats = self.modules.compute_features(wavs)
        feats = self.modules.mean_var_norm(feats, lens)  # crops: all are full
        block_outputs, lengths = self.modules.encoder(feats)
        frames = torch.cat(block_outputs, dim=-1)
        embeddings = self.modules.embedding_head(frames, lengths)
        block_embeddings = []
        if self.hparams.objective.needs_blocks:
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
        self.step_values = dict(terms)
        self.step_values["accuracy"] = (leads > 0).float().mean()
        self.step_values["accuracy_with_margin"] = (
            (leads > self.hparams.margin).float().mean()
        )
        return loss

    def fit_batch(self, batch: PaddedBatch) -> Tensor:
        """One step; none, and nothing changed, where the loss is not finite.

        SpeechBrain's own counts such a loss, then steps on it. Of several
        processes each goes backward from its own loss, and
        DistributedDataParallel makes the mean of the gradients; what is
        logged, and whether to step, follows from the means of all.
        """
        self.statistics.start_step()
        buffers = [buffer.clone() for buffer in self.modules.buffers()]
        should_step = self.step % self.grad_accumulation_factor == 0
        seconds = batch.sig.data.shape[1] / self.hparams.sample_rate
        tried = (
            f"a batch of {len(batch)} crops of {seconds:g} s, with augmented "
            f"copies, on {self.device}: lower --batch_size or --sentence_len"
        )
        with (
            explaining_memory(tried),
            self.no_sync(not should_step),
            self.training_ctx,
        ):
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
            loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        mean_loss = self._exchange(loss, batch)
        if mean_loss.isfinite():
            with explaining_memory(tried):
                with self.no_sync(not should_step):
                    self.scaler.scale(
                        loss / self.grad_accumulation_factor
                    ).backward()
                if should_step:
                    self.hparams.schedule.step(
                        self.optimizer, self.steps_per_epoch
                    )
                    self.optimizers_step()
        else:
            self.step_values = {}
            for buffer, saved in zip(
                self.modules.buffers(), buffers, strict=True
            ):
                buffer.copy_(saved)
            shares = gather_from_all({process_rank(): batch.id})
            utt_ids = [utt_id for ids in shares.values() for utt_id in ids]
            logger.warning(
                f"The loss is not finite, no step is taken. Utterances: "
                f"{', '.join(utt_ids)}"
            )
            # Raises when patience is out.
            self.check_loss_isfinite(mean_loss)
        num_utterances = len(predictions[1]) * num_processes()
        self.statistics.end_step(self.step_values, num_utterances)
        if (done := self.pace.step()) and not (
            is_terminal() or self.noprogressbar
        ):
            rate = self.statistics.summary()["utterances_per_second"]
            logger.info(
                f"Epoch {self.hparams.epoch_counter.current}: step {done}; "
                f"loss {self.avg_train_loss:.3f}, {rate:.1f} utterances/s"
            )
        return mean_loss.cpu()

    def _exchange(self, loss: Tensor, batch: PaddedBatch) -> Tensor:
        """Mean loss of all processes; what they want goes to attributes."""
        due_after = 60 * self.ckpt_interval_minutes
        since = time.monotonic() - self.saved_at
        errors = [error for of_one in batch.bad_files for error in of_one]
        wishes = [0 < due_after < since, bool(self.stop_request), bool(errors)]
        names = list(self.step_values)
        means = mean_over_ranks(
            torch.stack(
                [
                    loss,
                    *(self.step_values[name] for name in names),
                    *loss.new_tensor(wishes),
                ]
            )
        )
        values = means[1 : 1 + len(names)]
        self.step_values = dict(zip(names, values, strict=True))
        self.is_save_due, self.must_stop, self.has_bad_files = (
            means[-len(wishes) :] > 0
        ).tolist()
        if self.has_bad_files:
            shares = gather_from_all({process_rank(): errors})
            self.statistics.add_bad_files(
                [error for share in shares.values() for error in share],
                self.hparams.max_bad_files,
            )
        return means[0]  # not finite where that of one process is not

    def _should_save_intra_epoch_ckpt(
        self, last_ckpt_time: float, steps_since_ckpt: int
    ) -> bool:
        """As all processes agreed; minutes are those of a steady clock."""
        del last_ckpt_time
        is_step_due = 0 < self.ckpt_interval_steps <= steps_since_ckpt
        return self.is_save_due or self.must_stop or is_step_due

    def _save_intra_epoch_ckpt(self) -> None:
        """Save; raise `Interrupted` where a signal asked to stop."""
        self.checkpointer.save_and_keep_only(
            meta={INTRA_EPOCH_CKPT_FLAG: True},
            end_of_epoch=False,
            num_to_keep=self.hparams.num_checkpoints,
            importance_keys=[],
            ckpt_predicate=lambda c: INTRA_EPOCH_CKPT_FLAG in c.meta,
            verbosity=logging.DEBUG,
        )
        self.saved_at = time.monotonic()
        if self.must_stop:
            raise self._interruption()

    def _interruption(self) -> Interrupted:
        return Interrupted(
            f"Stopped, and saved in {self.checkpointer.checkpoints_dir}: the "
            "same command goes on from there",
            self.stop_request.exit_status,
        )

    @torch.no_grad()
    def evaluate_batch(self, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Embed whole utterances, by the unwrapped inference model."""
        if self.stop_request and num_processes() == 1:
            raise self._interruption()  # saved since the epoch's last step
        with self.evaluation_ctx:
            self.embeddings |= embed_batch(
                batch.to(self.device), self.hparams.model["modules"]
            )
        return torch.zeros(())

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the epoch's statistics, or collect embeddings."""
        if stage == sb.Stage.VALID:
            self.hparams.model["embedding_model"].eval()
            self.embeddings = {}
            return
        self.pace = Pace(self.steps_per_epoch, self.step)
        if self.step:  # resumed within the epoch
            self.statistics.resume()
        else:
            self.statistics.start_epoch()

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float, epoch: int | None = None
    ) -> None:
        """Score the development trials, log, save a checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {
                "loss": stage_loss,
                **self.statistics.summary(),
            }
            self._warn_of_waiting()
            if self.statistics.bad_files:
                logger.warning(f"Epoch {epoch}: {self.statistics.bad_news}")
            if self.dev_trials is None:
                self._log_and_save(epoch, {})
            else:  # for a validation that is interrupted
                self._save_intra_epoch_ckpt()
            return
        trials = self.dev_trials
        embeddings = gather_from_all(self.embeddings)
        self.validated = embeddings, epoch
        scores = score_trials(trials, embeddings)
        self.dev_scores.values = scores
        self._log_and_save(epoch, measure_development(scores, trials.is_target))

    def _warn_of_waiting(self) -> None:
        share = self.train_stats["share_waiting_for_data"]
        if share > MAX_WAITING:
            logger.warning(
                f"{share:.0%} of the epoch went by waiting for data: give "
                f"--num_workers more than {self.hparams.num_workers}, up to "
                f"the {os.cpu_count()} cores, or pack data, noises and rooms "
                "by pack.py if the disk seeks slowly"
            )

    def _log_and_save(
        self, epoch: int, valid_stats: dict[str, float | None]
    ) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        known = {k: x for k, x in valid_stats.items() if x is not None}
        self.loggers.log_stats(
            {"epoch": epoch, "lr": lr}, self.train_stats, known
        )
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, **valid_stats},
            num_to_keep=self.hparams.num_checkpoints,
            importance_keys=[],
            min_keys=["eer"] if valid_stats else [],
        )
