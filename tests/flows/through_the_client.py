"""Every method of the client, and the service whose answer it gives."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.client import AsyncCatalog, Catalog
from app.concepts.service import concept_terms, list_concepts, show_concept, similar_concepts
from app.datasets.service import list_datasets
from app.errors import CatalogError
from app.maps.service import search_map
from app.masks.service import mask_table, mask_volume
from app.networks.service import network
from app.places.service import search_place, search_region
from app.regions.service import list_regions
from app.runs.service import list_runs
from app.search.service import search
from app.validation.service import validate
from app.voxels.service import search_voxels
from tests.app.operations import picture

NEEDS_A_KEY = "a key is needed"
READS_NO_PICTURES = "the encoder caption:all-MiniLM-L6-v2 reads no pictures"


@dataclass(frozen=True)
class Told:
    """What the questions are about: a run, one of its concepts, and a mask with its peak."""

    dataset: str
    run: int
    component: int
    subject: str
    peak: tuple[float, float, float]
    atlas: str
    region: str
    volume: bytes


def told_of(session: Session, run: int) -> Told:
    """The first concept of a run with a mask whose peak is known."""
    for concept in search(session, "a photo of a face", run=run, k=1000).concepts:
        shown = show_concept(session, concept.id)
        for each in shown.statistics:
            if each.n_voxels and each.peak_mm and each.space == "MNI":
                region = shown.regions[0]
                return Told(
                    dataset=shown.dataset,
                    run=run,
                    component=concept.id,
                    subject=each.subject,
                    peak=each.peak_mm,
                    atlas=region.atlas,
                    region=region.region,
                    volume=mask_volume(session, concept.id, each.subject, "MNI").content,
                )
    raise AssertionError(f"run {run} has no mask")


Ask = Callable[[Any, Told], Any]
# Method: what the service answers, and what the client is asked.
METHODS: dict[str, tuple[Callable[[Session, Told], Any], Ask]] = {
    "search": (
        lambda session, told: search(
            session, "a dog", run=told.run, minus=["a face"], subject=told.subject, k=4
        ),
        lambda catalog, told: catalog.search(
            "a dog", run=told.run, minus=["a face"], subject=told.subject, k=4
        ),
    ),
    "search_all": (
        lambda session, told: [search(session, word, run=told.run, k=2) for word in ("dog", "sea")],
        lambda catalog, told: catalog.search_all(["dog", "sea"], run=told.run, k=2),
    ),
    "search_voxels": (
        lambda session, told: search_voxels(
            session, "dog", run=told.run, subject=told.subject, minus=["sea"], k=7
        ),
        lambda catalog, told: catalog.search_voxels(
            "dog", run=told.run, subject=told.subject, minus=["sea"], k=7
        ),
    ),
    "search_map": (
        lambda session, told: search_map(
            session, BytesIO(told.volume), "m.nii.gz", run=told.run, permutations=99, seed=2
        ),
        lambda catalog, told: catalog.search_map(
            told.volume, "m.nii.gz", run=told.run, permutations=99, seed=2
        ),
    ),
    "search_place": (
        lambda session, told: search_place(session, told.peak, 9, "MNI", run=told.run),
        lambda catalog, told: catalog.search_place(told.peak, radius=9, space="MNI", run=told.run),
    ),
    "search_region": (
        lambda session, told: search_region(session, told.atlas, told.region, run=told.run),
        lambda catalog, told: catalog.search_region(told.atlas, told.region, run=told.run),
    ),
    "concepts": (
        lambda session, told: list_concepts(session, run=told.run, limit=100).items,
        lambda catalog, told: catalog.concepts(run=told.run, limit=2),
    ),
    "concept_page": (
        lambda session, told: list_concepts(session, run=told.run, agreeing=True, limit=3),
        lambda catalog, told: catalog.concept_page(run=told.run, agreeing=True, limit=3),
    ),
    "concept": (
        lambda session, told: show_concept(session, told.component),
        lambda catalog, told: catalog.concept(told.component),
    ),
    "similar": (
        lambda session, told: similar_concepts(session, told.component, k=100),
        lambda catalog, told: catalog.similar(told.component, k=100),
    ),
    "terms": (
        lambda session, told: concept_terms(session, told.component, k=4),
        lambda catalog, told: catalog.terms(told.component, 4),
    ),
    "regions": (
        lambda session, told: list_regions(session, dataset=told.dataset, limit=500).items,
        lambda catalog, told: catalog.regions(dataset=told.dataset, limit=2),
    ),
    "mask": (
        lambda session, told: mask_volume(session, told.component, told.subject, "MNI").content,
        lambda catalog, told: catalog.mask(told.component, told.subject, "MNI"),
    ),
    "voxels": (
        lambda session, told: mask_table(session, told.component, told.subject, "parquet").content,
        lambda catalog, told: catalog.voxels(told.component, told.subject),
    ),
    "datasets": (lambda session, _: list_datasets(session), lambda catalog, _: catalog.datasets()),
    "runs": (
        lambda session, told: list_runs(session, told.dataset),
        lambda catalog, told: catalog.runs(told.dataset),
    ),
    "network": (
        lambda session, told: network(session, told.subject, run=told.run),
        lambda catalog, told: catalog.network(told.subject, run=told.run),
    ),
    "validation": (
        lambda session, told: validate(session, run=told.run, subject=told.subject),
        lambda catalog, told: catalog.validation(run=told.run, subject=told.subject),
    ),
}
REFUSED: dict[str, tuple[str, Ask]] = {
    "search_picture": (
        READS_NO_PICTURES,
        lambda catalog, told: catalog.search_picture(picture(), "p.png", run=told.run),
    ),
    "ask_ingestion": (NEEDS_A_KEY, lambda catalog, told: catalog.ask_ingestion("/nowhere")),
    "ingestion": (NEEDS_A_KEY, lambda catalog, told: catalog.ingestion(1)),
    "ingestion_log": (NEEDS_A_KEY, lambda catalog, told: catalog.ingestion_log(1)),
    "ingestion_page": (NEEDS_A_KEY, lambda catalog, told: catalog.ingestion_page()),
    "cancel_ingestion": (NEEDS_A_KEY, lambda catalog, told: catalog.cancel_ingestion(1)),
    "retry_ingestion": (NEEDS_A_KEY, lambda catalog, told: catalog.retry_ingestion(1)),
    "make_schedule": (
        NEEDS_A_KEY,
        lambda catalog, told: catalog.make_schedule("/nowhere", cron="0 3 * * *"),
    ),
    "schedules": (NEEDS_A_KEY, lambda catalog, told: catalog.schedules()),
    "make_trigger": (
        NEEDS_A_KEY,
        lambda catalog, told: catalog.make_trigger("watch", "/nowhere"),
    ),
    "triggers": (NEEDS_A_KEY, lambda catalog, told: catalog.triggers()),
    "end_trigger": (NEEDS_A_KEY, lambda catalog, told: catalog.end_trigger(1)),
    "promote_run": (NEEDS_A_KEY, lambda catalog, told: catalog.promote_run(told.run)),
    "end_schedule": (NEEDS_A_KEY, lambda catalog, told: catalog.end_schedule(1)),
    "add_terms": (
        NEEDS_A_KEY,
        lambda catalog, told: catalog.add_terms(["a dog"], told.dataset),
    ),
}


def methods_of(client: type[Catalog] | type[AsyncCatalog]) -> set[str]:
    """Names of all that a client can be asked."""
    return {name for name in vars(client) if not name.startswith("_")} - {"close"}


def ask(url: str, question: Ask, told: Told) -> Any:
    """What a client gets, lists whole."""
    with Catalog(url) as catalog:
        answer = question(catalog, told)
        return list(answer) if hasattr(answer, "__next__") else answer


def ask_async(url: str, question: Ask, told: Told) -> Any:
    """What the other client gets."""

    async def awaited() -> Any:
        async with AsyncCatalog(url) as catalog:
            answer = question(catalog, told)
            if hasattr(answer, "__anext__"):
                return [each async for each in answer]
            return await answer

    return asyncio.run(awaited())


def assert_the_client_answers_as_the_services(url: str, session: Session, told: Told) -> None:
    """Ask all that can be asked of a run, both ways."""
    for client in (Catalog, AsyncCatalog):
        assert methods_of(client) == {*METHODS, *REFUSED}
    for name, (service, question) in METHODS.items():
        expected = service(session, told)
        # What a question embeds is stored, and a transaction must not wait for this one.
        session.commit()
        for answer in (ask(url, question, told), ask_async(url, question, told)):
            got = answer.answers if name == "search_all" else answer
            assert got == expected, name
            assert got, name
    for name, (message, question) in REFUSED.items():
        for way in (ask, ask_async):
            with pytest.raises(CatalogError) as refused:
                way(url, question, told)
            assert refused.value.message == message, name
