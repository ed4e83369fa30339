"""One augmented copy of each utterance, beside SpeechBrain's augmentation.

SpeechBrain's `AddNoise` on half of the batch and `AddReverb`, with one room
for all, on the other; ours draws noise or a room for each utterance.
"""

import tempfile
from pathlib import Path

import torch
from command import run
from speechbrain.augment.preparation import write_csv
from speechbrain.augment.time_domain import AddNoise, AddReverb
from speechbrain.utils.distributed import infer_device
from torch import Tensor

from benchmarks.generated import RATE, write_noises, write_rirs
from benchmarks.measurement import (
    Row,
    Target,
    ratio,
    stage_parser,
    time_alternately,
    write_stage,
)
from custom_modules.augmentation import AugmentationSource, Draw, NoiseOrReverb

SNR_LOW, SNR_HIGH = 15, 25  # dB
SEED = 1986


class SpeechBrains:
    """SpeechBrain's two augmentations, as its VoxCeleb recipe sets them up."""

    def __init__(self, noises: list[Path], rirs: list[Path], folder: Path):
        for name, paths in (("noise", noises), ("rir", rirs)):
            write_csv([str(p) for p in paths], str(folder / f"{name}.csv"))
        self.noise = AddNoise(
            str(folder / "noise.csv"),
            snr_low=SNR_LOW,
            snr_high=SNR_HIGH,
            pad_noise=True,
        )
        self.reverb = AddReverb(str(folder / "rir.csv"))

    def __call__(self, wavs: Tensor) -> Tensor:
        """(batch, samples) → its augmented copies."""
        half = len(wavs) // 2
        noisy = self.noise(wavs[:half], torch.ones(half, device=wavs.device))
        return torch.cat([noisy, self.reverb(wavs[half:])])


class Ours:
    """Draws of the loader's workers, then their application."""

    def __init__(self, noises: list[Path], rirs: list[Path]):
        self.source = AugmentationSource(
            noises, rirs, SNR_LOW, SNR_HIGH, RATE, SEED
        )
        self.noise_or_reverb = NoiseOrReverb()
        self.epoch = 0

    def draw(self, batch_size: int, num_samples: int) -> list[Draw]:
        """Draw for each utterance of a batch; other ones each time."""
        self.epoch += 1
        return [
            self.source.draw(f"utterance {i}", self.epoch, num_samples)
            for i in range(batch_size)
        ]

    def apply(self, wavs: Tensor, draws: list[Draw]) -> Tensor:
        """(batch, samples) → its augmented copies."""
        device = wavs.device
        self.noise_or_reverb.set_draws(
            torch.stack([draw.material for draw in draws]).to(device),
            torch.tensor([draw.snr for draw in draws]).to(device),
            torch.tensor([draw.is_noise for draw in draws]),
            torch.tensor([draw.length for draw in draws]),
        )
        return self.noise_or_reverb(wavs)

    def __call__(self, wavs: Tensor) -> Tensor:
        """Both, one after the other, in one process."""
        return self.apply(wavs, self.draw(*wavs.shape))


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("augmentation", __doc__)
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--crop", type=float, default=3.0, help="s")
    parser.add_argument("--num_noises", type=int, default=100)
    parser.add_argument("--num_rirs", type=int, default=100)
    parser.add_argument(
        "--noise_seconds", type=float, nargs=2, default=[60.0, 3.0]
    )
    parser.add_argument("--device", default=infer_device())
    args = parser.parse_args(argv)
    wavs = 0.1 * torch.randn(args.batch_size, round(args.crop * RATE))
    wavs = wavs.to(args.device)

    def wait() -> None:
        if wavs.is_cuda:
            torch.cuda.synchronize()

    rows, targets = [], []
    for seconds_of_noise, bound in zip(
        args.noise_seconds, (2.0, 1.0), strict=True
    ):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            noises = write_noises(
                folder / "noise", args.num_noises, seconds_of_noise
            )
            rirs = write_rirs(folder / "rir", args.num_rirs, 0.5)
            speechbrains = SpeechBrains(noises, rirs, folder)
            ours = Ours(noises, rirs)
            draws = ours.draw(*wavs.shape)
            tasks = {
                "SpeechBrain": lambda s=speechbrains: (s(wavs), wait()),
                "ours": lambda o=ours: (o(wavs), wait()),
                "ours, the draws (in workers)": lambda o=ours: o.draw(
                    *wavs.shape
                ),
                "ours, their application": lambda o=ours, d=draws: (
                    o.apply(wavs, d),
                    wait(),
                ),
            }
            timed = time_alternately(tasks, args.repeats, warmups=3)
        note = f"noises of {seconds_of_noise:g} s, {args.num_rirs} rooms"
        measured = [
            Row(name, seconds, args.batch_size, "copies", note)
            for name, seconds in timed.items()
        ]
        rows += measured
        targets.append(
            Target(
                f"SpeechBrain / ours, noises of {seconds_of_noise:g} s",
                ratio(*measured[:2]),
                bound,
            )
        )
    write_stage("augmentation", args, args.device, rows, targets)


if __name__ == "__main__":
    run(main)
