"""Tests of concepts over HTTP."""

import gzip
import json
from io import BytesIO

import numpy as np
import polars
import pytest
from fastapi.testclient import TestClient
from nibabel.cifti2 import Cifti2Image
from nibabel.nifti1 import Nifti1Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.api import make_api
from app.concepts.service import concept_terms, show_concept, similar_concepts
from tests.app.published import (
    CONCEPTS,
    NEEDED,
    SHARED,
    UNLOCATED,
    UNMEASURED,
    UNSHARED,
    VOXELS_A_REGION,
    Published,
    bring_to_a_surface,
)


def all_pages(client: TestClient, limit: int, **filters: object) -> tuple[list[int], set[int]]:
    """Ids over all pages, and the totals that pages told."""
    ids, totals, cursor = [], set(), None
    while True:
        asked = filters | {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/components", params=asked).json()
        assert len(page["items"]) <= limit
        ids += [each["id"] for each in page["items"]]
        totals.add(page["total"])
        cursor = page["next"]
        if cursor is None:
            return ids, totals


@pytest.mark.parametrize("limit", [1, 2, 4, 6, 50])
def test_pages_hold_every_concept_once(
    client: TestClient, published: Published, limit: int
) -> None:
    assert all_pages(client, limit) == (sorted(published.components.values()), {len(CONCEPTS)})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"shared": True}, set(SHARED)),
        ({"shared": False}, set(CONCEPTS) - {*SHARED, UNMEASURED}),
        ({"decodable": False}, {UNSHARED}),
        ({"specific": False}, {"house"}),
        ({"agreeing": False}, {"food"}),
        ({"stable": False}, {"house"}),
        ({"stable": True, "agreeing": True}, {"face", "body"}),
        ({"subject": "subj02"}, set(CONCEPTS) - {UNSHARED}),
        ({"subject": "nobody"}, set()),
        ({"text": "ANIM"}, {UNSHARED}),
        ({"text": "%"}, set()),
        ({"dataset": "lab-a"}, set(CONCEPTS)),
    ],
)
def test_filters(
    client: TestClient, published: Published, filters: dict[str, object], expected: set[str]
) -> None:
    ids, totals = all_pages(client, 2, **filters)
    assert set(ids) == {published.components[name] for name in expected}
    assert totals == {len(expected)}


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({"dataset": "lab-x"}, 404, "no dataset 'lab-x' is in the catalog"),
        ({"run": 10**9}, 404, "there is no run 1000000000"),
        ({"cursor": "abc"}, 404, "the cursor is none of this catalog's"),
        ({"limit": 501}, 422, "limit is 501"),
        ({"text": ""}, 422, "query.text: String should match pattern"),
        ({"subject": "\0"}, 422, "query.subject: String should match pattern"),
        ({"stable": "perhaps"}, 422, "query.stable: Input should be a valid boolean"),
    ],
)
def test_bad_lists(client: TestClient, asked: dict[str, object], status: int, detail: str) -> None:
    response = client.get("/v1/components", params=asked)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)


