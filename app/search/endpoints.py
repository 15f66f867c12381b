"""Questions in words, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, File, Query, Request, Response, UploadFile

from app.dependencies import ReadingSession
from app.embedding.prompts import AS_TYPED, ENSEMBLE
from app.errors import ConflictError
from app.immutable import UNCHANGED, tagged_answer
from app.maps import service as maps
from app.maps.schemas import MapAnswer
from app.maps.service import (
    FEWEST_PERMUTATIONS,
    LARGEST_SEED,
    MOST_PERMUTATIONS,
    PERMUTATIONS,
)
from app.parameters import (
    Added,
    AtlasName,
    Count,
    DatasetFilter,
    DatasetName,
    Millimetre,
    Negated,
    Prompt,
    RunId,
    SubjectName,
    Taken,
    Ways,
)
from app.patterns import NO_NUL
from app.places import service as places
from app.places.schemas import PlaceAnswer, RegionConceptsAnswer
from app.places.service import LARGEST_MM
from app.regions.schemas import Space
from app.search import service
from app.search.schemas import Questions, SearchAnswer, SearchAnswers
from app.terms.prompts import check_batch
from app.voxels import service as voxels
from app.voxels.schemas import VoxelsAnswer

# What the field holds, which its schema, bytes, does not tell.
PICTURE = {"encoding": {"image": {"contentType": "image/png, image/jpeg, image/webp, image/gif"}}}

router = APIRouter(prefix="/search", tags=["search"])


@router.get("")
def search_text(
    session: ReadingSession,
    q: Prompt,
    plus: Added = [],  # noqa: B006
    minus: Taken = [],  # noqa: B006
    negate: Negated = False,
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: AtlasName = None,
    k: Count = 10,
    template: Ways = [],  # noqa: B006
    ensemble: Annotated[bool, Query(description="Average over several ways to say it.")] = False,
) -> SearchAnswer:
    """The concepts nearest to a text, and the brain regions that carry them."""
    if template and ensemble:
        raise ConflictError("both template and ensemble are given", hint="choose one of them")
    return service.search(
        session,
        q,
        plus=plus,
        minus=minus,
        negate=negate,
        dataset=dataset,
        run=run,
        subject=subject,
        atlas=atlas,
        k=k,
        templates=template or (ENSEMBLE if ensemble else AS_TYPED),
    )


@router.get("/voxels")
def search_voxels(
    session: ReadingSession,
    q: Prompt,
    plus: Added = [],  # noqa: B006
    minus: Taken = [],  # noqa: B006
    negate: Negated = False,
    dataset: DatasetFilter = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: Annotated[str | None, Query(description="The region's atlas.", pattern=NO_NUL)] = None,
    region: Annotated[
        str | None, Query(description="Of this region alone; needs its atlas.", pattern=NO_NUL)
    ] = None,
    k: Count = 10,
    template: Ways = [],  # noqa: B006
) -> VoxelsAnswer:
    """The voxels whose decoder weights point nearest to a text, without a detour over concepts."""
    return voxels.search_voxels(
        session,
        q,
        plus=plus,
        minus=minus,
        negate=negate,
        dataset=dataset,
        run=run,
        subject=subject,
        atlas=atlas,
        region=region,
        k=k,
        templates=template or AS_TYPED,
    )


@router.post("/image", openapi_extra={"requestBody": {"content": {"multipart/form-data": PICTURE}}})
def search_image(
    session: ReadingSession,
    image: Annotated[UploadFile, File(description="JPEG, PNG, WEBP, GIF or BMP.")],
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: AtlasName = None,
    k: Count = 10,
) -> SearchAnswer:
    """The concepts nearest to a picture; 409 where the run's encoder reads text alone."""
    name = (image.filename or "the picture")[:200]
    return service.search_picture(
        session, image.file, name, dataset=dataset, run=run, subject=subject, atlas=atlas, k=k
    )


@router.post("/map")
def search_map(
    session: ReadingSession,
    volume: Annotated[
        UploadFile,
        File(alias="map", description="NIfTI, .nii or .nii.gz, one 3-D volume; or a pair's .hdr."),
    ],
    image: Annotated[
        UploadFile | None, File(description="The .img of the pair of files whose .hdr `map` is.")
    ] = None,
    space: Annotated[
        Space, Query(description="What the map's mm are; native ones need a subject.")
    ] = "MNI",
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    k: Count = 10,
    permutations: Annotated[
        int,
        Query(
            description="Surrogate maps that the p values come from.",
            ge=FEWEST_PERMUTATIONS,
            le=MOST_PERMUTATIONS,
        ),
    ] = PERMUTATIONS,
    seed: Annotated[int, Query(description="Of the surrogates.", ge=0, le=LARGEST_SEED)] = 0,
) -> MapAnswer:
    """The concepts whose masks go best with a map of the brain, against maps as smooth as it."""
    return maps.search_map(
        session,
        volume.file,
        (volume.filename or "the map")[:200],
        space,
        image=None if image is None else image.file,
        dataset=dataset,
        run=run,
        subject=subject,
        k=k,
        permutations=permutations,
        seed=seed,
    )


@router.get("/place", response_model=PlaceAnswer, responses=UNCHANGED)
def search_place(
    session: ReadingSession,
    request: Request,
    x: Millimetre,
    y: Millimetre,
    z: Millimetre,
    radius: Annotated[float, Query(description="mm", gt=0, le=LARGEST_MM)] = 6.0,
    space: Annotated[Space, Query(description="Native mm need a subject.")] = "MNI",
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    k: Count = 10,
) -> Response:
    """The concepts whose masks take most of a ball."""
    answer = places.search_place(
        session, (x, y, z), radius, space, dataset=dataset, run=run, subject=subject, k=k
    )
    return tagged_answer(request, answer)


@router.get("/region", response_model=RegionConceptsAnswer, responses=UNCHANGED)
def search_region(
    session: ReadingSession,
    request: Request,
    atlas: Annotated[str, Query(examples=["floc-faces"], pattern=NO_NUL)],
    region: Annotated[str, Query(examples=["FFA-1"], pattern=NO_NUL)],
    dataset: DatasetName = None,
    run: RunId = None,
    k: Count = 10,
) -> Response:
    """The concepts that a region carries, those it carries significantly first."""
    answer = places.search_region(session, atlas, region, dataset=dataset, run=run, k=k)
    return tagged_answer(request, answer)


@router.post("")
def search_texts(session: ReadingSession, asked: Questions) -> SearchAnswers:
    """Several questions to one run, each answered as `search_text` does."""
    check_batch(len(asked.questions), "questions")
    return SearchAnswers(
        answers=[
            service.search(
                session,
                each.query,
                plus=each.plus,
                minus=each.minus,
                negate=each.negate,
                dataset=asked.dataset,
                run=asked.run,
                subject=asked.subject,
                atlas=asked.atlas,
                k=asked.k,
                templates=asked.templates,
            )
            for each in asked.questions
        ]
    )
