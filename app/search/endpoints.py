"""Questions in words, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile

from app.dependencies import ReadingSession
from app.embedding.prompts import AS_TYPED, ENSEMBLE
from app.errors import InputError
from app.pictures import read_picture
from app.places import service as places
from app.places.schemas import PlaceAnswer, RegionConceptsAnswer
from app.regions.schemas import Space
from app.search import service
from app.search.schemas import Questions, SearchAnswer, SearchAnswers
from app.settings import get_settings

router = APIRouter(prefix="/search", tags=["search"])

DatasetName = Annotated[str | None, Query(description="Needed where several have a current run.")]
RunId = Annotated[int | None, Query(description="An older run, instead of the current one.")]
SubjectName = Annotated[str | None, Query(description="Regions of this participant alone.")]
AtlasName = Annotated[str | None, Query(description="Regions of this atlas alone.")]
Count = Annotated[int, Query(description="How many concepts, and how many regions at most.")]


@router.get("")
def search_text(
    session: ReadingSession,
    q: Annotated[str, Query(description="What to look for.", examples=["a photo of a face"])],
    plus: Annotated[list[str], Query(description="Prompts to add.", max_length=10)] = [],  # noqa: B006
    minus: Annotated[list[str], Query(description="Prompts to take off.", max_length=10)] = [],  # noqa: B006
    negate: Annotated[bool, Query(description="Ask for what is least like it.")] = False,
    dataset: DatasetName = None,
    run: RunId = None,
    subject: SubjectName = None,
    atlas: AtlasName = None,
    k: Count = 10,
    template: Annotated[
        list[str], Query(description='Ways to say it, such as "a photo of {}".', max_length=20)
    ] = [],  # noqa: B006
    ensemble: Annotated[bool, Query(description="Average over several ways to say it.")] = False,
) -> SearchAnswer:
    """The concepts nearest to a text, and the brain regions that carry them."""
    if template and ensemble:
        raise InputError("both template and ensemble are given", hint="choose one of them")
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


@router.post("/image")
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


@router.get("/place")
def search_place(
    session: ReadingSession,
    x: Annotated[float, Query(description="mm", examples=[40])],
    y: Annotated[float, Query(description="mm", examples=[-52])],
    z: Annotated[float, Query(description="mm", examples=[-20])],
    radius: Annotated[float, Query(description="mm")] = 6.0,
    space: Annotated[Space, Query(description="Native mm need a subject.")] = "MNI",
    dataset: DatasetName = None,
    run: RunId = None,
    subject: Annotated[str | None, Query(description="In this participant alone.")] = None,
    k: Count = 10,
) -> PlaceAnswer:
    """The concepts whose masks take most of a ball."""
    return places.search_place(
        session, (x, y, z), radius, space, dataset=dataset, run=run, subject=subject, k=k
    )


@router.get("/region")
def search_region(
    session: ReadingSession,
    atlas: Annotated[str, Query(examples=["floc-faces"])],
    region: Annotated[str, Query(examples=["FFA-1"])],
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
