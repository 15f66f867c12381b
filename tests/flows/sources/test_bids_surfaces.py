"""BIDS derivatives of betas on surfaces in the real layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import Cifti2Image, ParcelsAxis, ScalarAxis
from nibabel.gifti import GiftiImage
from nilearn.datasets import load_fsaverage

from flows.sources import check_source, open_source
from flows.sources.base import Source, Surface
from tests.flows.sources.bids_tree import SHOWN, SPACE, beta_file, write_json
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import replace
from tests.flows.sources.nsd_tree import write_image
from tests.flows.sources.surface_tree import (
    CORTEX,
    PLACES,
    SIDES,
    VOXELS,
    Betas,
    N,
    brain_models,
    cifti_file,
    gifti_file,
    label_file,
    save,
    template_file,
    write_cifti,
    write_cifti_tree,
    write_gifti,
    write_gifti_tree,
    write_labels,
    write_surface,
)

SESSION = [*SHOWN[1], *SHOWN[2]]
Alter = Callable[[Path], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Betas]:
    folder = tmp_path_factory.mktemp("surfaces")
    (folder / "gifti").mkdir()
    (folder / "cifti").mkdir()
    stored = write_gifti_tree(folder / "gifti")
    for key, values in write_cifti_tree(folder / "cifti").items():
        np.testing.assert_array_equal(values, stored[key])
    return folder, stored


@pytest.fixture
def stored(written: tuple[Path, Betas]) -> Betas:
    return written[1]


@pytest.fixture
def gifti(written: tuple[Path, Betas], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(written[0] / "gifti", tmp_path / "gifti"))


@pytest.fixture
def cifti(written: tuple[Path, Betas], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written[0] / "cifti", tmp_path / "cifti"))


def literal(values: np.ndarray, cortex: list[list[int]], scale: float = 0.5) -> np.ndarray:
    """Betas vertex by vertex, left first, (trials, vertices)."""
    places = [(side, vertex) for side in (0, 1) for vertex in sorted(cortex[side])]
    return np.array([[trial[place] * scale for place in places] for trial in values])


ALL = [list(range(N))] * 2


@pytest.mark.parametrize(("kind", "cortex"), [("gifti", ALL), ("cifti", list(CORTEX))])
def test_what_is_there(
    kind: str, cortex: list[list[int]], stored: Betas, request: pytest.FixtureRequest
) -> None:
    source = open_source(request.getfixturevalue(kind))
    assert source.participants() == ["sub-01", "sub-02"]
    grid = source.grid("sub-01")
    assert isinstance(grid, Surface)
    assert grid.shape == (2, N, 1)
    assert grid.name == {"gifti": "fsLR_den-32k", "cifti": "fsLR"}[kind]
    assert grid.left_out == {"gifti": 0, "cifti": VOXELS}[kind]
    mask = source.mask("sub-01")
    assert [np.flatnonzero(side).tolist() for side in mask] == [sorted(side) for side in cortex]
    index = np.argwhere(mask)
    np.testing.assert_array_equal(grid.places(index), [PLACES[side, j] for side, j, _ in index])
    mni = source.mni("sub-01")
    assert mni is not None
    np.testing.assert_array_equal(mni[..., 0, :], PLACES)
    trials = source.trials("sub-01")
    assert trials.stimulus.tolist() == [*SESSION, *SESSION]
    betas = source.betas("sub-02", 10)
    assert betas.dtype == np.float32
    runs = [literal(stored["02", "10", run], cortex) for run in (1, 2)]
    np.testing.assert_allclose(betas, np.concatenate(runs), rtol=1e-6)
    found = {(r.atlas, r.name): np.argwhere(r.members)[:, :2] for r in source.regions("sub-01")}
    covers = [set(side) for side in cortex]
    expected = {
        "FFA": [(0, v) for v in range(4) if v in covers[0]] + [(1, 2)],
        "PPA": [(1, v) for v in (4, 5, 10) if v in covers[1]],
    }
    assert {key: sorted(map(tuple, v.tolist())) for key, v in found.items()} == {
        ("floc", name): members for name, members in expected.items()
    }
    assert source.regions("sub-02") == []
    assert source.maps("sub-01") == {}


def test_the_check_tells_of_what_is_not_read(cifti: Path, gifti: Path) -> None:
    report = check_source(open_source(cifti))
    assert report.participants[0].shape == (2, N, 1)
    assert f"sub-01: {VOXELS} places of its CIFTI files" in " ".join(report.warnings)
    assert "CIFTI" not in " ".join(check_source(open_source(gifti)).warnings)


def test_values_are_of_the_vertices_that_a_file_names(tmp_path: Path) -> None:
    """What a vertex holds is its own number, so that no order of reading can pass unseen."""
    root = tmp_path / "numbers"
    root.mkdir()
    betas = write_cifti_tree(root)
    numbers = np.arange(2 * N, dtype=np.float32).reshape(2, N)
    for key, values in betas.items():
        write_cifti(cifti_file(root, *key), np.broadcast_to(numbers, values.shape))
    source = open_source(root)
    index = np.argwhere(source.mask("sub-01"))
    expected = [numbers[side, vertex] * 0.5 for side, vertex, _ in index]
    for row in source.betas("sub-01", 1):
        np.testing.assert_allclose(row, expected)


def test_a_participants_own_surface_tells_native_places(gifti: Path) -> None:
    own = PLACES * 0.9 + 3
    for side, places in zip(SIDES, own, strict=True):
        name = f"sub-01_hemi-{side}_space-fsLR_den-32k_midthickness.surf.gii"
        write_surface(gifti / "sub-01/anat" / name, places)
        # The participant's own mesh has other vertices, and tells nothing.
        write_surface(gifti / f"sub-02/anat/sub-02_hemi-{side}_midthickness.surf.gii", places[:-1])
    source = open_source(gifti)
    index = np.argwhere(source.mask("sub-01"))
    np.testing.assert_allclose(source.grid("sub-01").places(index), own.reshape(-1, 3), rtol=1e-6)
    np.testing.assert_allclose(source.grid("sub-02").places(index), PLACES.reshape(-1, 3))
    for label in source.participants():
        mni = source.mni(label)
        assert mni is not None
        np.testing.assert_array_equal(mni[..., 0, :], PLACES)
    for side in SIDES:
        template_file(gifti, side).unlink()
    source = open_source(gifti)
    assert source.mni("sub-01") is None
    assert source.grid("sub-01").shape == (2, N, 1)
    refused(gifti, lambda: source.grid("sub-02"), "not known where the 12 vertices", "fsLR_den-32k")


def test_fsaverage5_is_known(tmp_path: Path) -> None:
    """Of nilearn's mesh the places are known, and in MNI152 by FreeSurfer's own matrix."""
    meshes = load_fsaverage("fsaverage5")
    root = tmp_path / "fsaverage"
    root.mkdir()
    betas = write_gifti_tree(root)
    for path in [*root.glob("tpl-*"), *root.rglob("*_dseg.*"), *root.rglob("*_statmap.func.gii")]:
        path.unlink()
    rng = np.random.default_rng(1)
    for key, values in betas.items():
        for side in SIDES:
            path = gifti_file(root, *key, side)
            name = path.name.replace("fsLR_den-32k", "fsaverage5")
            write_gifti(path.with_name(name), rng.normal(size=(len(values), 10_242)))
    source = open_source(root)
    grid = source.grid("sub-01")
    assert isinstance(grid, Surface)
    assert (grid.name, grid.shape) == ("fsaverage5", (2, 10_242, 1))
    mni = source.mni("sub-01")
    assert mni is not None
    for side, (name, vertex) in enumerate([("left", 17), ("right", 9_000)]):
        white = meshes["white_matter"].parts[name].coordinates[vertex]
        pial = meshes["pial"].parts[name].coordinates[vertex]
        middle = (white.astype(float) + pial.astype(float)) / 2
        np.testing.assert_allclose(grid.places(np.array([side, vertex, 0])), middle, rtol=1e-5)
        x, y, z = middle
        expected = [
            0.9975 * x - 0.0073 * y + 0.0176 * z - 0.0429,
            0.0146 * x + 1.0009 * y - 0.0024 * z + 1.5496,
            -0.0130 * x - 0.0093 * y + 0.9971 * z + 1.1840,
        ]
        np.testing.assert_allclose(mni[side, vertex, 0], expected, rtol=1e-4)
    assert check_source(source).participants[0].mni == 1.0


def test_the_table_beside_an_atlas_names_its_regions(gifti: Path) -> None:
    (gifti / "atlas-floc_dseg.tsv").write_text("index\tname\n3\tOFA\n5\tRSC\n")
    assert {region.name for region in open_source(gifti).regions("sub-01")} == {"OFA", "RSC"}


def test_one_of_volumes_and_surfaces_is_chosen(gifti: Path, cifti: Path) -> None:
    for path in sorted(cifti.rglob("*.dscalar.nii")):
        shutil.copy(path, gifti / path.relative_to(cifti))
    error = refused(gifti, lambda: open_source(gifti).trials("sub-01"), "betas of the same run")
    assert "entities" in (error.hint or "")
    source = open_source(gifti, entities={"extension": ".dscalar.nii"})
    assert source.mask("sub-01").sum() == sum(map(len, CORTEX))
    # A volume of another space is another choice.
    write_image(beta_file(gifti, "01", "01", 1), np.ones((2, 2, 2, 3), np.float32), np.eye(4))
    refused(gifti, lambda: open_source(gifti).trials("sub-01"), "2 spaces", SPACE, "fsLR")
    chosen = open_source(gifti, space="fsLR", entities={"extension": ".func.gii"})
    assert chosen.trials("sub-01").stimulus.tolist() == [*SESSION, *SESSION]


def test_volumes_and_surfaces_of_one_space_are_not_mixed(gifti: Path) -> None:
    path = beta_file(gifti, "02", "10", 2, "fsLR")
    for side in SIDES:
        gifti_file(gifti, "02", "10", 2, side).unlink()
    write_image(path, np.ones((2, 2, 2, 2), np.float32), np.eye(4))
    refused(gifti, lambda: open_source(gifti).trials("sub-01"), "volumes and surfaces", "fsLR")


def test_fingerprints_follow_what_is_read(gifti: Path, cifti: Path, stored: Betas) -> None:
    other = open_source(gifti).fingerprint("sub-02", 1)
    seen = {open_source(gifti).fingerprint("sub-01", 1)}
    for side in (0, 1):
        write_gifti(gifti_file(gifti, "01", "01", 1, SIDES[side]), stored["01", "01", 1][:, side])
        seen.add(open_source(gifti).fingerprint("sub-01", 1))
    assert len(seen) == 3
    assert open_source(gifti).fingerprint("sub-02", 1) == other
    before = [open_source(cifti).fingerprint("sub-01", session) for session in (1, 2)]
    # The first file tells which vertices all others must have.
    write_cifti(cifti_file(cifti, "01", "01", 1), stored["01", "01", 1])
    after = [open_source(cifti).fingerprint("sub-01", session) for session in (1, 2)]
    assert not set(before) & set(after)


def read_all(root: Path) -> Source:
    source = open_source(root)
    check_source(source)
    source.betas("sub-01", 1)
    return source


def _first(root: Path, side: str = "L") -> Path:
    return gifti_file(root, "01", "01", 1, side)


def _external(root: Path) -> None:
    """Data in a file of its own, as GIFTI allows: here the machine's."""
    replace(_first(root), 'Encoding="GZipBase64Binary"', 'Encoding="ExternalFileBinary"')
    replace(_first(root), 'ExternalFileName=""', 'ExternalFileName="/etc/passwd"')


