"""A small CLIP of random weights, which open_clip loads as it loads any other."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from app.embedding.torchvision_operators import ensure_torchvision

ensure_torchvision()
import open_clip  # noqa: E402

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}


def small_model(config: dict[str, Any] = CONFIG) -> torch.nn.Module:
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    for parameter in model.parameters():
        # As created, the two towers hardly react to what they see.
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def write_small_clip(folder: Path) -> str:
    """Write its configuration and its weights; returns the spec of an encoder."""
    (folder / "small.json").write_text(json.dumps(CONFIG))
    state = small_model().state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "w.safetensors")
    return f"open_clip:{folder / 'small.json'}:{folder / 'w.safetensors'}"
