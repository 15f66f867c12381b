"""Tests of search by a map over HTTP: whatever is sent is answered, or told what is wrong."""

import gzip
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from nibabel.spatialimages import HeaderDataError
from sqlalchemy.orm import Session

from app.maps.service import search_map
from app.settings import get_settings
from tests.app.maps.volumes import written

NATIVE = np.diag([2.0, 2.0, 2.0, 1.0])
VALUES = np.random.default_rng(0).normal(size=(6, 5, 1))
ASKED = {"space": "native", "subject": "subj01", "permutations": 99}


@pytest.fixture
def small() -> Iterator[None]:
    """Maps of a thousandth of a million voxels at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDC_MAP_MVOXELS", "0.001")
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


def post(client: TestClient, content: bytes, **asked: Any) -> Any:
    return client.post("/v1/search/map", params=ASKED | asked, files={"map": ("m.nii", content)})


def test_the_answer_is_the_service_s(client: TestClient, session: Session) -> None:
    content = written(VALUES, NATIVE, packed=True)
    response = post(client, content, k=3, seed=2)
    assert response.status_code == 200
    expected = search_map(session, BytesIO(content), "m.nii", **ASKED, k=3, seed=2)
    assert response.json() == expected.model_dump(mode="json")


def test_a_pair_of_files_is_one_map(client: TestClient) -> None:
    whole = written(VALUES, NATIVE)
    header = bytearray(whole[:348])
    header[108:112], header[344:348] = bytes(4), b"ni1\0"
    files = {"map": ("m.nii", bytes(header)), "image": ("m.img", whole[352:])}
    response = client.post("/v1/search/map", params=ASKED, files=files)
    assert response.status_code == 200
    assert response.json() == post(client, whole).json()
    refused = post(client, bytes(header))
    assert refused.status_code == 422
    assert ".hdr with its .img" in refused.text


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({"space": "talairach"}, 422, "query.space: Input should be 'MNI' or 'native'"),
        ({"permutations": 98}, 422, "query.permutations: Input should be greater than"),
        ({"permutations": 5000}, 422, "query.permutations: Input should be less than"),
        ({"seed": 2**31}, 422, "query.seed: Input should be less than"),
        ({"k": 0}, 422, "query.k: Input should be greater than"),
        ({"subject": "nobody"}, 404, "the dataset lab-a has no subject 'nobody'"),
        ({"space": "MNI"}, 422, "m.nii covers 0 voxels of a participant (MNI)"),
    ],
)
def test_bad_questions(
    client: TestClient, asked: dict[str, object], status: int, detail: str
) -> None:
    response = post(client, written(VALUES, NATIVE), **asked)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("fields", [{"sform_code": 16}, {"qform_code": 16}, {"qform_code": -1}])
def test_codes_that_nifti_does_not_define(
    client: TestClient, version: int, fields: dict[str, int]
) -> None:
    response = post(client, written(VALUES, NATIVE, version=version, **fields))
    ((field, code),) = fields.items()
    assert response.status_code == 422
    assert response.json()["detail"] == (
        f"m.nii: its {field.removesuffix('_code')} code is {code}, which NIfTI does not define"
    )
    assert "4 (MNI152)" in response.json()["hint"]


def test_without_a_map(client: TestClient) -> None:
    response = client.post("/v1/search/map")
    assert (response.status_code, response.json()["detail"]) == (422, "body.map: Field required")


def test_too_large_a_map(client: TestClient, small: None) -> None:
    response = post(client, written(np.zeros((11, 11, 11)), packed=True))
    assert response.status_code == 422
    assert response.json()["detail"] == (
        "m.nii has 11 x 11 x 11 voxels, more than 0.001 million, the setting SDC_MAP_MVOXELS"
    )


FIELDS = st.sampled_from(
    [
        *("datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "sform_code"),
        *("qform_code", "quatern_b", "qoffset_x", "xyzt_units", "intent_code", "slice_code"),
        *("dim", "pixdim", "srow_x", "srow_y", "magic"),
    ]
)
WHOLE = st.sampled_from([0, 1, 2, 3, 4, 5, 16, 64, 352, 1280, 32767, -1, -32768])
REAL = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, 352.0])
KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16", ">f4", ">i2"]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Files of any values, types, shapes and affines, some of whose fields are anything."""
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    shape = draw(st.just((6, 5, 1)) | array_shapes(min_dims=1, max_dims=6, min_side=1, max_side=7))
    values = draw(arrays(kind, shape))
    affine = NATIVE.copy()
    affine[:3] += draw(st.just(0.0) | arrays("f8", (3, 4), elements=REAL))
    version = draw(st.sampled_from([1, 2]))
    try:
        content = bytearray(written(values, affine, version=version))
    except (ValueError, HeaderDataError, np.linalg.LinAlgError):
        # What nibabel does not write as it stands.
        content = bytearray(written(values, NATIVE, version=version))
    header = np.frombuffer(content, _header_type(version), 1)
    for name in draw(st.lists(FIELDS, max_size=3)):
        field = header[name]
        if field.dtype.kind in "iu":
            drawn = draw(arrays("i8", field.shape, elements=WHOLE))
            field[...] = drawn.astype(field.dtype)
        elif field.dtype.kind == "f":
            field[...] = draw(arrays("f4", field.shape, elements=REAL))
        else:
            field[...] = draw(st.binary(max_size=4))
    for _ in range(draw(st.integers(0, 2))):
        content[draw(st.integers(0, min(len(content), 560) - 1))] = draw(st.integers(0, 255))
    end = draw(st.just(len(content)) | st.integers(0, len(content)))
    whole = bytes(content[:end])
    return gzip.compress(whole) if draw(st.booleans()) else whole


def _header_type(version: int) -> np.dtype[Any]:
    from nibabel.nifti1 import header_dtype as first
    from nibabel.nifti2 import header_dtype as second

    return first if version == 1 else second


@pytest.mark.filterwarnings("ignore::RuntimeWarning:nibabel", "ignore::RuntimeWarning:numpy")
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=files(), packed=st.booleans())
def test_any_file_is_answered(
    client: TestClient, small: None, content: bytes, packed: bool
) -> None:
    response = post(client, content)
    told = response.json()
    assert response.status_code in {200, 422}, told
    if response.status_code == 422:
        assert told["detail"].startswith(("m.nii ", "m.nii: "))
        assert told["hint"]
        return
    for concept in told["concepts"]:
        assert -1.001 < concept["correlation"] < 1.001
        assert 0.01 <= concept["p_value"] <= concept["q_value"] <= 1


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=700))
def test_any_bytes_are_refused(client: TestClient, content: bytes) -> None:
    assert post(client, content).status_code == 422
