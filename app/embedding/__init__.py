"""Texts and pictures to vectors: three kinds of encoder behind one protocol.

The libraries behind an encoder (torch, transformers, open_clip) take seconds to import, so each
is imported when an encoder of its kind is loaded, and `import app.embedding` stays light.
"""

from collections.abc import Callable

from app.embedding.encoder import Encoder
from app.errors import InputError
from app.threads import share_cores, wait_asleep

__all__ = ["Encoder", "load_encoder", "require_fetchable"]


def load_encoder(spec: str, *, device: str = "cpu") -> Encoder:
    """Load the encoder that `spec` describes.

    Parameters
    ----------
    spec : str
        ``caption:all-MiniLM-L6-v2``; ``open_clip:ARCH:PRETRAINED``, where ARCH is a model's name
        or a JSON model config's path and PRETRAINED a tag that open_clip can download or a local
        checkpoint's path; ``vectors:PATH``, a table of names and vectors (.npz, .csv).
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        No encoder has this form, or its file is missing or cannot be read.
    UnavailableError
        The weights cannot be had, or the device is not there.
    """
    kind, _, rest = spec.partition(":")
    loader = _LOADERS.get(kind)
    if loader is None or not rest:
        raise InputError(
            f"unknown encoder {spec!r}",
            hint="the forms are caption:all-MiniLM-L6-v2, open_clip:ARCH:PRETRAINED, vectors:PATH",
        )
    # Before torch is loaded, by whoever asks.
    wait_asleep()
    share_cores(1)
    return loader(rest, device)


def require_fetchable(spec: str, *, patience_s: float = 10) -> None:
    """Refuse an encoder that has to be downloaded, and cannot be, without waiting for long.

    Raises
    ------
    UnavailableError
        Its weights are not on this machine, and where they come from does not answer in time.
    """
    kind, _, rest = spec.partition(":")
    if kind == "open_clip":
        from app.embedding.open_clip import require_fetchable as require

        require(rest, patience_s=patience_s)


def _load_caption(rest: str, device: str) -> Encoder:
    from app.embedding.caption import CaptionEncoder

    return CaptionEncoder(rest, device=device)


def _load_open_clip(rest: str, device: str) -> Encoder:
    from app.embedding.open_clip import OpenClipEncoder

    return OpenClipEncoder(rest, device=device)


def _load_vectors(rest: str, device: str) -> Encoder:
    from app.embedding.vectors import VectorTable

    return VectorTable(rest)


_LOADERS: dict[str, Callable[[str, str], Encoder]] = {
    "caption": _load_caption,
    "open_clip": _load_open_clip,
    "vectors": _load_vectors,
}