def test_one_concept_and_its_tag(
    client: TestClient, session: Session, published: Published
) -> None:
    path = f"/v1/components/{published.components['face']}"
    response = client.get(path)
    expected = show_concept(session, published.components["face"])
    assert response.json() == expected.model_dump(mode="json")
    for known in (response.headers["etag"], f'"other", W/{response.headers["etag"]}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == response.headers["etag"]
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/v1/components/0").status_code == 404


def test_similar(client: TestClient, session: Session, published: Published) -> None:
    component = published.components["face"]
    answer = client.get(f"/v1/components/{component}/similar", params={"k": 2}).json()
    assert answer == similar_concepts(session, component, k=2).model_dump(mode="json")
    asked = {"dataset": "lab-a", "run": published.run, "subject": "subj02"}
    answer = client.get(f"/v1/components/{component}/similar", params=asked).json()
    expected = similar_concepts(
        session, component, dataset="lab-a", run=published.run, subject="subj02"
    )
    assert answer == expected.model_dump(mode="json")
    assert len(answer["concepts"]) == len(CONCEPTS) - 2
    missing = client.get(f"/v1/components/{component}/similar", params=asked | {"run": 99})
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no run 99")


def test_terms(client: TestClient, session: Session, published: Published) -> None:
    component = published.components["face"]
    answer = client.get(f"/v1/components/{component}/terms", params={"k": 3}).json()
    assert answer == concept_terms(session, component, k=3).model_dump(mode="json")
    assert client.get("/v1/components/0/terms").status_code == 404
    refused = client.get(f"/v1/components/{component}/terms", params={"k": 1001})
    assert (refused.status_code, refused.json()["detail"]) == (422, "k is 1001")


@pytest.mark.parametrize("space", ["native", "MNI"])
def test_mask_as_nifti(client: TestClient, published: Published, space: str) -> None:
    component = published.components["house"]
    response = client.get(
        f"/v1/components/{component}/mask", params={"subject": "subj01", "space": space}
    )
    name = f"lab-a_run-{published.run}_component-{component}_subj01_space-{space}_mask.nii.gz"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    image = Nifti1Image.from_bytes(gzip.decompress(response.content))
    told = json.loads(image.header.extensions[0].get_content())
    assert (told["run"], told["subject"], told["responds"]) == (published.run, "subj01", "more")
    data = image.get_fdata()
    at = CONCEPTS.index("house")
    weights = np.linspace(1, 0.6, VOXELS_A_REGION)
    if space == "native":
        assert data.shape == (len(CONCEPTS), VOXELS_A_REGION, 1)
        np.testing.assert_allclose(data[at, :, 0], weights, atol=1e-6)
        assert (np.delete(data, at, axis=0) == 0).all()
    else:
        # Voxel (i, j, 0) lies at (2 i - 40, 2 j - 40, -40) mm.
        places = np.array([(2 * at - 40, 2 * j - 40, -40) for j in range(VOXELS_A_REGION)])
        cells = np.linalg.inv(image.affine) @ np.c_[places, np.ones(VOXELS_A_REGION)].T
        np.testing.assert_allclose(data[tuple(cells[:3].round().astype(int))], weights, atol=1e-6)
        assert data.shape == (91, 109, 91)
        # No cell of another voxel, and none farther off than a voxel's corner.
        assert set(np.unique(data).round(6)) == {0.0, *weights.round(6)}
        filled = (image.affine @ np.c_[np.argwhere(data), np.ones((data > 0).sum())].T)[:3].T
        distance = np.linalg.norm(filled[:, None] - places, axis=2).min(axis=1)
        assert distance.max() <= 2 * np.sqrt(3) / 2 + 1e-6


def test_mask_of_a_surface(own_session: Session, own_published: Published) -> None:
    vertices = bring_to_a_surface(own_session)
    client = TestClient(make_api())
    component = own_published.components["house"]
    response = client.get(f"/v1/components/{component}/mask", params={"subject": "subj01"})
    name = (
        f"lab-a_run-{own_published.run}_component-{component}_subj01_space-native_mask.dscalar.nii"
    )
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.headers["content-type"] == "application/octet-stream"
    image = Cifti2Image.from_bytes(response.content)
    told = json.loads(image.header.matrix.metadata["Provenance"])
    assert (told["run"], told["component"], told["subject"]) == (
        own_published.run,
        component,
        "subj01",
    )
    models = image.header.get_axis(1)
    assert models.nvertices == dict.fromkeys(
        ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"), vertices
    )
    assert models.vertex.tolist() == [*range(vertices), *range(vertices)]
    # The third region is on the left, after the first one's vertices.
    assert CONCEPTS.index("house") == 2
    expected = np.zeros(2 * vertices)
    expected[VOXELS_A_REGION : 2 * VOXELS_A_REGION] = np.linspace(1, 0.6, VOXELS_A_REGION)
    np.testing.assert_allclose(image.get_fdata(), [expected], atol=1e-6)
    in_mni = client.get(
        f"/v1/components/{component}/mask", params={"subject": "subj01", "space": "MNI"}
    )
    assert Nifti1Image.from_bytes(gzip.decompress(in_mni.content)).shape == (91, 109, 91)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_voxels_as_tables(client: TestClient, published: Published, kind: str) -> None:
    component = published.components["house"]
    response = client.get(
        f"/v1/components/{component}/voxels", params={"subject": "subj01", "format": kind}
    )
    name = f"lab-a_run-{published.run}_component-{component}_subj01_voxels.{kind}"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    content = BytesIO(response.content)
    table = polars.read_csv(content) if kind == "csv" else polars.read_parquet(content)
    assert table["run"].unique().to_list() == [published.run]
    assert table["subject"].unique().to_list() == ["subj01"]
    assert table["i"].to_list() == [CONCEPTS.index("house")] * VOXELS_A_REGION
    np.testing.assert_allclose(table["mni_y"], 2.0 * np.arange(VOXELS_A_REGION) - 40)
    np.testing.assert_allclose(table["weight"], np.linspace(1, 0.6, VOXELS_A_REGION), atol=1e-6)
    assert table["needed"].to_list() == list(NEEDED)
    assert table.columns[-4:] == ["subject", "needed", "pattern", "regions"]
    assert table["pattern"].null_count() == 0
    regions = table["regions"].to_list()
    assert regions == [("floc:PPA" if kind == "csv" else ["floc:PPA"])] * VOXELS_A_REGION
    if kind == "parquet":
        content.seek(0)
        assert polars.read_parquet_metadata(content)["encoder"] == published.encoder


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_voxel_as_a_table(
    client: TestClient, session: Session, published: Published, kind: str
) -> None:
    component = published.components["house"]
    asked = {"subject": "subj01", "format": kind, "every": "true"}
    content = BytesIO(client.get(f"/v1/components/{component}/voxels", params=asked).content)
    table = polars.read_csv(content) if kind == "csv" else polars.read_parquet(content)
    query = text(
        "SELECT voxel_id, weight, needed, pattern FROM catalog.concept_maps"
        " WHERE component_id = :component AND subject = 'subj01'"
    )
    stored = session.execute(query, {"component": component}).one()
    assert table["voxel_id"].to_list() == stored.voxel_id
    for name in ("weight", "needed", "pattern"):
        values = np.float32(getattr(stored, name))
        np.testing.assert_array_equal(table[name].cast(polars.Float32), values)
    at = CONCEPTS.index("house")
    assert (table["weight"] >= 0.5).to_list() == (table["i"] == at).to_list()
    assert len(table) == len(CONCEPTS) * VOXELS_A_REGION


@pytest.mark.parametrize("space", ["native", "MNI"])
@pytest.mark.parametrize("name", ["weight", "needed", "pattern"])
def test_maps_as_nifti(client: TestClient, published: Published, space: str, name: str) -> None:
    path = f"/v1/components/{published.components['house']}"
    asked = {"subject": "subj01", "space": space, "map": name}
    response = client.get(f"{path}/mask", params=asked)
    assert response.headers["content-disposition"].endswith(f'_subj01_space-{space}_{name}.nii.gz"')
    volume = Nifti1Image.from_bytes(gzip.decompress(response.content)).get_fdata()
    every = {"subject": "subj01", "format": "parquet", "every": "true"}
    table = polars.read_parquet(BytesIO(client.get(f"{path}/voxels", params=every).content))
    if space == "native":
        i, j, k = table.select("i", "j", "k").to_numpy().T
        np.testing.assert_array_equal(volume[i, j, k], table[name].to_numpy())
        assert np.isfinite(volume).all()
    else:
        inside = volume[np.isfinite(volume)]
        assert set(inside.tolist()) == set(table[name].to_list())
        assert len(inside) < volume.size


def test_maps_that_there_are_not(own_session: Session, own_published: Published) -> None:
    client = TestClient(make_api())
    path = f"/v1/components/{own_published.components[UNLOCATED]}"
    asked = {"subject": "subj01", "map": "needed"}
    refused = client.get(f"{path}/mask", params=asked)
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("there is no map needed of component ")
    assert client.get(f"{path}/mask", params=asked | {"map": "soft"}).status_code == 422
    assert client.get(f"{path}/mask", params=asked | {"subject": "x"}).status_code == 404
    own_session.execute(text("DELETE FROM catalog.component_map"))
    own_session.commit()
    told = f"run {own_published.run} was published before maps of all voxels were stored"
    for part, more in (("mask", {"map": "weight"}), ("voxels", {"every": "true"})):
        refused = client.get(f"{path}/{part}", params={"subject": "subj01"} | more)
        assert (refused.status_code, refused.json()["detail"]) == (409, told)
    # Members are told as before.
    rows = client.get(f"{path}/voxels", params={"subject": "subj01"}).text.splitlines()
    assert len(rows) == 1 + VOXELS_A_REGION


@pytest.mark.parametrize("part", ["mask", "voxels"])
def test_files_that_cannot_be_had(client: TestClient, published: Published, part: str) -> None:
    path = f"/v1/components/{published.components['face']}/{part}"
    response = client.get(path, params={"subject": "nobody"})
    assert response.status_code == 404
    assert response.json()["hint"] == "known: subj01, subj02"
    assert client.get(path).status_code == 422
    assert client.get(f"/v1/components/0/{part}", params={"subject": "subj01"}).status_code == 404
