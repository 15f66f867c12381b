"""Rows that voxels' vectors refer to, with nothing in them but what the schema asks for."""

import numpy as np
from sqlalchemy.orm import Session

from app.database.models import Base, Dataset, Decoder, Encoder, Run, Subject


def add_encoder(session: Session, dimension: int) -> int:
    """An encoder whose texts have no mean; its id."""
    return _add(
        session,
        Encoder(
            name="bench",
            spec="bench",
            dimension=dimension,
            checksum="",
            sees_images=False,
            text_mean=np.zeros(dimension),
        ),
    )


def add_dataset(session: Session, slug: str) -> int:
    """A dataset; its id."""
    texts = dict.fromkeys(("title", "layout", "source_uri", "licence", "citation"), "")
    return _add(session, Dataset(slug=slug, fingerprint=slug, configuration={}, **texts))


def add_subject(session: Session, dataset: int, label: str, voxels: int) -> int:
    """A participant whose voxels lie in a row; its id."""
    return _add(
        session,
        Subject(
            dataset_id=dataset,
            label=label,
            grid=[voxels, 1, 1],
            affine=np.eye(4).ravel().tolist(),
            n_trials=0,
            n_sessions=0,
            report={},
            artefacts={},
        ),
    )


def add_run(session: Session, dataset: int, encoder: int, key: str) -> int:
    """A run; its id."""
    nothing: dict[str, dict[str, object]] = {
        name: {} for name in ("configuration", "timings", "metrics", "parents")
    }
    return _add(
        session,
        Run(
            dataset_id=dataset,
            encoder_id=encoder,
            key=key,
            method="masks",
            code_version="",
            seed=0,
            device="cpu",
            **nothing,
        ),
    )


def add_decoder(session: Session, run: int, subject: int, encoder: int) -> None:
    """A participant's decoder in a run."""
    texts = dict.fromkeys(("artefact_uri", "artefact_sha256", "masks_sha256"), "")
    key = {"run_id": run, "subject_id": subject, "encoder_id": encoder}
    _add(session, Decoder(**key, kind="linear", metrics={}, **texts))


def _add(session: Session, row: Base) -> int:
    session.add(row)
    session.flush()
    return int(row.id)  # type: ignore[attr-defined]
