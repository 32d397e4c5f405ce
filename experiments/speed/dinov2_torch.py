"""The part of transformers in `dinov2.py`: SIDE BATCH CLOCK on the command line. Needs torch and transformers."""

import sys
import time

import torch
from transformers import Dinov2Config, Dinov2Model

from experiments.speed.turns import serve


def main(side: int, batch: int, clock: str) -> None:
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    model = Dinov2Model(Dinov2Config(**sizes, image_size=518, patch_size=14)).eval()
    x = torch.randn((batch, 3, side, side), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        serve(
            lambda: model(x).last_hidden_state,
            clock=time.process_time if clock == "processor" else time.perf_counter,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), sys.argv[3])
