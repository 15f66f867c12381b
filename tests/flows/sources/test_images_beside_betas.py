"""Images that are stored otherwise than the betas beside them, in every layout.

Each tree is read twice: as its writer leaves it, and with some images stored from right to left.
What lies at a place has to be the same both times.
"""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flows.sources import Source, check_source, open_source
from flows.sources.volumes import read_volume
from tests.flows.sources import bids_tree, manifest_tree, nilearn_tree
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import replace
from tests.flows.sources.nsd_tree import AFFINE, GRIDS, TRIALS_PER_SESSION, NsdTree, write_image


def mirror(path: Path) -> None:
    """Store an image the other way round along x: the same values at the same millimetres."""
    image = nibabel.load(path)
    values = np.asanyarray(image.dataobj)[::-1].copy()
    back = np.diag([-1.0, 1, 1, 1])
    back[0, 3] = len(values) - 1
    write_image(path, values, image.affine @ back)


def shift(path: Path) -> None:
    """Say that an image lies 20 mm further to the right."""
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 20
    write_image(path, np.asanyarray(image.dataobj), affine)


def forget_place(path: Path) -> None:
    """Set an image's sform and qform codes to 0."""
    image = nibabel.load(path)
    silent = nibabel.Nifti1Image(
        np.asanyarray(image.dataobj), image.affine, dtype=image.get_data_dtype()
    )
    silent.set_sform(None, 0)
    silent.set_qform(None, 0)
    nibabel.save(silent, path)


def read(source: Source, label: str) -> dict[tuple[object, ...], object]:
    """All that is known at each place of a participant, by its millimetres."""
    grid, mask = source.grid(label), source.mask(label)
    places = [tuple(np.round(grid.places(index), 3).tolist()) for index in np.argwhere(mask)]
    told: dict[tuple[object, ...], object] = {}
    mni = source.mni(label)
    for region in source.regions(label):
        inside = region.members[mask]
        told["region", region.atlas, region.name] = {
            place for place, member in zip(places, inside, strict=True) if member
        }
    for name, values in source.maps(label).items():
        told["map", name] = dict(zip(places, values[mask].tolist(), strict=True))
    if mni is not None:
        told["mni",] = dict(zip(places, map(repr, mni[mask].tolist()), strict=True))
    for session in np.unique(source.trials(label).session).tolist():
        betas = source.betas(label, session)
        told["betas", session] = dict(zip(places, betas.T.tolist(), strict=True))
    return told


def manifest(tmp_path: Path) -> tuple[Path, list[str]]:
    folder = manifest_tree.write_manifest_tree(tmp_path / "data")
    rng = np.random.default_rng(2)
    affine, grid = manifest_tree.AFFINE, manifest_tree.GRID
    write_image(folder / "atlas.nii", rng.integers(0, 3, grid, dtype=np.int16), affine)
    write_image(folder / "t.nii", rng.normal(size=grid), affine)
    write_image(folder / "mni.nii", rng.uniform(1, 90, (*grid, 3)).astype(np.float32), affine)
    with (folder / "dataset.toml").open("a") as file:
        file.write(
            'regions = [{ atlas = "x", file = "atlas.nii", labels = { one = 1, two = 2 } }]\n'
            'maps = { faces = "t.nii" }\nmni = "mni.nii"\n'
        )
    # The keys stand in the table of the participant whose betas are NIfTI.
    text = (folder / "dataset.toml").read_text()
    head, b, a = text.split("[[participants]]")
    extra = a[a.index("regions") :]
    a = a[: a.index("regions")]
    (folder / "dataset.toml").write_text("[[participants]]".join([head, a, b + extra]))
    return folder, [
        "betas_01.nii.gz",
        "betas_02.nii.gz",
        "mask.nii.gz",
        "atlas.nii",
        "t.nii",
        "mni.nii",
    ]


@pytest.mark.parametrize(
    "name", ["betas_01.nii.gz", "mask.nii.gz", "atlas.nii", "t.nii", "mni.nii"]
)
def test_a_manifests_images_from_right_to_left(tmp_path: Path, name: str) -> None:
    folder, _ = manifest(tmp_path)
    if name == "mask.nii.gz":
        # HDF5 and npy, which tell no place, are stored as the mask is.
        replace(
            folder / "dataset.toml",
            'betas = ["one.h5", "two.npy"]\naxes = "TZYX"\n',
            'betas = "betas_*.nii.gz"\n',
        )
    expected = read(open_source(folder), "b")
    mirror(folder / name)
    assert check_source(open_source(folder))
    assert read(open_source(folder), "b") == expected
    assert len(expected["region", "x", "one"]) > 1


