"""The tools: the questions of the command line, answered by the same services."""

from collections.abc import Callable
from typing import Annotated, Any, Unpack

from mcp.types import ToolAnnotations
from pydantic import Field

from app.concepts.filters import ClaimFilter, take_claim_filters
from app.concepts.schemas import ConceptAnswer, ConceptSummary, SimilarAnswer
from app.concepts.service import list_concepts, show_concept, similar_concepts
from app.database.reader import SqlAnswer
from app.datasets.schemas import DatasetList
from app.datasets.service import list_datasets
from app.mcp.faults import CatalogTool
from app.mcp.session import Call, open_reader, read_statement
from app.paging import PAGE, Page
from app.patterns import K_LIMIT, PAGE_LIMIT, PROMPT_LENGTH
from app.runs.report import show_run as report_run
from app.runs.schemas import RunList, RunReport
from app.runs.service import list_runs
from app.search import service
from app.search.regions import find_regions
from app.search.schemas import RegionsAnswer, SearchAnswer

Prompt = Annotated[
    str,
    PROMPT_LENGTH,
    Field(description='What to look for, in words, such as "a photo of a face".'),
]
Dataset = Annotated[
    str | None,
    Field(description="A dataset's name, as `datasets` tells it. Needed where several answer."),
]
Subject = Annotated[
    str | None, Field(description="Tell regions of this participant alone, such as subj01.")
]
Atlas = Annotated[str | None, Field(description="Tell regions of this atlas alone.")]
Component = Annotated[int, Field(description="A concept's id, as `search` tells it.")]
Many = Annotated[
    int, K_LIMIT, Field(description="How many at most.", json_schema_extra={"minimum": 1})
]
Statement = Annotated[str, Field(description="One SELECT, WITH, VALUES or TABLE in PostgreSQL.")]


def search(
    call: Call,
    prompt: Prompt,
    dataset: Dataset = None,
    subject: Subject = None,
    atlas: Atlas = None,
    k: Many = 10,
) -> SearchAnswer:
    """Find the concepts nearest to a text, and the brain regions that carry them.

    Every text has nearest concepts: `match` tells whether any is near at all, by a p against what
    unrelated words get. Where `matched` is false say so first, and offer its `nearest_words`; where
    it is null, that was not measured, and `match_reason` tells why. `warnings` are sentences to
    pass on: words that the encoder does not know, and what of a long text it does not read.

    A concept is a direction of CLIP space that brains decode. `similarity` is the cosine with the
    prompt, best first. `shared` tells whether participants share it: whether it is `decodable`
    (`p_value` and `q_value` tell how sure that is), `specific`, `agreeing` and `stable`; null where
    one of these was not measured and none fails, and `reasons` tells why.

    `regions` names each participant's regions that carry these concepts, with a q_value of at most
    the run's level (0.05 if it was not set); `weaker_regions` others, which are no finding; `place`
    is where the nearest concept's mask is strongest if no region carries any: mm, and an anatomical
    label where they are MNI. `score` is similarity x (2 AUC - 1), `auc` how well the concept's mask
    tells the region's voxels (chance is 0.5), and `responds` whether they respond more or less to
    it than to other stimuli (null: not known).
    """
    with open_reader(call) as session:
        return service.search(session, prompt, dataset=dataset, subject=subject, atlas=atlas, k=k)


def show(call: Call, component: Component) -> ConceptAnswer:
    """Tell everything about one concept.

    Whether participants share it and by which claims, with the reason of each that fails or was not
    measured; statistics per participant, overlap with every region, the stimuli that brains tell
    best and worst by it, the words and stimuli farthest from it, and whether other seeds find it.
    A mask is the `n_voxels` that respond to it, more or less than to other stimuli (`responds`);
    `r_hard`, `p_value` and `decodes` are of the `n_needed` voxels that the decoder needs.
    """
    with open_reader(call) as session:
        return show_concept(session, component)


@take_claim_filters("run", lambda _, text: Field(description=text.description))
def concepts(
    call: Call,
    dataset: Annotated[
        str | None, Field(description="Of this dataset alone, as `datasets` tells it.")
    ] = None,
    run: Annotated[int | None, Field(description="Of this run, current or not.")] = None,
    subject: Annotated[
        str | None, Field(description="Decoded by this participant, such as subj01.")
    ] = None,
    text: Annotated[
        str | None, PROMPT_LENGTH, Field(description="Part of the label or nearest terms.")
    ] = None,
    cursor: Annotated[
        str | None, Field(description="`next` of the page before; none for the first.")
    ] = None,
    limit: Annotated[
        int, PAGE_LIMIT, Field(description="Concepts a page.", json_schema_extra={"minimum": 1})
    ] = PAGE,
    **claims: Unpack[ClaimFilter],
) -> Page[ConceptSummary]:
    """List concepts by id, page by page, with what is claimed of them.

    `shared` is whether all of `decodable`, `specific`, `agreeing` and `stable` hold. A claim that
    was not measured is null, and is found by no filter on it; `reasons` tells why, of each claim
    that fails or was not measured.
    """
    with open_reader(call) as session:
        return list_concepts(
            session,
            dataset=dataset,
            run=run,
            subject=subject,
            text=text,
            cursor=cursor,
            limit=limit,
            **claims,
        )


