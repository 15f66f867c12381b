"""Questions in words, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile

from app.dependencies import ReadingSession
from app.embedding.prompts import AS_TYPED, ENSEMBLE
from app.errors import ConflictError, InputError
from app.maps import service as maps
from app.maps.schemas import MapAnswer
from app.maps.service import (
    FEWEST_PERMUTATIONS,
    LARGEST_SEED,
    MOST_PERMUTATIONS,
    PERMUTATIONS,
)
from app.parameters import (
    AtlasName,
    Count,
    DatasetName,
    FurtherPrompt,
    Millimetre,
    Prompt,
    RunId,
    SubjectName,
)
from app.patterns import NO_NUL
from app.pictures import read_picture
from app.places import service as places
from app.places.schemas import PlaceAnswer, RegionConceptsAnswer
from app.places.service import LARGEST_MM
from app.regions.schemas import Space
from app.search import service
from app.search.schemas import Questions, SearchAnswer, SearchAnswers, Template
from app.settings import get_settings

# What the field holds, which its schema, bytes, does not tell.
PICTURE = {"encoding": {"image": {"contentType": "image/png, image/jpeg, image/webp, image/gif"}}}

router = APIRouter(prefix="/search", tags=["search"])


@router.get("")
def search_text(
    session: ReadingSession,
    q: Prompt,
    plus: Annotated[list[FurtherPrompt], Query(description="Prompts to add.", max_length=10)] = [],  # noqa: B006
    minus: Annotated[
        list[FurtherPrompt], Query(description="Prompts to take off.", max_length=10)
    ] = [],  # noqa: B006
    negate: Annotated[bool, Query(description="Ask for what is least like it.")] = False,
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: AtlasName = None,
    k: Count = 10,
    template: Annotated[
        list[Template], Query(description='Ways to say it, such as "a photo of {}".', max_length=20)
    ] = [],  # noqa: B006
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
    picture = read_picture(image.file, name)
    return service.search_picture(
        session, picture, name, dataset=dataset, run=run, subject=subject, atlas=atlas, k=k
    )


@router.post("/map")
def search_map(
    session: ReadingSession,
    volume: Annotated[
        UploadFile, File(alias="map", description="NIfTI, .nii or .nii.gz, one 3-D volume.")
    ],
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
        dataset=dataset,
        run=run,
        subject=subject,
        k=k,
        permutations=permutations,
        seed=seed,
    )


@router.get("/place")
def search_place(
    session: ReadingSession,
    x: Millimetre,
    y: Millimetre,
    z: Millimetre,
    radius: Annotated[float, Query(description="mm", gt=0, le=LARGEST_MM)] = 6.0,
    space: Annotated[Space, Query(description="Native mm need a subject.")] = "MNI",
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    k: Count = 10,
) -> PlaceAnswer:
    """The concepts whose masks take most of a ball."""
    return places.search_place(
        session, (x, y, z), radius, space, dataset=dataset, run=run, subject=subject, k=k
    )


@router.get("/region")
def search_region(
    session: ReadingSession,
    atlas: Annotated[str, Query(examples=["floc-faces"], pattern=NO_NUL)],
    region: Annotated[str, Query(examples=["FFA-1"], pattern=NO_NUL)],
    dataset: DatasetName = None,
    run: RunId = None,
    k: Count = 10,
) -> RegionConceptsAnswer:
    """The concepts that a region carries, those it carries significantly first."""
    return places.search_region(session, atlas, region, dataset=dataset, run=run, k=k)


@router.post("")
def search_texts(session: ReadingSession, asked: Questions) -> SearchAnswers:
    """Several questions to one run, each answered as `search_text` does."""
    most = get_settings().prompt_batch
    if len(asked.questions) > most:
        raise InputError(
            f"there are {len(asked.questions)} questions", hint=f"ask {most} at once at most"
        )
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
