"""Parameters that several endpoints take, with what the document tells of them."""

from typing import Annotated

from fastapi import Path, Query

from app.patterns import K_LIMIT, NO_NUL, PAGE_LIMIT, PROMPT_LENGTH, SAYS_SOMETHING
from app.places.service import FARTHEST_MM
from app.search.schemas import Template

Prompt = Annotated[
    str,
    PROMPT_LENGTH,
    Query(
        description="What to look for.",
        examples=["a photo of a face"],
        min_length=1,
        pattern=SAYS_SOMETHING,
    ),
]
FurtherPrompt = Annotated[
    str, PROMPT_LENGTH, Query(min_length=1, pattern=SAYS_SOMETHING, examples=["person"])
]
Added = Annotated[list[FurtherPrompt], Query(description="Prompts to add.", max_length=10)]
Taken = Annotated[list[FurtherPrompt], Query(description="Prompts to take off.", max_length=10)]
Negated = Annotated[bool, Query(description="Ask for what is least like it.")]
Ways = Annotated[
    list[Template], Query(description='Ways to say it, such as "a photo of {}".', max_length=20)
]
DatasetName = Annotated[
    str | None,
    Query(description="A dataset; needed where several have a current run.", pattern=NO_NUL),
]
DatasetFilter = Annotated[str | None, Query(description="Of this dataset alone.", pattern=NO_NUL)]
RunId = Annotated[int | None, Query(description="An older run, instead of the current one.")]
SubjectName = Annotated[
    str | None, Query(description="Tell of this participant alone.", pattern=NO_NUL)
]
AtlasName = Annotated[str | None, Query(description="Tell of this atlas alone.", pattern=NO_NUL)]
Count = Annotated[int, K_LIMIT, Query(description="How many, at most.", ge=1)]
Millimetre = Annotated[float, Query(description="mm", ge=-FARTHEST_MM, le=FARTHEST_MM)]
Label = Annotated[
    str, Query(description="A participant's label.", examples=["subj01"], pattern=NO_NUL)
]
ComponentId = Annotated[int, Path(description="A concept's id, as a search tells it.")]
Limit = Annotated[int, PAGE_LIMIT, Query(ge=1, description="Items a page.")]
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before; none for the first.")
]
