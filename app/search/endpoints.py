"""Questions in words, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.embedding.prompts import AS_TYPED, ENSEMBLE
from app.errors import InputError
from app.reading import ReadingSession
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