@pytest.mark.parametrize("name", ["betas_02.nii.gz", "atlas.nii", "t.nii"])
def test_a_manifests_images_elsewhere(tmp_path: Path, name: str) -> None:
    folder, _ = manifest(tmp_path)
    shift(folder / name)
    source = open_source(folder)
    refused(folder, lambda: check_source(source), name, "20.0 mm", "mask.nii.gz of b")
    if name == "atlas.nii":
        replace(folder / "dataset.toml", 'label = "b"', 'label = "b"\nresample = true')
        # 20 mm are ten voxels of three: nothing of the atlas is left.
        assert open_source(folder).regions("b") == []


@pytest.mark.parametrize("names", [["atlas.nii"], ["betas_01.nii.gz", "betas_02.nii.gz"]])
def test_a_manifests_images_without_a_place(tmp_path: Path, names: list[str]) -> None:
    folder, _ = manifest(tmp_path)
    for name in names:
        forget_place(folder / name)
    source = open_source(folder)
    refused(
        folder, lambda: check_source(source), names[0], "does not tell where", "mask.nii.gz of b"
    )


def store_code(path: Path, form: str, code: int) -> None:
    """Write a code into a header as no program does; nibabel would set it to 0."""
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    struct.pack_into("<h", content, {"qform": 252, "sform": 254}[form], code)
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize(("form", "code"), [("sform", 16), ("qform", -1)])
@pytest.mark.parametrize(
    "name", ["mask.nii.gz", "atlas.nii", "t.nii", "betas_01.nii.gz", "mni.nii"]
)
def test_a_manifests_images_of_unknown_codes(
    tmp_path: Path, name: str, form: str, code: int
) -> None:
    folder, _ = manifest(tmp_path)
    store_code(folder / name, form, code)
    source = open_source(folder)
    refused(folder, lambda: check_source(source), name, f"its {form} code is {code}, which NIfTI")


def test_unknown_codes_of_a_pair_and_of_bids(tmp_path: Path) -> None:
    values = np.ones((3, 4, 5), np.int16)
    nibabel.save(nibabel.Nifti1Pair(values, manifest_tree.AFFINE), tmp_path / "m.img")
    store_code(tmp_path / "m.hdr", "sform", 6)
    refused(tmp_path, lambda: read_volume(tmp_path / "m.img"), "m.img", "sform code is 6")
    bids_tree.write_bids_tree(tmp_path / "bids")
    mask = bids_tree.mask_file(tmp_path / "bids", "01")
    store_code(mask, "qform", 6)
    source = open_source(tmp_path / "bids")
    refused(tmp_path, lambda: check_source(source), mask.name, "qform code is 6")


def test_a_manifest_without_any_place(tmp_path: Path) -> None:
    folder, images = manifest(tmp_path)
    expected = open_source(folder).betas("b", 1)
    for name in images:
        forget_place(folder / name)
    source = open_source(folder)
    told = [text for text in check_source(source).warnings if "left and right" in text]
    assert [text.split(":")[0] for text in told] == ["a", "b"]
    assert "mask.nii.gz does not tell where it lies" in told[1]
    np.testing.assert_array_equal(source.betas("b", 1), expected)
    replace(folder / "dataset.toml", 'mni = "mni.nii"', 'space = "MNI"')
    source = open_source(folder)
    refused(folder, lambda: check_source(source), "mask.nii.gz", "b is said to be in MNI")


@pytest.mark.parametrize("space", ["MNI152NLin2009cAsym", "MNI305", "MNIInfant", "lab"])
def test_a_manifests_spaces(tmp_path: Path, space: str) -> None:
    folder, _ = manifest(tmp_path)
    replace(folder / "dataset.toml", 'mni = "mni.nii"', f'space = "{space}"')
    if space == "lab":
        refused(folder, lambda: open_source(folder), "'lab'", "MNI305")
        return
    source = open_source(folder)
    mm = source.mni("b")
    own = source.grid("b").places(np.array([1, 2, 1]))
    if space == "MNIInfant":
        assert mm is None
        told = "b: its space MNIInfant is not MNI152, nor is there a matrix to it"
        assert any(text.startswith(told) for text in check_source(source).warnings)
    else:
        assert mm is not None
        assert (np.linalg.norm(mm[1, 2, 1] - own) < 1e-4) == (space != "MNI305")
        assert np.linalg.norm(mm[1, 2, 1] - own) < 3


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    bids_tree.write_bids_tree(tmp_path / "bids")
    return tmp_path / "bids"


