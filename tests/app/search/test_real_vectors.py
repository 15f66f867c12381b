"""Real CLIP vectors through ``vectors:`` and the catalog's search."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database.models import Component, Dataset, Run
from app.embedding import load_encoder
from app.embedding.centring import centre
from app.encoders.service import register_encoder
from app.search.service import search

Lists = dict[str, tuple[list[str], np.ndarray]]


@pytest.fixture
def lists(real_data: Path) -> Lists:
    """Names and unit vectors of COCO's and of Objects365's categories."""
    with np.load(real_data / "clip_text_vit_b32" / "clip_text_vit_b32.npz") as table:
        source, name = table["source"], table["name"]
        vector = table["vector"].astype(np.float32)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    return {
        each: ([str(n).lower() for n in name[source == each]], vector[source == each])
        for each in np.unique(source)
    }


def publish(session: Session, names: list[str], vectors: np.ndarray, spec: str) -> None:
    """A run whose components are one list's vectors, asked by the names of the other."""
    encoder = load_encoder(spec)
    space = register_encoder(session, encoder, spec)
    dataset = Dataset(
        slug="names",
        title="",
        layout="",
        source_uri="",
        licence="",
        citation="",
        fingerprint="",
        configuration={},
    )
    session.add(dataset)
    session.flush()
    run = Run(
        dataset_id=dataset.id,
        encoder_id=space.id,
        key="k",
        method="masks",
        configuration={},
        code_version="",
        seed=0,
        device="cpu",
        timings={},
        metrics={},
        parents={},
    )
    session.add(run)
    session.flush()
    dataset.current_run_id = run.id
    session.add_all(
        Component(
            run_id=run.id,
            encoder_id=space.id,
            index=index,
            label=name,
            terms=[],
            vector=vector,
            shared=None,
        )
        for index, (name, vector) in enumerate(zip(names, vectors, strict=True))
    )
    session.flush()


def share_found(session: Session, asked: list[str], shown: list[str]) -> float:
    both = sorted(set(asked) & set(shown))
    assert len(both) >= 60
    found = [search(session, name, k=1).concepts[0].label == name for name in both]
    return float(np.mean(found))


@pytest.mark.parametrize(("asked", "shown"), [("coco", "objects365"), ("objects365", "coco")])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_a_name_finds_its_like_in_the_other_list(
    engine: Engine, lists: Lists, tmp_path: Path, asked: str, shown: str, gap: float
) -> None:
    """With a gap, one list lies on a cone of its own, as pictures do beside texts."""
    names, vectors = lists[asked]
    np.savez(tmp_path / "asked.npz", name=names, vector=vectors)
    others, there = lists[shown]
    away = np.random.default_rng(0).standard_normal(there.shape[1])
    there = there + gap * (away / np.linalg.norm(away)).astype(np.float32)
    with Session(engine) as session:
        publish(
            session, others, centre(there, there.mean(axis=0)), f"vectors:{tmp_path / 'asked.npz'}"
        )
        assert share_found(session, names, others) >= 0.8
        session.rollback()
