"""Which events are trials."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.bids_events import read_events
from tests.flows.sources.faults import refused

ONSET = st.one_of(
    st.integers(-3, 30).map(str),
    st.floats(0, 30).map(lambda seconds: f"{seconds:.2f}"),
    st.sampled_from(["n/a", "", "nan", "inf", "soon"]),
)
EVENT = st.tuples(ONSET, st.sampled_from(["cat", "dog", "rest", "n/a", ""]))


@given(st.lists(EVENT, max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_trials_are_the_literal_ones_or_the_table_is_refused(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str]], sort: bool
) -> None:
    if sort:
        events = sorted(event for event in events if _seconds(event[0]) is not None)
        events.sort(key=lambda event: _seconds(event[0]) or 0)
    path = tmp_path_factory.mktemp("events") / "events.tsv"
    lines = [f"{onset}\t1\t{stimulus}" for onset, stimulus in events]
    path.write_text("\n".join(["onset\tduration\tstim_file", *lines]) + "\n")
    shown = [event for event in events if event[1] not in ("rest", "n/a", "")]
    onsets = [_seconds(onset) for onset, _ in shown]
    known = [onset for onset in onsets if onset is not None]
    if len(known) == len(onsets) and known == sorted(known):
        read = read_events(path, column="stim_file", ignore=["rest"])
        assert read == [stimulus for _, stimulus in shown]
    else:
        refused(
            path.parent,
            lambda: read_events(path, column="stim_file", ignore=["rest"]),
            f"{path}, line ",
            "onset",
        )


def _seconds(onset: str) -> float | None:
    try:
        return float(onset) if math.isfinite(float(onset)) else None
    except ValueError:
        return None