def bids_images(root: Path) -> dict[str, Path]:
    return {
        "betas": bids_tree.beta_file(root, "01", "02", 1),
        "mask": bids_tree.mask_file(root, "01"),
        "atlas": bids_tree.atlas_file(root),
    }


@pytest.mark.parametrize("name", ["betas", "mask", "atlas"])
def test_images_of_bids_from_right_to_left(bids: Path, name: str) -> None:
    expected = read(open_source(bids), "sub-01")
    mirror(bids_images(bids)[name])
    assert check_source(open_source(bids))
    assert read(open_source(bids), "sub-01") == expected
    assert len(expected["region", "floc", "FFA"]) == 4


def test_images_of_bids_elsewhere(bids: Path) -> None:
    shift(bids_images(bids)["atlas"])
    refused(
        bids, lambda: open_source(bids).regions("sub-01"), "dseg.nii.gz", "desc-brain_mask.nii.gz"
    )
    assert open_source(bids, resample=True).regions("sub-01") == []


def test_an_mni_space_of_bids_without_a_place(bids: Path) -> None:
    for path in bids.rglob("sub-01*.nii.gz"):
        forget_place(path)
    source = open_source(bids)
    refused(bids, lambda: check_source(source), "desc-brain_mask.nii.gz does not tell", "sub-01")
    # In the participant's own space that is told, and no more.
    for path in sorted(bids.rglob(f"*space-{bids_tree.SPACE}*")):
        path.rename(path.with_name(path.name.replace(bids_tree.SPACE, "T1w")))
    (told,) = [text for text in check_source(open_source(bids)).warnings if "left and" in text]
    assert told.startswith("sub-01: ")


def nsd_images(tree: NsdTree) -> dict[str, Path]:
    return {
        "betas": tree.session("subj02", 2, "nii.gz"),
        "ncsnr": tree.prepared("subj02") / "ncsnr.nii.gz",
        "atlas": tree.functional("subj02") / "roi/rh.prf-visualrois.nii.gz",
        "map": tree.functional("subj02") / "floc_facestval.nii.gz",
        "transform": tree.transforms("subj02") / "func1pt8-to-MNI.nii.gz",
    }


@pytest.mark.parametrize("name", ["betas", "ncsnr", "atlas", "map", "transform"])
def test_images_of_nsd_from_right_to_left(tree: NsdTree, name: str) -> None:
    def opened() -> Source:
        return open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)

    expected = read(opened(), "subj02")
    mirror(nsd_images(tree)[name])
    assert check_source(opened())
    assert read(opened(), "subj02") == expected
    assert expected["region", "prf-visualrois", "V1v"]


@pytest.mark.parametrize("name", ["betas", "atlas", "map"])
def test_images_of_nsd_elsewhere(tree: NsdTree, name: str) -> None:
    path = nsd_images(tree)[name]
    shift(path)
    source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)
    refused(tree.root, lambda: check_source(source), str(path), "ncsnr.nii.gz of subj02")
    if name == "atlas":
        source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION, resample=True)
        assert check_source(source)


@pytest.mark.parametrize("name", ["mask.nii.gz", "subj1/mask4_vt.nii.gz", "subj1/bold.nii.gz"])
def test_images_of_haxby(tmp_path: Path, name: str) -> None:
    root = tmp_path / "haxby2001"
    root.mkdir()
    nilearn_tree.write_haxby_tree(root)
    expected = read(open_source(root, **nilearn_tree.FOLDS), "subj1")
    mirror(root / name)
    assert read(open_source(root, **nilearn_tree.FOLDS), "subj1") == expected
    mirror(root / name)
    shift(root / name)
    source = open_source(root, **nilearn_tree.FOLDS)
    refused(root, lambda: check_source(source), "20.0 mm", "subj1/bold.nii.gz of subj1")


