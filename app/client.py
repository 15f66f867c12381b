"""A client of the REST API, sync and async: the same answers as the services give.

>>> with Catalog("http://127.0.0.1:8000") as catalog:  # doctest: +SKIP
...     catalog.search("a photo of a face", k=3).concepts
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from app.concepts.filters import ClaimFilter
from app.concepts.schemas import ConceptAnswer, ConceptSummary, ConceptTermsAnswer, SimilarAnswer
from app.datasets.schemas import DatasetList
from app.errors import (
    CatalogError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    StorageError,
    TooManyRequestsError,
    TooSlowError,
    UnauthorisedError,
    UnavailableError,
)
from app.ingestions.schemas import IngestionAnswer, IngestionLogAnswer, IngestionWanted, State
from app.loopback import DIRECTLY
from app.maps.schemas import MapAnswer
from app.masks.maps import MapName
from app.networks.schemas import NetworkAnswer
from app.paging import Page
from app.places.schemas import PlaceAnswer, RegionConceptsAnswer
from app.regions.schemas import RegionSummary, Space
from app.runs.schemas import RunAnswer, RunList, RunReport
from app.schedules.schemas import ScheduleAnswer, ScheduleList, ScheduleWanted
from app.search.schemas import Question, Questions, SearchAnswer, SearchAnswers
from app.terms.schemas import TermsReport, TermsWanted
from app.triggers.schemas import NewTrigger, TriggerAnswer, TriggerList, TriggerWanted
from app.validation.schemas import ValidationAnswer
from app.voxels.schemas import VoxelsAnswer

TIMEOUT_S = 120.0

Answer = TypeVar("Answer", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel)
Point = tuple[float, float, float]
_ERRORS: Mapping[int, type[CatalogError]] = {
    401: UnauthorisedError,
    403: ForbiddenError,
    413: InputError,
    429: TooManyRequestsError,
    422: InputError,
    404: NotFoundError,
    409: ConflictError,
    503: UnavailableError,
    504: TooSlowError,
    507: StorageError,
}


class RunOptions(TypedDict, total=False):
    """Which run answers."""

    dataset: str | None
    run: int | None


class PlaceOptions(RunOptions, total=False):
    """Which place is asked, and how much is told."""

    radius: float
    space: Space
    subject: str | None
    k: int


class MapOptions(RunOptions, total=False):
    """What a map is held against, and how much is told."""

    space: Space
    subject: str | None
    k: int
    permutations: int
    seed: int


class RegionOptions(RunOptions, total=False):
    """How much is told of a region."""

    k: int


class PictureOptions(RunOptions, total=False):
    """What narrows a search."""

    subject: str | None
    atlas: str | None
    k: int


class SearchOptions(PictureOptions, total=False):
    """What narrows a search in words, and what is added to it."""

    templates: Sequence[str]
    plus: Sequence[str]
    minus: Sequence[str]
    negate: bool


class VoxelOptions(RunOptions, total=False):
    """What narrows a search among voxels, and what is added to it."""

    subject: str | None
    atlas: str | None
    region: str | None
    k: int
    templates: Sequence[str]
    plus: Sequence[str]
    minus: Sequence[str]
    negate: bool


class BatchOptions(PictureOptions, total=False):
    """What narrows several searches in words."""

    templates: Sequence[str]


class SimilarOptions(RunOptions, total=False):
    """Where concepts near to one are sought."""

    subject: str | None
    k: int


class RegionListOptions(TypedDict, total=False):
    """Which regions are listed."""

    dataset: str | None
    atlas: str | None
    subject: str | None
    limit: int


class ListOptions(RunOptions, ClaimFilter, total=False):
    """Which concepts are listed."""

    subject: str | None
    text: str | None
    limit: int


class IngestionOptions(TypedDict, total=False):
    """How a data set is ingested, and whether the pipeline runs on it next."""

    options: Mapping[str, Any]
    replace: bool
    then_run: bool
    run_options: Mapping[str, Any]


class ScheduleOptions(IngestionOptions, total=False):
    """When a data set is ingested, and how."""

    cron: str
    every_s: int
    timezone: str


class TriggerOptions(IngestionOptions, total=False):
    """How what arrives is ingested."""

    settle_s: int


class IngestionListOptions(TypedDict, total=False):
    """Which ingestions are listed."""

    state: State | None
    dataset: str | None
    limit: int


class ValidationOptions(RunOptions, total=False):
    """What is told of validation."""

    subject: str | None
    atlas: str | None
    prompt: str | None


@dataclass(frozen=True)
class _Call(Generic[Answer]):
    """One request, and what its answer is read as."""

    path: str
    answer: type[Answer]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: BaseModel | None = None
    files: Mapping[str, tuple[str, bytes]] | None = None
    method: str = ""

    @property
    def request(self) -> dict[str, Any]:
        posts = self.body is not None or self.files is not None
        return {
            "method": self.method or ("POST" if posts else "GET"),
            "url": self.path,
            "params": {name: value for name, value in self.params.items() if value is not None},
            "json": None if self.body is None else self.body.model_dump(mode="json"),
            "files": self.files,
        }

    def read(self, response: httpx.Response) -> Answer:
        _check(response)
        try:
            return self.answer.model_validate_json(response.content)
        except ValidationError:
            raise _no_catalog(response) from None


class Catalog:
    """A catalog behind a URL; methods take what the services of the same names take.

    Parameters
    ----------
    url : str
        Where ``sdc serve`` listens.
    key : str, optional
        A key to it, see ``sdc keys create``.
    timeout : float
        Longest wait for an answer, in seconds.

    Raises
    ------
    InputError, NotFoundError, ConflictError, StorageError, UnauthorisedError, ForbiddenError, \
    TooManyRequestsError, TooSlowError
        By every method, as the service raised it.
    UnavailableError
        By every method: the server cannot be reached, or is none of this catalog's.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT_S) -> None:
        self._http = httpx.Client(
            mounts=DIRECTLY, base_url=_checked_url(url), headers=_headers(key), timeout=timeout
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def search(self, query: str, **asked: Unpack[SearchOptions]) -> SearchAnswer:
        """Concepts and regions by text."""
        return self._ask(_search(query, asked))

    def search_all(
        self, questions: Sequence[Question | str], **asked: Unpack[BatchOptions]
    ) -> SearchAnswers:
        """Several searches at once."""
        return self._ask(_search_all(questions, asked))

    def search_voxels(self, query: str, **asked: Unpack[VoxelOptions]) -> VoxelsAnswer:
        """Voxels by text."""
        return self._ask(_search_voxels(query, asked))

    def search_picture(
        self, picture: bytes, name: str, **asked: Unpack[PictureOptions]
    ) -> SearchAnswer:
        """Concepts and regions by a picture, the bytes of its file."""
        return self._ask(_search_picture(picture, name, asked))

    def search_map(
        self, volume: bytes, name: str, *, image: bytes | None = None, **asked: Unpack[MapOptions]
    ) -> MapAnswer:
        """Concepts that a map carries, the bytes of its NIfTI file, or of .hdr and .img."""
        return self._ask(_search_map(volume, name, image, asked))

    def search_place(self, centre: Point, **asked: Unpack[PlaceOptions]) -> PlaceAnswer:
        """Concepts that a ball carries."""
        return self._ask(_search_place(centre, asked))

    def search_region(
        self, atlas: str, region: str, **asked: Unpack[RegionOptions]
    ) -> RegionConceptsAnswer:
        """Concepts that a region carries."""
        return self._ask(_search_region(atlas, region, asked))

    def concepts(self, **asked: Unpack[ListOptions]) -> Iterator[ConceptSummary]:
        """Concepts of current runs, or of one run, page after page."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask(_page(cursor, asked))
            yield from page.items
            cursor = page.next

    def concept_page(
        self, cursor: str | None = None, **asked: Unpack[ListOptions]
    ) -> Page[ConceptSummary]:
        """A page of the concepts that `concepts` goes through."""
        return self._ask(_page(cursor or "", asked))

    def concept(self, component: int) -> ConceptAnswer:
        """Everything that is known of one concept."""
        return self._ask(_concept(component))

    def similar(self, component: int, **asked: Unpack[SimilarOptions]) -> SimilarAnswer:
        """Concepts nearest to one."""
        return self._ask(_similar(component, asked))

    def terms(self, component: int, k: int = 10) -> ConceptTermsAnswer:
        """Words of the vocabulary nearest to one."""
        return self._ask(_terms(component, k))

    def add_terms(self, texts: Sequence[str], dataset: str | None = None) -> TermsReport:
        """Give texts a vector, so that SQL can ask them; a key with the scope ingest is needed."""
        return self._ask(_add_terms(texts, dataset))

    def regions(self, **asked: Unpack[RegionListOptions]) -> Iterator[RegionSummary]:
        """Regions of datasets, page after page."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask(_regions(cursor, asked))
            yield from page.items
            cursor = page.next

    def mask(
        self,
        component: int,
        subject: str,
        space: Space = "native",
        map: MapName | None = None,  # noqa: A002
    ) -> bytes:
        """A participant's mask, or a map of all voxels, as a ``.nii.gz`` or ``.dscalar.nii``."""
        chosen: dict[str, str] = {} if map is None else {"map": map}
        return self._file(component, "mask", subject=subject, space=space, **chosen)

    def voxels(
        self,
        component: int,
        subject: str,
        format: Literal["csv", "parquet"] = "parquet",  # noqa: A002
        *,
        every: bool = False,
    ) -> bytes:
        """The members of a participant's mask, or all voxels, as the bytes of a file."""
        chosen: dict[str, str] = {"every": "true"} if every else {}
        return self._file(component, "voxels", subject=subject, format=format, **chosen)

    def datasets(self) -> DatasetList:
        """All datasets."""
        return self._ask(_datasets())

    def runs(self, dataset: str | None = None) -> RunList:
        """All published runs, or those of one dataset."""
        return self._ask(_runs(dataset))

    def show_run(self, run: int) -> RunReport:
        """What a run is worth: verdict, warnings, concepts counted, and each participant."""
        return self._ask(_show_run(run))

    def promote_run(self, run: int) -> RunAnswer:
        """Let a run answer for its dataset; a key with the scope admin is needed."""
        return self._ask(_promote_run(run))

    def network(self, subject: str, **asked: Unpack[RunOptions]) -> NetworkAnswer:
        """Which concepts belong together in one participant."""
        return self._ask(_network(subject, asked))

    def validation(self, **asked: Unpack[ValidationOptions]) -> ValidationAnswer:
        """How concepts found by words lie on localisers' regions."""
        return self._ask(_validation(asked))

    def ask_ingestion(self, source: str, **how: Unpack[IngestionOptions]) -> IngestionAnswer:
        """Queue an ingestion; this and what follows need a key with the scope ingest."""
        return self._ask(_ask_ingestion(source, how))

    def ingestion(self, request: int) -> IngestionAnswer:
        """One ingestion that was asked for."""
        return self._ask(_ingestion(request))

    def ingestion_log(self, request: int, tail: int = 100) -> IngestionLogAnswer:
        """The last lines of what an ingestion told."""
        return self._ask(_ingestion_log(request, tail))

    def ingestion_page(
        self, cursor: str | None = None, **asked: Unpack[IngestionListOptions]
    ) -> Page[IngestionAnswer]:
        """Ingestions that were asked for, the newest first."""
        return self._ask(_ingestions(cursor, asked))

    def cancel_ingestion(self, request: int) -> IngestionAnswer:
        """Cancel an ingestion."""
        return self._ask(_on_ingestion(request, "cancel"))

    def retry_ingestion(self, request: int) -> IngestionAnswer:
        """Queue an ingestion again that failed or was cancelled."""
        return self._ask(_on_ingestion(request, "retry"))

    def make_schedule(self, source: str, **when: Unpack[ScheduleOptions]) -> ScheduleAnswer:
        """Ask for an ingestion again and again."""
        return self._ask(_make_schedule(source, when))

    def schedules(self) -> ScheduleList:
        """Schedules that have not ended."""
        return self._ask(_schedules())

    def end_schedule(self, schedule: int) -> ScheduleAnswer:
        """End a schedule."""
        return self._ask(_end_schedule(schedule))

    def make_trigger(
        self, kind: Literal["watch", "webhook"], source: str, **how: Unpack[TriggerOptions]
    ) -> NewTrigger:
        """Watch a folder, or make a webhook; the webhook's secret is told this once."""
        return self._ask(_make_trigger(kind, source, how))

    def triggers(self) -> TriggerList:
        """Triggers that have not ended."""
        return self._ask(_triggers())

    def end_trigger(self, trigger: int) -> TriggerAnswer:
        """End a trigger."""
        return self._ask(_end_trigger(trigger))

    def _ask(self, call: _Call[Answer]) -> Answer:
        return call.read(self._send(**call.request))

    def _file(self, component: int, part: str, **params: str) -> bytes:
        url = f"/v1/components/{component}/{part}"
        return _check(self._send(method="GET", url=url, params=params)).content

    def _send(self, **request: Any) -> httpx.Response:
        try:
            return self._http.request(**request)
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error


class AsyncCatalog:
    """`Catalog`, its methods awaited."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT_S) -> None:
        self._http = httpx.AsyncClient(
            mounts=DIRECTLY, base_url=_checked_url(url), headers=_headers(key), timeout=timeout
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def search(self, query: str, **asked: Unpack[SearchOptions]) -> SearchAnswer:
        """Concepts and regions by text."""
        return await self._ask(_search(query, asked))

    async def search_all(
        self, questions: Sequence[Question | str], **asked: Unpack[BatchOptions]
    ) -> SearchAnswers:
        """Several searches at once."""
        return await self._ask(_search_all(questions, asked))

    async def search_voxels(self, query: str, **asked: Unpack[VoxelOptions]) -> VoxelsAnswer:
        """Voxels by text."""
        return await self._ask(_search_voxels(query, asked))

    async def search_picture(
        self, picture: bytes, name: str, **asked: Unpack[PictureOptions]
    ) -> SearchAnswer:
        """Concepts and regions by a picture, the bytes of its file."""
        return await self._ask(_search_picture(picture, name, asked))

    async def search_map(
        self, volume: bytes, name: str, *, image: bytes | None = None, **asked: Unpack[MapOptions]
    ) -> MapAnswer:
        """Concepts that a map carries, the bytes of its NIfTI file, or of .hdr and .img."""
        return await self._ask(_search_map(volume, name, image, asked))

    async def search_place(self, centre: Point, **asked: Unpack[PlaceOptions]) -> PlaceAnswer:
        """Concepts that a ball carries."""
        return await self._ask(_search_place(centre, asked))

    async def search_region(
        self, atlas: str, region: str, **asked: Unpack[RegionOptions]
    ) -> RegionConceptsAnswer:
        """Concepts that a region carries."""
        return await self._ask(_search_region(atlas, region, asked))

    async def concepts(self, **asked: Unpack[ListOptions]) -> AsyncIterator[ConceptSummary]:
        """Concepts of current runs, or of one run, page after page."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._ask(_page(cursor, asked))
            for item in page.items:
                yield item
            cursor = page.next

    async def concept_page(
        self, cursor: str | None = None, **asked: Unpack[ListOptions]
    ) -> Page[ConceptSummary]:
        """A page of the concepts that `concepts` goes through."""
        return await self._ask(_page(cursor or "", asked))

    async def concept(self, component: int) -> ConceptAnswer:
        """Everything that is known of one concept."""
        return await self._ask(_concept(component))

    async def similar(self, component: int, **asked: Unpack[SimilarOptions]) -> SimilarAnswer:
        """Concepts nearest to one."""
        return await self._ask(_similar(component, asked))

    async def terms(self, component: int, k: int = 10) -> ConceptTermsAnswer:
        """Words of the vocabulary nearest to one."""
        return await self._ask(_terms(component, k))

    async def add_terms(self, texts: Sequence[str], dataset: str | None = None) -> TermsReport:
        """Give texts a vector, so that SQL can ask them; a key with the scope ingest is needed."""
        return await self._ask(_add_terms(texts, dataset))

    async def regions(self, **asked: Unpack[RegionListOptions]) -> AsyncIterator[RegionSummary]:
        """Regions of datasets, page after page."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._ask(_regions(cursor, asked))
            for item in page.items:
                yield item
            cursor = page.next

    async def mask(
        self,
        component: int,
        subject: str,
        space: Space = "native",
        map: MapName | None = None,  # noqa: A002
    ) -> bytes:
        """A participant's mask, or a map of all voxels, as a ``.nii.gz`` or ``.dscalar.nii``."""
        chosen: dict[str, str] = {} if map is None else {"map": map}
        return await self._file(component, "mask", subject=subject, space=space, **chosen)

    async def voxels(
        self,
        component: int,
        subject: str,
        format: Literal["csv", "parquet"] = "parquet",  # noqa: A002
        *,
        every: bool = False,
    ) -> bytes:
        """The members of a participant's mask, or all voxels, as the bytes of a file."""
        chosen: dict[str, str] = {"every": "true"} if every else {}
        return await self._file(component, "voxels", subject=subject, format=format, **chosen)

    async def datasets(self) -> DatasetList:
        """All datasets."""
        return await self._ask(_datasets())

    async def runs(self, dataset: str | None = None) -> RunList:
        """All published runs, or those of one dataset."""
        return await self._ask(_runs(dataset))

    async def show_run(self, run: int) -> RunReport:
        """What a run is worth: verdict, warnings, concepts counted, and each participant."""
        return await self._ask(_show_run(run))

    async def promote_run(self, run: int) -> RunAnswer:
        """Let a run answer for its dataset; a key with the scope admin is needed."""
        return await self._ask(_promote_run(run))

    async def network(self, subject: str, **asked: Unpack[RunOptions]) -> NetworkAnswer:
        """Which concepts belong together in one participant."""
        return await self._ask(_network(subject, asked))

    async def validation(self, **asked: Unpack[ValidationOptions]) -> ValidationAnswer:
        """How concepts found by words lie on localisers' regions."""
        return await self._ask(_validation(asked))

    async def ask_ingestion(self, source: str, **how: Unpack[IngestionOptions]) -> IngestionAnswer:
        """Queue an ingestion; this and what follows need a key with the scope ingest."""
        return await self._ask(_ask_ingestion(source, how))

    async def ingestion(self, request: int) -> IngestionAnswer:
        """One ingestion that was asked for."""
        return await self._ask(_ingestion(request))

    async def ingestion_log(self, request: int, tail: int = 100) -> IngestionLogAnswer:
        """The last lines of what an ingestion told."""
        return await self._ask(_ingestion_log(request, tail))

    async def ingestion_page(
        self, cursor: str | None = None, **asked: Unpack[IngestionListOptions]
    ) -> Page[IngestionAnswer]:
        """Ingestions that were asked for, the newest first."""
        return await self._ask(_ingestions(cursor, asked))

    async def cancel_ingestion(self, request: int) -> IngestionAnswer:
        """Cancel an ingestion."""
        return await self._ask(_on_ingestion(request, "cancel"))

    async def retry_ingestion(self, request: int) -> IngestionAnswer:
        """Queue an ingestion again that failed or was cancelled."""
        return await self._ask(_on_ingestion(request, "retry"))

    async def make_schedule(self, source: str, **when: Unpack[ScheduleOptions]) -> ScheduleAnswer:
        """Ask for an ingestion again and again."""
        return await self._ask(_make_schedule(source, when))

    async def schedules(self) -> ScheduleList:
        """Schedules that have not ended."""
        return await self._ask(_schedules())

    async def end_schedule(self, schedule: int) -> ScheduleAnswer:
        """End a schedule."""
        return await self._ask(_end_schedule(schedule))

    async def make_trigger(
        self, kind: Literal["watch", "webhook"], source: str, **how: Unpack[TriggerOptions]
    ) -> NewTrigger:
        """Watch a folder, or make a webhook; the webhook's secret is told this once."""
        return await self._ask(_make_trigger(kind, source, how))

    async def triggers(self) -> TriggerList:
        """Triggers that have not ended."""
        return await self._ask(_triggers())

    async def end_trigger(self, trigger: int) -> TriggerAnswer:
        """End a trigger."""
        return await self._ask(_end_trigger(trigger))

    async def _ask(self, call: _Call[Answer]) -> Answer:
        return call.read(await self._send(**call.request))

    async def _file(self, component: int, part: str, **params: str) -> bytes:
        url = f"/v1/components/{component}/{part}"
        return _check(await self._send(method="GET", url=url, params=params)).content

    async def _send(self, **request: Any) -> httpx.Response:
        try:
            return await self._http.request(**request)
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error


def _search(query: str, asked: SearchOptions) -> _Call[SearchAnswer]:
    return _Call("/v1/search", SearchAnswer, _in_words(query, asked))


def _search_voxels(query: str, asked: VoxelOptions) -> _Call[VoxelsAnswer]:
    return _Call("/v1/search/voxels", VoxelsAnswer, _in_words(query, asked))


def _in_words(query: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    params = {"template" if name == "templates" else name: each for name, each in asked.items()}
    return {"q": query} | params


def _search_all(questions: Sequence[Question | str], asked: BatchOptions) -> _Call[SearchAnswers]:
    told = [Question(query=each) if isinstance(each, str) else each for each in questions]
    return _Call("/v1/search", SearchAnswers, body=_body(Questions, {"questions": told} | asked))


def _search_picture(picture: bytes, name: str, asked: PictureOptions) -> _Call[SearchAnswer]:
    return _Call("/v1/search/image", SearchAnswer, {**asked}, files={"image": (name, picture)})


def _search_map(
    volume: bytes, name: str, image: bytes | None, asked: MapOptions
) -> _Call[MapAnswer]:
    files = {"map": (name, volume)}
    if image is not None:
        files["image"] = (f"{name}.img", image)
    return _Call("/v1/search/map", MapAnswer, {**asked}, files=files)


def _search_place(centre: Point, asked: PlaceOptions) -> _Call[PlaceAnswer]:
    return _Call("/v1/search/place", PlaceAnswer, dict(zip("xyz", centre, strict=True)) | {**asked})


def _search_region(atlas: str, region: str, asked: RegionOptions) -> _Call[RegionConceptsAnswer]:
    params = {"atlas": atlas, "region": region} | {**asked}
    return _Call("/v1/search/region", RegionConceptsAnswer, params)


def _page(cursor: str, asked: ListOptions) -> _Call[Page[ConceptSummary]]:
    params = {"cursor": cursor or None} | {**asked}
    return _Call("/v1/components", Page[ConceptSummary], params)


def _concept(component: int) -> _Call[ConceptAnswer]:
    return _Call(f"/v1/components/{component}", ConceptAnswer)


def _similar(component: int, asked: SimilarOptions) -> _Call[SimilarAnswer]:
    return _Call(f"/v1/components/{component}/similar", SimilarAnswer, {**asked})


def _terms(component: int, k: int) -> _Call[ConceptTermsAnswer]:
    return _Call(f"/v1/components/{component}/terms", ConceptTermsAnswer, {"k": k})


def _add_terms(texts: Sequence[str], dataset: str | None) -> _Call[TermsReport]:
    body = _body(TermsWanted, {"texts": list(texts), "dataset": dataset})
    return _Call("/v1/terms", TermsReport, body=body)


def _regions(cursor: str, asked: RegionListOptions) -> _Call[Page[RegionSummary]]:
    params = {"cursor": cursor or None} | {**asked}
    return _Call("/v1/regions", Page[RegionSummary], params)


def _datasets() -> _Call[DatasetList]:
    return _Call("/v1/datasets", DatasetList)


def _runs(dataset: str | None) -> _Call[RunList]:
    return _Call("/v1/runs", RunList, {"dataset": dataset})


def _show_run(run: int) -> _Call[RunReport]:
    return _Call(f"/v1/runs/{run}", RunReport)


def _promote_run(run: int) -> _Call[RunAnswer]:
    return _Call(f"/v1/runs/{run}/promote", RunAnswer, method="POST")


def _network(subject: str, asked: RunOptions) -> _Call[NetworkAnswer]:
    return _Call(f"/v1/networks/{quote(subject, safe='')}", NetworkAnswer, {**asked})


def _validation(asked: ValidationOptions) -> _Call[ValidationAnswer]:
    return _Call("/v1/validation", ValidationAnswer, {**asked})


def _ask_ingestion(source: str, how: IngestionOptions) -> _Call[IngestionAnswer]:
    body = _body(IngestionWanted, {"source": source} | how)
    return _Call("/v1/ingestions", IngestionAnswer, body=body)


def _ingestion(request: int) -> _Call[IngestionAnswer]:
    return _Call(f"/v1/ingestions/{request}", IngestionAnswer)


def _ingestion_log(request: int, tail: int) -> _Call[IngestionLogAnswer]:
    return _Call(f"/v1/ingestions/{request}/log", IngestionLogAnswer, {"tail": tail})


def _ingestions(cursor: str | None, asked: IngestionListOptions) -> _Call[Page[IngestionAnswer]]:
    return _Call("/v1/ingestions", Page[IngestionAnswer], {"cursor": cursor} | {**asked})


def _on_ingestion(request: int, action: str) -> _Call[IngestionAnswer]:
    return _Call(f"/v1/ingestions/{request}/{action}", IngestionAnswer, method="POST")


def _make_schedule(source: str, when: ScheduleOptions) -> _Call[ScheduleAnswer]:
    return _Call(
        "/v1/schedules", ScheduleAnswer, body=_body(ScheduleWanted, {"source": source} | when)
    )


def _schedules() -> _Call[ScheduleList]:
    return _Call("/v1/schedules", ScheduleList)


def _end_schedule(schedule: int) -> _Call[ScheduleAnswer]:
    return _Call(f"/v1/schedules/{schedule}", ScheduleAnswer, method="DELETE")


def _make_trigger(kind: str, source: str, how: TriggerOptions) -> _Call[NewTrigger]:
    body = _body(TriggerWanted, {"kind": kind, "source": source} | how)
    return _Call("/v1/triggers", NewTrigger, body=body)


def _triggers() -> _Call[TriggerList]:
    return _Call("/v1/triggers", TriggerList)


def _end_trigger(trigger: int) -> _Call[TriggerAnswer]:
    return _Call(f"/v1/triggers/{trigger}", TriggerAnswer, method="DELETE")


def _body(model: type[Body], asked: Mapping[str, Any]) -> Body:
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _checked_url(url: str) -> str:
    try:
        known = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        known = httpx.URL("")
    if known.scheme not in {"http", "https"} or not known.host:
        raise InputError(
            f"{url!r} is no URL of a server", hint="it looks like http://127.0.0.1:8000"
        )
    return url


def _check(response: httpx.Response) -> httpx.Response:
    """The response, where it tells no problem."""
    if response.is_success:
        return response
    try:
        problem = response.json()
        detail, hint = str(problem["detail"]), str(problem.get("hint") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_catalog(response) from None
    raise _ERRORS.get(response.status_code, CatalogError)(detail, hint=hint)


def _no_catalog(response: httpx.Response) -> UnavailableError:
    where = response.request.url.copy_with(query=None)
    return UnavailableError(
        f"{where} answers {response.status_code}, and not as this version of the catalog does",
        hint="is this the URL of `sdc serve`, of the same version?",
    )


def _unreachable(url: httpx.URL, error: httpx.HTTPError) -> UnavailableError:
    return UnavailableError(
        f"the server {url} cannot be reached: {error or type(error).__name__}",
        hint="start it with `sdc serve`, or mend its URL",
    )
