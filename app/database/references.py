"""What the catalog refers to in the artefact store."""

import re
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import Dataset, Decoder, Run, Subject
from app.store import Artefact, artefacts_in

_ADDRESS = re.compile(r"[0-9a-f]{64}")


def decoder_artefacts(session: Session, *, current: bool = False) -> set[str]:
    """Addresses (sha256) of decoders and masks: of all runs, or of the current ones alone."""
    query = select(Decoder.artefact_sha256, Decoder.masks_sha256)
    if current:
        query = query.join(Dataset, Dataset.current_run_id == Decoder.run_id)
    return {address for row in session.execute(query) for address in row if address}


def ingested_artefacts(session: Session) -> list[Artefact]:
    """What ingestion left of all participants."""
    return list(artefacts_in(list(session.scalars(select(Subject.artefacts)))))


def named_artefacts(session: Session) -> dict[str, str]:
    """What every artefact is of that a participant or a run refers to, by address (sha256)."""
    named: dict[str, str] = {}
    participants = (
        select(Dataset.slug, Subject.label, Subject.artefacts)
        .join(Subject, Subject.dataset_id == Dataset.id)
        .order_by(Subject.id)
    )
    for slug, label, artefacts in session.execute(participants):
        named |= {each.sha256: f"{label} of {slug}" for each in artefacts_in([artefacts])}
    runs = (
        select(Dataset.slug, Decoder.run_id, Decoder.artefact_sha256, Decoder.masks_sha256)
        .join(Run, Run.id == Decoder.run_id)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .order_by(Decoder.run_id)
    )
    for slug, run, *addresses in session.execute(runs):
        named |= {each: f"run {run} of {slug}" for each in addresses if each}
    return named


def parent_artefacts(session: Session) -> set[str]:
    """Addresses (sha256) of what all runs were computed from."""
    return set(_addresses(list(session.scalars(select(Run.parents)))))


def _addresses(tree: object) -> Iterator[str]:
    match tree:
        case str() if _ADDRESS.fullmatch(tree):
            yield tree
        case dict():
            yield from _addresses(list(tree.values()))
        case list():
            for each in tree:
                yield from _addresses(each)