def _scales(root: Path) -> None:
    path = _first(root, "R")
    write_json(path.with_name(path.name.replace(".func.gii", ".json")), {"Scale": 2})


def _fsnative(root: Path) -> None:
    for path in sorted(root.rglob("*space-fsLR*")):
        path.rename(path.with_name(path.name.replace("space-fsLR", "space-fsnative")))


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda root: _first(root, "R").unlink(), ["hemi-L", "without the other hemisphere"]),
        (
            lambda root: _first(root).rename(
                _first(root).with_name(_first(root).name.replace("hemi-L_", ""))
            ),
            ["without the other hemisphere"],
        ),
        (
            lambda root: write_gifti(_first(root, "R"), np.ones((3, N + 1))),
            ["hemi-R", "3 data arrays of 13 vertices", "has 3 of 12"],
        ),
        (lambda root: write_gifti(_first(root, "R"), np.ones((2, N))), ["2 data arrays", "3 of"]),
        (
            lambda root: [write_gifti(_first(root, s), np.ones((4, N))) for s in SIDES],
            ["hemi-L", "4 betas", "events.tsv has 3 trials of sub-01"],
        ),
        (
            lambda root: [
                write_gifti(gifti_file(root, "01", "02", 2, s), np.ones((2, 10))) for s in SIDES
            ],
            ["ses-02", "run-02", "20 vertices of a mesh of 2 x 10", "have 24 of 2 x 12"],
        ),
        (lambda root: write_surface(_first(root), PLACES[0]), ["shape 12x3, 2x3"]),
        (lambda root: save(GiftiImage(), _first(root)), ["shape (none)"]),
        (lambda root: _first(root).write_bytes(b"<?xml"), ["cannot be read as GIFTI"]),
        (lambda root: _first(root).write_bytes(b""), ["cannot be read as GIFTI"]),
        (lambda root: _first(root).write_bytes(b"\x1f\x8b"), ["cannot be read as GIFTI"]),
        (
            lambda root: _first(root).write_bytes(_first(root).read_bytes()[:900]),
            [str(Path("ses-01")), "cannot be read as GIFTI"],
        ),
        (_external, ["its data lie in another file"]),
        (_scales, ["Scale is 0.5 left and 2 right"]),
        (_fsnative, ["surfaces of the space fsnative", "do not correspond"]),
        (
            lambda root: write_surface(template_file(root, "R"), PLACES[1][:-1]),
            ["11 vertices, tpl-fsLR_den-32k_hemi-L_midthickness.surf.gii has 12"],
        ),
        (
            lambda root: write_surface(template_file(root, "R"), PLACES[1] * np.nan),
            ["hemi-R", "not finite"],
        ),
        (lambda root: write_gifti(template_file(root, "L"), np.ones((1, N))), ["no surface"]),
        (lambda root: template_file(root, "L").unlink(), ["without the other hemisphere"]),
        (
            lambda root: write_labels(label_file(root, "R"), np.full(N, 3), {3: "OPA"}),
            ["label 3 is 'OPA', and 'FFA'"],
        ),
        (
            lambda root: write_labels(label_file(root, "R"), np.full(N, 9), {5: "OPA"}),
            ["label 9 is not in", "dseg.label.gii"],
        ),
        (
            lambda root: write_labels(label_file(root, "R"), np.full(N + 1, 3), {3: "FFA"}),
            ["other than one label for each vertex"],
        ),
        (
            lambda root: [
                write_labels(label_file(root, s), np.full(N + 1, 3), {3: "FFA"}) for s in SIDES
            ],
            ["a mesh of 13 vertices, the betas of sub-01 have 12"],
        ),
    ],
)
def test_a_faulty_gifti_derivative(gifti: Path, alter: Alter, words: list[str]) -> None:
    alter(gifti)
    refused(gifti, lambda: read_all(gifti), *words)


