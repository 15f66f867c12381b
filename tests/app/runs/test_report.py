"""A run that is judged: by what newer runs store, and by what older ones have."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.api import make_api
from app.concepts.claims import CLAIMS
from app.database.engine import open_session
from app.database.models import Component, Dataset, Run
from app.errors import NotFoundError
from app.runs.report import OLDER, judge_run, show_run
from app.runs.service import choose_run, list_runs
from app.search.service import search
from tests.app.conftest import Sdc
from tests.app.published import CONCEPTS, REASONS, SHARED, SUBJECTS, VERDICTS, Published
from tests.app.runs.judged import CURVE, carry_nothing, store_judgement


def test_concepts_are_counted_claim_by_claim(session: Session, published: Published) -> None:
    store_judgement(session, published)
    told = show_run(session, published.run).concepts
    assert (told.found, told.carried) == (6, 6)
    for number, claim in enumerate(CLAIMS):
        held = [VERDICTS[concept][number] for concept in CONCEPTS]
        counted = getattr(told, claim)
        assert (counted.holds, counted.fails, counted.not_measured) == (
            held.count(True),
            held.count(False),
            held.count(None),
        )
        assert sum(counted.reasons.values()) == counted.fails + counted.not_measured
        for concept in CONCEPTS:
            if claim in REASONS[concept]:
                assert REASONS[concept][claim] in counted.reasons
    assert (told.shared.holds, told.shared.fails, told.shared.not_measured) == (2, 3, 1)
    assert told.shared.reasons == {
        "no better than mixtures": 1,
        "masks do not agree": 1,
        "other seeds have no masks of it": 1,
        "decodable in too few participants": 1,
    }
    assert (told.found_again, told.seeds, told.cosine, told.cosine_by_chance) == (2, 2, 0.9, 0.3)
    assert told.start_cosine == pytest.approx(0.15)


def test_each_participant_is_told_with_figures_and_chance(
    session: Session, published: Published
) -> None:
    store_judgement(session, published)
    first, second = show_run(session, published.run).participants
    assert [first.subject, second.subject] == list(SUBJECTS)
    assert first.trials is not None
    assert (first.trials.development, first.trials.test) == (40, 12)
    assert first.voxels is not None
    assert first.voxels.in_mask == first.voxels.kept + sum(first.voxels.dropped.values())
    assert first.noise_ceiling is not None
    assert (first.noise_ceiling.median, first.noise_ceiling.above) == (20, 0.75)
    decoder = first.decoder
    assert decoder is not None
    assert decoder.pairwise is not None
    top1, top5 = decoder.top["top1"], decoder.top["top5"]
    assert (top1.decoder, top1.low, top1.high, top1.ridge) == (0.5, 0.4, 0.6, 0.45)
    assert (top1.chance, top5.chance, top5.ridge, top5.low) == (1 / 20, 5 / 20, 0.7, None)
    assert (decoder.pairwise.decoder, decoder.pairwise.chance) == (0.9, 0.5)
    assert decoder.above_chance is True
    assert decoder.against_ridge is not None
    assert decoder.against_ridge.gained == 3
    assert first.learning_curve is not None
    assert [point.model_dump() for point in first.learning_curve] == CURVE
    assert (first.masks.feasible, first.masks.decoding, first.masks.of) == (6, 6, 6)
    assert first.missing == {}
    assert second.decoder is not None
    assert second.decoder.above_chance is False
    assert second.noise_ceiling is None
    assert second.missing == {"noise_ceiling": "every image was shown once"}
    assert (second.masks.feasible, second.masks.decoding) == (6, 5)


def test_verdict_and_warnings_are_sentences(session: Session, published: Published) -> None:
    store_judgement(session, published)
    told = show_run(session, published.run)
    assert told.verdict == f"6 concepts, {len(SHARED)} shared by participants"
    assert told.warnings == [
        "this run tells nothing of subj02: its decoder is not above chance",
        "no noise ceiling of subj02: every image was shown once",
        "of 6 components 2 were found again by other seeds",
        "99 permutations are too few",
        "the encoder does not know all words of 2 of 90 captions",
    ]


def test_an_older_run_is_told_with_reasons_for_what_it_lacks(
    session: Session, published: Published
) -> None:
    run = session.get_one(Run, published.run)
    for metrics in (run.metrics, {}):
        run.metrics = metrics
        session.flush()
        told = show_run(session, published.run)
        assert told.verdict == "6 concepts, 2 shared by participants"
        assert told.concepts.found_again is None
        for one in told.participants:
            unknown = {"trials", "voxels", "noise_ceiling", "learning_curve"}
            unknown |= set() if metrics else {"decoder"}
            assert one.missing == dict.fromkeys(unknown, OLDER)
            for name in unknown:
                assert getattr(one, name) is None
            assert one.masks.feasible == 6
        assert "it was not measured whether components are found again" in told.warnings
        # Of what was not stored nothing is said, neither that there was no noise ceiling.
        assert not any("noise ceiling" in line for line in told.warnings)


def test_a_run_that_no_participant_carries_found_nothing(
    session: Session, published: Published
) -> None:
    store_judgement(session, published)
    carry_nothing(session, published)
    judged = judge_run(session, session.get_one(Run, published.run))
    assert judged.found_nothing
    assert judged.verdict == (
        "this run found nothing: none of its 6 concepts is carried by any participant"
    )
    with pytest.raises(NotFoundError) as caught:
        choose_run(session, published.dataset)
    assert str(caught.value) == (
        "the dataset lab-a has no current run: its last run found nothing (see `sdc runs "
        f"{published.run}`; ask it all the same with --run {published.run}, or let it answer: sdc "
        f"runs --promote {published.run})"
    )
    with pytest.raises(NotFoundError, match="its last run found nothing"):
        search(session, "face")
    assert search(session, "face", run=published.run).concepts


def test_a_run_without_components_can_be_asked(session: Session, published: Published) -> None:
    store_judgement(session, published)
    session.execute(delete(Component))
    run = session.get_one(Run, published.run)
    run.metrics = run.metrics | {"nothing": {"reason": "no start agreed", "hint": ""}}
    session.flush()
    told = show_run(session, published.run)
    assert told.verdict == "this run found nothing: no start agreed"
    assert told.found_nothing
    assert (told.components, told.concepts.found, told.concepts.carried) == (0, 0, 0)
    answer = search(session, "face", run=published.run)
    assert (answer.concepts, answer.regions) == ([], [])


def test_a_run_that_does_not_answer_for_another_reason(
    session: Session, published: Published
) -> None:
    session.get_one(Dataset, 1).current_run_id = None
    session.flush()
    with pytest.raises(NotFoundError, match="lab-a has no current run: its last run is not curr"):
        choose_run(session)


def test_there_is_no_such_run(session: Session, published: Published) -> None:
    for run in (0, 77, 2**40):
        with pytest.raises(NotFoundError, match=f"there is no run {run}"):
            show_run(session, run)


def test_the_list_does_not_repeat_the_judgement(session: Session, published: Published) -> None:
    store_judgement(session, published)
    (listed,) = list_runs(session).runs
    assert "report" not in listed.metrics
    assert "participants" in listed.metrics
    assert show_run(session, published.run).metrics == listed.metrics


@pytest.fixture
def judged(own_published: Published) -> Published:
    """A run that newer code published."""
    with open_session() as session, session.begin():
        store_judgement(session, own_published)
    return own_published


def test_all_interfaces_tell_alike(judged: Published, sdc: Sdc) -> None:
    own_client = TestClient(make_api())
    with open_session() as session:
        told = json.loads(show_run(session, judged.run).model_dump_json())
    assert own_client.get(f"/v1/runs/{judged.run}").json() == told
    assert json.loads(sdc("runs", judged.run, "--json").stdout) == told
    assert own_client.get("/v1/runs/77").status_code == 404
    assert own_client.get("/v1/runs/face").status_code == 422


def test_a_terminal_is_told_the_verdict_first(judged: Published, sdc: Sdc) -> None:
    lines = sdc("runs", judged.run).stdout.splitlines()
    assert lines[0] == "verdict: 6 concepts, 2 shared by participants"
    assert lines[1] == (
        "warning: this run tells nothing of subj02: its decoder is not above chance"
    )
    text = "\n".join(lines)
    for row in (
        "6 concepts found, 6 of them carried by a participant",
        "2 found again by 2 other seeds: cosine 0.90, by chance 0.30, with the start of the search "
        "0.15",
        "specific\t5\t1\t0\tno better than mixtures: 1",
        "subj01\t40\t12\t30\tnot finite: 5; noise ceiling at most 5 %: 15\t20.000\t0.750",
        "subj02\t40\t12\t30\tnot finite: 5; noise ceiling at most 5 %: 15\t"
        "none: every image was shown once\t-",
        "subj01\tpairwise\t0.900\t0.80 to 0.95\t-\t0.500\tyes",
        "subj01\ttop1\t0.500\t0.40 to 0.60\t0.450\t0.050\t-",
        "subj01\t0.250\t10\tnone: its stimuli have one and the same vector\t-",
        "subj01\t1.000\t40\t0.800\t0.70 to 0.90",
        "subj02\t6\t5\t6\t-\t-",
    ):
        assert row in text, row


def test_an_older_run_is_printed_too(own_published: Published, sdc: Sdc) -> None:
    told = sdc("runs", own_published.run)
    assert told.exit_code == 0
    assert told.stdout.startswith("verdict: 6 concepts, 2 shared by participants")
    assert f"none: {OLDER}" in told.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("77",), "there is no run 77"),
        (("face",), "Invalid value"),
        (("1", "--promote", "1"), "run 1 is named, and --promote too"),
        (("1", "--dataset", "lab-a"), "run 1 is named, and --dataset too"),
    ],
)
def test_what_cannot_be_asked(
    published: Published, sdc: Sdc, words: tuple[Any, ...], message: str
) -> None:
    result = sdc("runs", *words)
    assert result.exit_code == 2
    assert message in result.stderr
