"""A catalog of many voxels with vectors, written as a run's publication writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import models
from app.database.copying import copy_rows
from app.database.embedded import start_server
from app.database.engine import make_engine
from app.database.migrate import upgrade
from tests.benchmarks.bare_rows import (
    add_dataset,
    add_decoder,
    add_encoder,
    add_run,
    add_subject,
)

Vectors = NDArray[np.float32]

DIMENSION, DATASETS, SUBJECTS = 512, 2, 4
DIRECTIONS, NOISE = 128, 0.5
REGION_VOXELS = 2_000
CONCEPTS, WORDS = 128, 64


@dataclass
class VoxelCatalog:
    """Two datasets of four participants each, in one encoder's space.

    `vectors` holds what the catalog does, (V, D) float32 by participant; `runs`, `subjects` and
    `regions` the ids, by dataset.
    """

    engine: Engine
    url: str
    directions: Vectors
    runs: list[int] = field(default_factory=list)
    subjects: list[list[int]] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    vectors: dict[int, Vectors] = field(default_factory=dict)

    def questions(self, number: int, seed: int = 1) -> Vectors:
        """Unit vectors (number, D) that lie where the voxels' do."""
        return _mixtures(self.directions, number, np.random.default_rng(seed))


@contextmanager
def voxel_catalog(voxels: int) -> Iterator[VoxelCatalog]:
    """A catalog of 8 participants of `voxels` voxels each, on a server of its own."""
    with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        url = start_server(Path(folder) / "home")
        engine = make_engine(url)
        upgrade(engine)
        random = np.random.default_rng(0)
        directions = random.standard_normal((DIRECTIONS, DIMENSION)).astype(np.float32)
        catalog = VoxelCatalog(engine, url, directions)
        with Session(engine) as session, session.begin():
            encoder = add_encoder(session, DIMENSION)
            words = _mixtures(directions, WORDS, random)
            session.add_all(
                models.Term(encoder_id=encoder, text=f"word {number}", vector=vector)
                for number, vector in enumerate(words)
            )
            for number in range(DATASETS):
                _add_dataset(session, catalog, encoder, f"lab-{number}", voxels, random)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield catalog
        engine.dispose()


def _add_dataset(
    session: Session,
    catalog: VoxelCatalog,
    encoder: int,
    slug: str,
    voxels: int,
    random: np.random.Generator,
) -> None:
    dataset = add_dataset(session, slug)
    run = add_run(session, dataset, encoder, slug)
    region = models.Region(dataset_id=dataset, atlas="bench", name="patch")
    session.add(region)
    session.flush()
    subjects = []
    for number in range(SUBJECTS):
        subject = add_subject(session, dataset, f"subj{number}", voxels)
        subjects.append(subject)
        add_decoder(session, run, subject, encoder)
        catalog.vectors[subject] = _add_voxels(
            session, catalog, (run, subject, encoder), region.id, voxels, random
        )
    _add_concepts(session, catalog, (run, encoder), subjects, region.id)
    session.get_one(models.Dataset, dataset).current_run_id = run
    catalog.runs.append(run)
    catalog.subjects.append(subjects)
    catalog.regions.append(region.id)


def _add_concepts(
    session: Session,
    catalog: VoxelCatalog,
    key: tuple[int, int],
    subjects: list[int],
    region: int,
) -> None:
    run, encoder = key
    components = [
        models.Component(
            run_id=run,
            encoder_id=encoder,
            index=index,
            label=f"concept {index}",
            terms=[],
            vector=vector,
            **dict.fromkeys(("shared", "decodable", "specific", "agreeing", "stable"), True),
        )
        for index, vector in enumerate(catalog.questions(CONCEPTS, seed=2))
    ]
    session.add_all(components)
    session.flush()
    for component in components:
        for subject in subjects:
            key = {"component_id": component.id, "subject_id": subject}
            session.add(models.ComponentSubject(**key, n_voxels=0, decodes=True))
            session.add(
                models.ComponentRegion(
                    **key, region_id=region, auc=0.5, dice=0, p_value=1, q_value=1, n_voxels=0
                )
            )


def _add_voxels(
    session: Session,
    catalog: VoxelCatalog,
    key: tuple[int, int, int],
    region: int,
    voxels: int,
    random: np.random.Generator,
) -> Vectors:
    run, subject, encoder = key
    places = {"x": random.random(voxels), "y": random.random(voxels), "z": random.random(voxels)}
    copy_rows(
        session,
        models.Voxel,
        {
            "subject_id": subject,
            "index": np.arange(voxels),
            "i": np.arange(voxels) % 30_000,
            **dict.fromkeys("jk", 0),
            **places,
            **{f"mni_{axis}": value for axis, value in places.items()},
        },
    )
    ids = np.array(
        session.query(models.Voxel.id)
        .where(models.Voxel.subject_id == subject)
        .order_by(models.Voxel.index)
        .all()
    ).ravel()
    members = ids[: REGION_VOXELS // SUBJECTS]
    copy_rows(session, models.VoxelRegion, {"voxel_id": members, "region_id": region})
    stored = _mixtures(catalog.directions, voxels, random).astype(np.float16)
    index = np.arange(voxels)[::-1]
    copy_rows(
        session,
        models.VoxelVector,
        {
            "run_id": run,
            "subject_id": subject,
            "index": index,
            "encoder_id": encoder,
            "vector": stored[index],
        },
    )
    return stored.astype(np.float32)


def _mixtures(directions: Vectors, number: int, random: np.random.Generator) -> Vectors:
    """Mixtures of directions, the first weighing most, and noise: unit vectors (number, D)."""
    weights = random.standard_normal((number, len(directions)), dtype=np.float32)
    weights *= np.linspace(1, 0.1, len(directions), dtype=np.float32)
    mixed = weights @ directions
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    noise = random.standard_normal(mixed.shape, dtype=np.float32)
    mixed += NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return mixed