def _models(old: str, new: str) -> Alter:
    """Write another name into the header of a CIFTI file, of the same length."""

    def alter(root: Path) -> None:
        path = cifti_file(root, "01", "01", 1)
        content = path.read_bytes()
        assert len(old) == len(new)
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode()))

    return alter


def _parcels(root: Path) -> None:
    parcels = ParcelsAxis.from_brain_models([("all", brain_models())])
    image = Cifti2Image(np.ones((3, 1), np.float32), (ScalarAxis(["a", "b", "c"]), parcels))
    save(image, cifti_file(root, "01", "01", 1))


def _rewritten(cortex: list[list[int]], n: int = N) -> Alter:
    def alter(root: Path) -> None:
        models = brain_models(cortex, n)
        write_cifti(cifti_file(root, "01", "01", 2), np.ones((2, 2, n)), models)

    return alter


def _one_side(root: Path) -> None:
    models = brain_models()[: len(CORTEX[0])]
    for key in [("01", "01", 1), ("01", "01", 2)]:
        write_cifti(cifti_file(root, *key), np.ones((len(SHOWN[key[2]]), 2, N)), models)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (
            _models("CIFTI_STRUCTURE_THALAMUS_LEFT", "CIFTI_STRUCTURE_HOMUNCULUS_IN"),
            ["unknown brain model CIFTI_STRUCTURE_HOMUNCULUS_IN (CIFTI_MODEL_TYPE_VOXELS)"],
        ),
        (
            _models("CIFTI_STRUCTURE_CORTEX_RIGHT", "CIFTI_STRUCTURE_CORTEX_WRONG"),
            ["unknown brain model CIFTI_STRUCTURE_CORTEX_WRONG (CIFTI_MODEL_TYPE_SURFACE)"],
        ),
        (
            _models("CIFTI_MODEL_TYPE_VOXELS", "CIFTI_MODEL_TYPE_TOXINS"),
            ["unknown brain model CIFTI_STRUCTURE_THALAMUS_LEFT (CIFTI_MODEL_TYPE_TOXINS)"],
        ),
        (
            _models('SurfaceNumberOfVertices="12"', 'SurfaceNumberOfVertices="10"'),
            ["brain model CIFTI_STRUCTURE_CORTEX_LEFT does not fit"],
        ),
        (_models("<VertexIndices>11 0", "<VertexIndices>1 90"), ["CORTEX_LEFT does not fit"]),
        (_models("<VertexIndices>11 0", "<VertexIndices>11 1"), ["CORTEX_LEFT does not fit"]),
        (
            _models("CIFTI_INDEX_TYPE_BRAIN_MODELS", "CIFTI_INDEX_TYPE_DRAIN_MODELS"),
            ["cannot be read as CIFTI-2", "BRAIN_MODELS"],
        ),
        (_parcels, ["no brain models along its rows but CIFTI_INDEX_TYPE_PARCELS"]),
        (_rewritten([[0], [1]]), ["2 vertices of a mesh of 2 x 12", "have 13 of 2 x 12"]),
        (_rewritten([[11, 0, 1, 2, 5, 6, 7, 8], CORTEX[1]]), ["have 13 of 2 x 12, or others"]),
        (_rewritten(list(CORTEX), N + 3), ["13 vertices of a mesh of 2 x 15"]),
        (_one_side, ["no cortex of both hemispheres", "CORTEX_LEFT (12)"]),
        (
            lambda root: cifti_file(root, "01", "01", 1).write_bytes(b"\0" * 900),
            ["cannot be read as CIFTI-2"],
        ),
        (
            lambda root: write_image(
                cifti_file(root, "01", "01", 1), np.ones((2, 2, 2, 3), np.float32), np.eye(4)
            ),
            ["cannot be read as CIFTI-2: it is another image"],
        ),
        (
            lambda root: cifti_file(root, "01", "01", 1).write_bytes(
                cifti_file(root, "01", "01", 1).read_bytes()[:-40]
            ),
            ["cannot be read as CIFTI-2"],
        ),
    ],
)
def test_a_faulty_cifti_derivative(cifti: Path, alter: Alter, words: list[str]) -> None:
    alter(cifti)
    refused(cifti, lambda: read_all(cifti), "sub-01_ses-01", *words)


def test_labels_of_several_maps_are_no_atlas(cifti: Path) -> None:
    (path,) = cifti.rglob("*.dlabel.nii")
    image = nibabel.load(path)
    assert isinstance(image, Cifti2Image)
    axis = image.header.get_axis(0)
    doubled = Cifti2Image(
        np.repeat(image.get_fdata(), 2, axis=0), (axis + axis, image.header.get_axis(1))
    )
    save(doubled, path)
    refused(cifti, lambda: read_all(cifti), path.name, "shape 2x17, expected one map of labels")
