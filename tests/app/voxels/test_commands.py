"""Tests of the search among voxels on the command line."""

import json

import pytest
from sqlalchemy.orm import Session

from app.voxels.service import search_voxels
from tests.app.conftest import Sdc
from tests.app.published import ATLAS, Published


def test_json_is_the_services_answer(sdc: Sdc, session: Session, published: Published) -> None:
    words = ("voxels", "face", "--subject", "subj01", "--minus", "body", "--negate", "-k", "3")
    answered = sdc(*words, "--region", f"{ATLAS}:FFA", "--dataset", published.dataset, "--json")
    expected = search_voxels(
        session,
        "face",
        subject="subj01",
        minus=["body"],
        negate=True,
        k=3,
        atlas=ATLAS,
        region="FFA",
        dataset=published.dataset,
    )
    assert json.loads(answered.stdout) == expected.model_dump(mode="json")


def test_a_person_is_told_where_they_lie(sdc: Sdc, published: Published) -> None:
    lines = sdc("voxels", "house", "-k", "2").stdout.splitlines()
    assert lines[0] == f'"house" in {published.dataset}, {published.encoder}'
    assert lines[1].startswith("whether a concept is near to it was not measured: the encoder")
    assert lines[3].split()[:5] == ["voxel", "dataset", "run", "subject", "similarity"]
    assert len(lines) == 6
    for line in lines[4:]:
        assert "-36" in line
        assert line.endswith(f"MNI\t{ATLAS}:PPA")


@pytest.mark.parametrize("region", ["FFA", f"{ATLAS}:", ":FFA"])
def test_a_region_of_half_a_name_is_refused(sdc: Sdc, published: Published, region: str) -> None:
    answered = sdc("voxels", "face", "--region", region)
    assert answered.exit_code == 2
    assert answered.stderr.count("\n") == 1
    assert "one of them is missing" in answered.stderr