def test_nsds_whole_numbers_under_glmsingles_name(bids: Path, tmp_path: Path) -> None:
    """`betas_sessionNN.nii.gz` of NSD, percent x 300 as int16, where GLMsingle writes percent."""
    root = tmp_path / "single"
    bids_tree.write_glmsingle_tree(root)
    folder = bids_tree.func(root, "02", "01")
    stored = np.random.default_rng(0).normal(0, 600, (*bids_tree.GRID, 5)).astype(np.int16)
    for path in folder.glob("glmsingle/*"):
        path.unlink()
    path = folder / "betas_session01.nii.gz"
    write_image(path, stored, bids_tree.AFFINE)
    source = open_source(root)
    error = refused(
        root, lambda: check_source(source), str(path), "sub-02", "% signal change", "unit"
    )
    assert "1/300" in error.hint
    refused(root, lambda: source.betas("sub-02", 1), str(path), "another unit")
    (folder / "betas_session01.json").write_text('{"Scale": 0.0033333333}')
    betas = open_source(root).betas("sub-02", 1)
    np.testing.assert_allclose(betas, stored[bids_tree.brain()].T / 300, rtol=1e-6)


def test_a_manifests_betas_in_another_unit(tmp_path: Path) -> None:
    folder, _ = manifest(tmp_path)
    stored = (600 * manifest_tree.BETAS[1]).astype(np.int16)
    write_image(folder / "betas_01.nii.gz", stored, manifest_tree.AFFINE)
    source = open_source(folder)
    error = refused(folder, lambda: check_source(source), "betas_01.nii.gz", "another unit")
    assert "scale" in error.hint


def test_nsds_floating_betas_that_are_no_percent(tree: NsdTree) -> None:
    path = tree.session("subj02", 1, "nii.gz")
    write_image(path, tree.betas["subj02", 1].astype(np.float32))
    source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)
    refused(tree.root, lambda: check_source(source), str(path), "another unit")


def _colours(path: Path, shape: tuple[int, ...]) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    image = nibabel.Nifti1Image(np.zeros(shape, kind), manifest_tree.AFFINE)
    nibabel.save(image, path)


def _complex(path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.complex64), manifest_tree.AFFINE), path)


@pytest.mark.parametrize(("write", "what"), [(_colours, "colours"), (_complex, "complex numbers")])
@pytest.mark.parametrize(
    "name", ["mask.nii.gz", "atlas.nii", "t.nii", "betas_01.nii.gz", "mni.nii"]
)
def test_images_that_hold_no_numbers(
    tmp_path: Path, write: Callable[[Path, tuple[int, ...]], None], what: str, name: str
) -> None:
    folder, _ = manifest(tmp_path)
    more = {"betas_01.nii.gz": (4,), "mni.nii": (3,)}.get(name, ())
    write(folder / name, (*manifest_tree.GRID, *more))
    source = open_source(folder)
    refused(folder, lambda: check_source(source), name, f"holds {what}, no real numbers")


def test_an_npy_file_that_holds_no_numbers(tmp_path: Path) -> None:
    folder, _ = manifest(tmp_path)
    np.save(folder / "two.npy", np.full((4, *manifest_tree.GRID[::-1]), 1j))
    source = open_source(folder)
    refused(folder, lambda: check_source(source), "two.npy", "complex numbers")


def test_pairs_of_files(tmp_path: Path) -> None:
    """Every image of a manifest as NIfTI-1 in two files, by the name of either."""
    folder, images = manifest(tmp_path)
    expected = read(open_source(folder), "b")
    text = (folder / "dataset.toml").read_text().replace("betas_*.nii.gz", "betas_*.img")
    for name in images:
        image = nibabel.load(folder / name)
        stem = name.removesuffix(".gz").removesuffix(".nii")
        values = np.asanyarray(image.dataobj)
        nibabel.save(
            nibabel.Nifti1Pair(values, image.affine, dtype=values.dtype), folder / f"{stem}.img"
        )
        (folder / name).unlink()
        text = text.replace(f'"{name}"', f'"{stem}.{"hdr" if stem == "atlas" else "img"}"')
    (folder / "dataset.toml").write_text(text)
    source = open_source(folder)
    assert check_source(source)
    assert read(source, "b") == expected
    (folder / "betas_02.hdr").unlink()
    refused(folder, lambda: open_source(folder).trials("b"), "betas_02")


@pytest.mark.parametrize("name", ["betas_02.nii.gz", "one.h5", "two.npy"])
def test_betas_that_are_cut_off_show_at_once(tmp_path: Path, name: str) -> None:
    folder, _ = manifest(tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes()[:-150])
    source = open_source(folder)
    refused(folder, lambda: check_source(source), name, "cannot be read as")


def test_grids_of_nsd_are_told_apart(tree: NsdTree) -> None:
    """One shape is no other's: the grid's own affine is the one of its images."""
    grid = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION).grid("subj02")
    assert grid.shape == GRIDS["subj02"]
    assert grid.path == tree.prepared("subj02") / "ncsnr.nii.gz"
    np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-6)
