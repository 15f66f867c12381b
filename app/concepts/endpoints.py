"""Concepts, over HTTP."""

from typing import Annotated, Any, Unpack

from fastapi import APIRouter, Query, Request, Response

from app.concepts import service
from app.concepts.filters import ClaimFilter, take_claim_filters
from app.concepts.schemas import ConceptAnswer, ConceptSummary, ConceptTermsAnswer, SimilarAnswer
from app.dependencies import ReadingSession
from app.immutable import UNCHANGED, tagged, tagged_answer
from app.masks.maps import MapName
from app.masks.service import (
    MaskFile,
    Space,
    TableFormat,
    map_volume,
    mask_table,
    mask_volume,
)
from app.paging import PAGE, Page
from app.parameters import (
    ComponentId,
    Count,
    Cursor,
    DatasetFilter,
    DatasetName,
    Label,
    Limit,
    RunId,
)
from app.patterns import NO_NUL, PROMPT_LENGTH, SAYS_SOMETHING

router = APIRouter(prefix="/components", tags=["concepts"])


def _file(*media_types: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    described = {
        "description": "The file, named by Content-Disposition.",
        "content": dict.fromkeys(media_types, binary),
    }
    return UNCHANGED | {200: described}


@router.get("")
@take_claim_filters("run", lambda _, text: Query(description=text.description))
def list_concepts(
    session: ReadingSession,
    dataset: DatasetName = None,
    run: RunId = None,
    subject: Annotated[
        str | None, Query(description="Decoded by this participant.", pattern=NO_NUL)
    ] = None,
    text: Annotated[
        str | None,
        PROMPT_LENGTH,
        Query(description="Part of the label or nearest terms.", pattern=SAYS_SOMETHING),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
    **claims: Unpack[ClaimFilter],
) -> Page[ConceptSummary]:
    """The concepts of current runs, or of one run, by id.

    A claim that was not measured neither holds nor fails: no filter on it finds the concept.
    """
    return service.list_concepts(
        session,
        dataset=dataset,
        run=run,
        subject=subject,
        text=text,
        cursor=cursor,
        limit=limit,
        **claims,
    )


@router.get("/{component_id}", response_model=ConceptAnswer, responses=UNCHANGED)
def show_concept(session: ReadingSession, request: Request, component_id: ComponentId) -> Response:
    """Everything that is known of one concept."""
    return tagged_answer(request, service.show_concept(session, component_id))


@router.get("/{component_id}/similar")
def similar_concepts(
    session: ReadingSession,
    component_id: ComponentId,
    dataset: DatasetFilter = None,
    run: Annotated[int | None, Query(description="Of this run alone, current or not.")] = None,
    subject: Annotated[
        str | None, Query(description="Decoded by this participant.", pattern=NO_NUL)
    ] = None,
    k: Count = 10,
) -> SimilarAnswer:
    """The concepts nearest to one, in its own run and in current runs of its encoder."""
    return service.similar_concepts(
        session, component_id, dataset=dataset, run=run, subject=subject, k=k
    )


@router.get("/{component_id}/terms", response_model=ConceptTermsAnswer, responses=UNCHANGED)
def concept_terms(
    session: ReadingSession, request: Request, component_id: ComponentId, k: Count = 10
) -> Response:
    """The words of its encoder's vocabulary that lie nearest to a concept."""
    return tagged_answer(request, service.concept_terms(session, component_id, k=k))


@router.get(
    "/{component_id}/mask",
    response_class=Response,
    responses=_file("application/gzip", "application/octet-stream"),
)
def download_mask(
    session: ReadingSession,
    request: Request,
    component_id: ComponentId,
    subject: Label,
    space: Annotated[
        Space, Query(description="The responses' grid, or MNI152 at 2 mm.")
    ] = "native",
    map: Annotated[  # noqa: A002
        MapName | None,
        Query(
            description="In place of the mask a map of all voxels: the soft mask, how far the "
            "decoder needs each voxel, or the decoder's pattern."
        ),
    ] = None,
) -> Response:
    """A participant's mask as a gzipped NIfTI volume, weights for members, 0 elsewhere.

    With `map` a value of every voxel that the run was computed on, NaN elsewhere. Of a participant
    on a surface, `native` is a CIFTI-2 file (dscalar) of both hemispheres.
    """
    if map is not None:
        return _download(request, map_volume(session, component_id, subject, map, space))
    return _download(request, mask_volume(session, component_id, subject, space))


@router.get(
    "/{component_id}/voxels",
    response_class=Response,
    responses=_file("text/csv", "application/vnd.apache.parquet"),
)
def download_voxels(
    session: ReadingSession,
    request: Request,
    component_id: ComponentId,
    subject: Label,
    format: Annotated[TableFormat, Query(description="csv or parquet.")] = "csv",  # noqa: A002
    every: Annotated[
        bool, Query(description="All voxels that the run was computed on, with the soft mask.")
    ] = False,
) -> Response:
    """The members of a participant's mask, or all voxels; places in mm, native and MNI.

    Weights of 0.5 and more are members'. `regions` are those that the voxel is in, each as
    atlas:region.
    """
    return _download(request, mask_table(session, component_id, subject, format, every=every))


def _download(request: Request, file: MaskFile) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return tagged(request, file.content, file.media_type, headers)
