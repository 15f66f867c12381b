"""Encoders that the catalog has vectors of, loaded again."""

from functools import lru_cache
from pathlib import Path
from threading import Lock

from app.database.models import Encoder as EncoderRow
from app.embedding import Encoder, load_encoder
from app.errors import ConflictError
from app.settings import get_settings

_loading: dict[tuple[str, str], Lock] = {}


def load_stored_encoder(row: EncoderRow) -> Encoder:
    """Load the encoder that a row's vectors came from; the last ones loaded stay in memory.

    Raises
    ------
    ConflictError
        What loads now has another name, dimension or weights.
    InputError, UnavailableError
        It does not load, see `app.embedding.load_encoder`.
    """
    device = get_settings().device
    # A cache alone lets each who asks before it is filled load the weights for itself.
    with _loading.setdefault((row.spec, device), Lock()):
        encoder = _load(row.spec, device)
    require_same_encoder(row, encoder)
    return encoder


def require_same_encoder(row: EncoderRow, encoder: Encoder) -> None:
    """Refuse an encoder whose vectors cannot stand beside the stored ones.

    Raises
    ------
    ConflictError
        Name, dimension or checksum of the weights differ.
    """
    # A table's name holds a part of its checksum: its weights are what to speak of.
    for what, stored, found in (
        ("dimension", str(row.dimension), str(encoder.dimension)),
        ("weights", row.checksum, encoder.checksum),
        ("name", row.name, encoder.name),
    ):
        if stored != found:
            raise ConflictError(
                f"the encoder {row.spec} is not the one of the stored vectors of {row.name}: "
                f"{what} {found}, not {stored}",
                hint="bring back the weights it had, or give the new ones a name of their own",
            )


def absolute_spec(spec: str) -> str:
    """A spec that means the same in every working folder."""
    kind, *parts = spec.split(":", 1 if spec.startswith("vectors:") else 2)
    # A public name has no suffix, and stays one beside a file that happens to be called so.
    return ":".join(
        [
            kind,
            *(
                str(Path(part).resolve()) if Path(part).suffix and Path(part).is_file() else part
                for part in parts
            ),
        ]
    )


@lru_cache(maxsize=2)
def _load(spec: str, device: str) -> Encoder:
    return load_encoder(spec, device=device)
