"""What an encoder's spec names, told without loading the encoder."""

import re

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin")
MODEL_CONFIG = ".json"
# ARCH:PRETRAINED; ARCH ends at the first colon that is not a Windows drive's.
OPEN_CLIP = re.compile(r"((?:[A-Za-z]:[\\/])?[^:]+):(.+)", re.DOTALL)
_SEPARATORS = re.compile(r"[/\\]")


def files_of(spec: str) -> list[str]:
    """The files that `app.embedding.load_encoder` would read for a spec, as they stand in it.

    A name without any folder is that of a file too where an encoder takes it for one: it would be
    read from the working folder of whoever loads it.
    """
    kind, _, rest = spec.partition(":")
    if kind == "vectors":
        return [rest]
    if kind != "open_clip":
        return []
    match = OPEN_CLIP.fullmatch(rest)
    arch, pretrained = match.groups() if match else (rest, "")
    named = [(arch, (MODEL_CONFIG,)), (pretrained, CHECKPOINTS)]
    return [
        part
        for part, endings in named
        if part.lower().endswith(endings) or _SEPARATORS.search(part)
    ]