def similar(
    call: Call,
    component: Component,
    dataset: Annotated[
        str | None, Field(description="Look in this dataset alone, as `datasets` tells it.")
    ] = None,
    run: Annotated[
        int | None, Field(description="Look in this run alone, as `runs` tells it.")
    ] = None,
    subject: Annotated[
        str | None,
        Field(
            description="Look among those that this participant's brain decodes, such as subj01."
        ),
    ] = None,
    k: Many = 10,
) -> SimilarAnswer:
    """Find the concepts nearest to a concept, in its run and in other datasets' current runs."""
    with open_reader(call) as session:
        return similar_concepts(session, component, dataset=dataset, run=run, subject=subject, k=k)


def regions(
    call: Call,
    prompt: Annotated[
        str | None, PROMPT_LENGTH, Field(description="What the regions should carry, in words.")
    ] = None,
    component: Annotated[
        int | None, Field(description="The concept's id that they should carry, instead.")
    ] = None,
    dataset: Dataset = None,
    subject: Subject = None,
    atlas: Atlas = None,
    k: Many = 10,
) -> RegionsAnswer:
    """Find the brain regions that carry a text or a concept, per participant, best first.

    Give either `prompt` or `component`. The regions of a prompt are those that carry the k
    concepts nearest to it. `score` is similarity x (2 AUC - 1), the similarity of a concept with
    itself being 1; `responds` tells whether they respond more or less to it than to other stimuli;
    `peak_mm` is where its mask is strongest inside the participant, in the `space` told.
    `weaker_regions`, `place` and, of a prompt, `match` and `warnings` are as in `search`.
    """
    with open_reader(call) as session:
        return find_regions(
            session,
            prompt=prompt,
            component=component,
            dataset=dataset,
            subject=subject,
            atlas=atlas,
            k=k,
        )


def datasets(call: Call) -> DatasetList:
    """List the datasets: their participants, atlases, stimuli, and the run that answers."""
    with open_reader(call) as session:
        return list_datasets(session)


def runs(call: Call, dataset: Dataset = None) -> RunList:
    """List the published runs, with their settings' seed and their metrics, newest first."""
    with open_reader(call) as session:
        return list_runs(session, dataset)


def show_run(
    call: Call, run: Annotated[int, Field(description="A run's id, as `runs` tells it.")]
) -> RunReport:
    """Tell what one run is worth: begin with `verdict` and `warnings`, which are sentences.

    `concepts` counts those found, carried by some participant, and of which each claim holds, with
    the reasons of the others. Of each participant: trials, voxels kept and why others were dropped,
    noise ceilings, the decoder against ridge and against chance (`above_chance`; pairwise accuracy
    is 0.5 by chance), how ridge does with fewer trials, and masks. What is null has its reason in
    `missing`. A run that found nothing is no evidence that brains carry nothing.
    """
    with open_reader(call) as session:
        return report_run(session, run)


def sql(call: Call, statement: Statement) -> SqlAnswer:
    """Ask the catalog in SQL, read-only (PostgreSQL with pgvector).

    Views of the schema catalog: runs, run_verdicts, run_subjects, subjects, voxels, concepts,
    concept_subjects, concept_regions, concept_voxels, concept_maps. The verdicts are of every
    published run, all others of those that are current. Functions: search_concepts(prompt, k),
    search_concepts(prompt, k, of_dataset), search_regions(prompt, k),
    search_regions(prompt, k, of_dataset), search_voxels(prompt, k),
    search_voxels(prompt, k, of_dataset, of_subject, of_region), match_prompt(prompt, of_dataset),
    read_prompt(prompt, of_dataset), nearest_terms(component_id, k).
    Name them in full, such as SELECT * FROM catalog.search_concepts('a face', 5); the columns of a
    view are told by SELECT * FROM catalog.concepts LIMIT 1. A prompt must have a vector: `search`
    for it first. A region is told as atlas:name, and a null narrows nothing.
    Name the dataset where several encoders are in use: their spaces cannot be compared.
    `truncated` tells that there are more rows: count or aggregate in SQL.
    """
    return read_statement(call, statement)


TOOLS: dict[str, Callable[..., Any]] = {
    "Search in words": search,
    "List of concepts": concepts,
    "One concept": show,
    "Similar concepts": similar,
    "Regions that carry": regions,
    "Datasets": datasets,
    "Runs": runs,
    "One run, judged": show_run,
    "Read-only SQL": sql,
}


def make_tools() -> list[CatalogTool]:
    """The tools, as a server offers them."""
    return [_tool(title, function) for title, function in TOOLS.items()]


def _tool(title: str, function: Callable[..., Any]) -> CatalogTool:
    tool = CatalogTool.from_function(
        function,
        title=title,
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
    tool.parameters["additionalProperties"] = False
    return tool  # type: ignore[return-value]
