"""Average two encoders: `python -m training.clip.blend BEFORE AFTER --out FOLDER`.

The mean of the weights before and after a fine-tuning keeps more of what the first knew of
unfamiliar hands than the second (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from training.clip.train import build, save

_WEIGHTS = "open_clip_model.safetensors"


def blended(before: Path, after: Path) -> dict[str, torch.Tensor]:
    """The mean of the weights of two folders written by `training.clip`, float32."""
    first, second = (load_file(folder / _WEIGHTS) for folder in (before, after))
    return {name: (value.float() + second[name].float()) / 2 for name, value in first.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a folder written by training.clip")
    parser.add_argument("after", type=Path, help="another one, trained from the first")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    model = build()
    model.load_state_dict(blended(options.before, options.after))
    save(model.eval(), options.out)


if __name__ == "__main__":
    main()
