"""Exports: whole folders that other programs read, with the numbers that the catalog has."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import nibabel
import numpy as np
import polars
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.database.engine import get_engine, open_session
from app.exports.bids import bids_name
from app.exports.repository import VIEWS
from app.masks.maps import MAPS
from app.masks.service import map_volume, mask_volume
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Counts, Sdc
from tests.app.published import (
    CONCEPTS,
    LESS,
    N_NEEDED,
    REGIONS,
    RESPONDS,
    SHARED,
    SUBJECTS,
    UNLOCATED,
    UNMEASURED,
    VOXELS_A_REGION,
    Published,
    bring_to_a_surface,
    publish,
)

TOLD = {"dataset": "lab-a", "licence": "CC0", "citation": "Nobody, 2024", "code_version": "0.1.0"}
FORMATS = ("bids", "parquet", "neurovault")


def validate(folder: Path) -> tuple[int, list[dict[str, str]]]:
    """What the official validator says: its exit status, and errors and warnings."""
    done = subprocess.run(
        [Path(sys.executable).parent / "bids-validator-deno", folder, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    issues: list[dict[str, str]] = json.loads(done.stdout)["issues"]["issues"]
    return done.returncode, issues


def test_the_bids_validator_finds_no_error(sdc: Sdc, published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    result = sdc("export", "lab-a", "--to", folder, "--format", "bids")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"wrote {folder}: lab-a, run {published.run}\n"
    status, issues = validate(folder)
    assert [each for each in issues if each["severity"] == "error"] == []
    assert status == 0
    # It sees the masks, and says so when one has no name of BIDS.
    (mask, *_) = folder.rglob("*_mask.nii.gz")
    mask.rename(mask.with_name(mask.name.replace("_task-pictures", "")))
    status, issues = validate(folder)
    assert status != 0
    assert "error" in {each["severity"] for each in issues}


def test_bids_volumes_are_the_catalogs_masks(
    sdc: Sdc, session: Session, published: Published, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert sdc("export", published.run, "--to", folder, "--format", "bids").exit_code == 0
    face = published.components["face"]
    names = sorted(each.name for each in (folder / "sub-subj02" / "func").iterdir())
    # A mask and three maps in two spaces, with a sidecar each; of one concept there are two maps.
    assert len(names) == (len(CONCEPTS) * 4 - 1) * 2 * 2 + len(REGIONS) * 2
    for space, ours in (("space-scanner", "native"), ("space-MNI152NLin6Asym_res-2", "MNI")):
        stem = f"sub-subj02_task-pictures_{space}_desc-concept{face}"
        place = folder / "sub-subj02" / "func"
        wanted = tmp_path / "wanted.nii.gz"
        wanted.write_bytes(mask_volume(session, face, "subj02", ours).content)  # type: ignore[arg-type]
        weights = nibabel.load(place / f"{stem}_stat-weight_statmap.nii.gz")
        mask = nibabel.load(place / f"{stem}_mask.nii.gz")
        soft = weights.get_fdata()
        np.testing.assert_array_equal(
            np.where(soft >= 0.5, soft, 0), nibabel.load(wanted).get_fdata()
        )
        np.testing.assert_array_equal(weights.affine, nibabel.load(wanted).affine)
        assert mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.get_fdata() == 1, soft >= 0.5)
        for name in MAPS:
            wanted.write_bytes(map_volume(session, face, "subj02", name, ours).content)  # type: ignore[arg-type]
            written = nibabel.load(place / f"{stem}_stat-{name}_statmap.nii.gz").get_fdata()
            np.testing.assert_array_equal(written, nibabel.load(wanted).get_fdata())
            np.testing.assert_array_equal(np.isnan(written), np.isnan(soft))
        told = json.loads((place / f"{stem}_mask.json").read_text())
        assert TOLD.items() <= told["Provenance"].items()
        assert (told["Voxels"], told["Provenance"]["run"]) == (VOXELS_A_REGION, published.run)
        assert told["Provenance"]["encoder"] == published.encoder
        assert (told["Shared"], told["Decodes"], told["R"]) == (True, True, 0.4)
        assert told["RInterval95"] == [0.3, 0.5]
        assert (told["Responds"], told["Threshold"]) == ("more", 0.5)
        assert told["VoxelsNeeded"] == N_NEEDED
        label = told["Provenance"]["label"]
        assert told["Description"] == f"The voxels that respond more to the concept {label!r}."
        assert told["Prevalence"] == {"estimate": 0.9, "low": 0.4, "high": 1.0}
        units = json.loads((place / f"{stem}_stat-weight_statmap.json").read_text())["Units"]
        assert units == "arbitrary"
    for concept, words in ((LESS, "respond less"), (UNLOCATED, "belong")):
        stem = f"sub-subj02_task-pictures_space-scanner_desc-concept{published.components[concept]}"
        told = json.loads((place / f"{stem}_stat-weight_statmap.json").read_text())
        assert f"Soft mask: the voxels that {words} to the concept" in told["Description"]
        assert told["Responds"] == RESPONDS[concept]
        assert told["Threshold"] == (None if concept == UNLOCATED else 0.5)
    needed = f"{stem}_stat-needed_statmap.nii.gz"
    assert (needed in names) == (concept != UNLOCATED)
    description = json.loads((folder / "dataset_description.json").read_text())
    assert (description["DatasetType"], description["License"]) == ("derivative", "CC0")
    assert description["HowToAcknowledge"] == "Cite Nobody, 2024"
    assert [line.split("\t")[0] for line in (folder / "participants.tsv").read_text().split()][
        0::2
    ] == ["participant_id", "sub-subj01", "sub-subj02"]


def test_data_in_mni_are_told_to_be(
    sdc: Sdc, own_session: Session, own_published: Published, tmp_path: Path
) -> None:
    """Where a participant's own mm are MNI mm, into a folder in folders that are not there."""
    own_session.execute(
        text(
            "UPDATE catalog.voxel SET mni_x = x, mni_y = y, mni_z = z FROM catalog.subject"
            " WHERE subject.id = subject_id AND label = 'subj01'"
        )
    )
    own_session.commit()
    folder = tmp_path / "out" / "more" / "bids"
    assert sdc("export", own_published.run, "--to", folder, "--format", "bids").exit_code == 0
    face = own_published.components["face"]
    for label, space, code, reference in (
        ("subj01", "MNI152NLin6Asym_res-native", 4, "MNI152NLin6Asym"),
        ("subj02", "scanner", 1, "orig"),
    ):
        stem = f"sub-{label}_task-pictures_space-{space}"
        place = folder / f"sub-{label}" / "func"
        for name in (f"{stem}_desc-concept{face}_mask", f"{stem}_label-EBA_desc-floc_mask"):
            header = nibabel.load(place / f"{name}.nii.gz").header
            assert (int(header["sform_code"]), int(header["qform_code"])) == (code, code)
            assert json.loads((place / f"{name}.json").read_text())["SpatialReference"] == reference
    assert not list((folder / "sub-subj01").rglob("*scanner*"))
    status, issues = validate(folder)
    assert status == 0, issues


def test_bids_regions_are_those_of_the_catalog(
    sdc: Sdc, own_session: Session, own_published: Published, tmp_path: Path
) -> None:
    # Two names that are one where letters and digits alone count.
    own_session.execute(text("UPDATE catalog.region SET name = 'E B A' WHERE name = 'FFA'"))
    own_session.commit()
    folder = tmp_path / "out"
    assert sdc("export", "lab-a", "--to", folder, "--format", "bids").exit_code == 0
    place = folder / "sub-subj01" / "func"
    names = {}
    for file in place.glob("*_label-*_mask.json"):
        told = json.loads(file.read_text())
        assert (told["Atlas"], told["SpatialReference"]) == ("floc", "orig")
        image = nibabel.load(file.with_suffix(".nii.gz"))
        names[told["Region"]] = file.name
        found = np.argwhere(image.get_fdata() == 1).tolist()
        query = text(
            "SELECT i, j, k FROM catalog.voxels WHERE subject = 'subj01'"
            " AND 'floc:' || :name = ANY (regions)"
        )
        rows = own_session.execute(query, {"name": told["Region"]})
        assert found == sorted(list(row) for row in rows)
        (extension,) = image.header.extensions
        provenance = json.loads(extension.get_content())
        assert provenance["region"] == f"floc:{told['Region']}"
        assert "component" not in provenance
    assert len(names) == len(REGIONS)
    assert {names["E B A"], names["EBA"]} == {
        f"sub-subj01_task-pictures_space-scanner_label-EBA{number}_desc-floc_mask.json"
        for number in ("", "2")
    }


def test_a_run_without_maps_exports_the_weights_of_its_members(
    sdc: Sdc, own_session: Session, own_published: Published, tmp_path: Path
) -> None:
    own_session.execute(text("DELETE FROM catalog.component_map"))
    own_session.commit()
    folder = tmp_path / "out"
    assert sdc("export", "lab-a", "--to", folder, "--format", "bids").exit_code == 0
    assert not [*folder.rglob("*stat-needed*"), *folder.rglob("*stat-pattern*")]
    stem = f"sub-subj02_task-pictures_space-scanner_desc-concept{own_published.components['face']}"
    place = folder / "sub-subj02" / "func"
    weights = nibabel.load(place / f"{stem}_stat-weight_statmap.nii.gz").get_fdata()
    mask = nibabel.load(place / f"{stem}_mask.nii.gz").get_fdata()
    np.testing.assert_array_equal(mask == 1, weights > 0)
    assert sdc("export", "lab-a", "--to", tmp_path / "tables", "--format", "parquet").exit_code == 0
    table = polars.read_parquet(tmp_path / "tables" / "concept_maps.parquet")
    assert (len(table), table.schema["weight"]) == (0, polars.List(polars.Float32))


def test_surfaces_are_cifti_among_what_bids_has_no_name_for(
    sdc: Sdc, own_session: Session, own_published: Published, tmp_path: Path
) -> None:
    bring_to_a_surface(own_session)
    folder = tmp_path / "out"
    assert sdc("export", "lab-a", "--to", folder, "--format", "bids").exit_code == 0
    status, issues = validate(folder)
    assert [each for each in issues if each["severity"] == "error"] == []
    assert status == 0
    face = own_published.components["face"]
    place = folder / "sub-subj02" / "func"
    stem = f"sub-subj02_task-pictures_space-fsLR_den-32k_desc-concept{face}"
    weights = nibabel.load(place / f"{stem}_stat-weight_statmap.dscalar.nii").get_fdata()
    mask = nibabel.load(place / f"{stem}_mask.dscalar.nii").get_fdata()
    np.testing.assert_array_equal(mask == 1, weights >= 0.5)
    assert mask.sum() == VOXELS_A_REGION
    wanted = tmp_path / "wanted.dscalar.nii"
    wanted.write_bytes(mask_volume(own_session, face, "subj02", "native").content)
    np.testing.assert_array_equal(
        np.where(weights >= 0.5, weights, 0), nibabel.load(wanted).get_fdata()
    )
    told = json.loads((place / f"{stem}_mask.json").read_text())
    assert (told["SpatialReference"], told["Provenance"]["run"]) == (
        "fsLR_den-32k",
        own_published.run,
    )
    assert not list(place.glob("*space-scanner*"))
    assert len(list(place.glob("*_space-MNI*_mask.nii.gz"))) == len(CONCEPTS)


def as_text(row: Mapping[str, Any], single: set[str]) -> str:
    """A row to compare: JSON as its text, numbers of single precision as these are."""
    told = {
        name: json.dumps(value, sort_keys=True)
        if isinstance(value, dict)
        else np.float32(value).tolist()
        if name in single and value is not None
        else value
        for name, value in row.items()
    }
    return json.dumps(told, default=str, sort_keys=True)


def test_parquet_has_the_rows_of_sql(
    sdc: Sdc, session: Session, published: Published, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert sdc("export", "lab-a", "--to", folder, "--format", "parquet").exit_code == 0
    for view in VIEWS:
        file = folder / f"{view}.parquet"
        table = polars.read_parquet(file)
        kinds = (polars.Float32, polars.List(polars.Float32))
        single = {name for name, kind in table.schema.items() if kind in kinds}
        rows = session.execute(text(f"SELECT * FROM catalog.{view}")).mappings().all()  # noqa: S608
        wanted = {as_text(row, single) for row in rows}
        read = {as_text(row, single) for row in table.to_dicts()}
        assert read == wanted
        assert len(wanted) == len(rows) > 0
        told = polars.read_parquet_metadata(file)
        assert TOLD.items() <= told.items()
        assert (told["run"], told["encoder"]) == (str(published.run), published.encoder)
        query = f"SELECT count(*), min(dataset) FROM '{file}'"  # noqa: S608
        assert duckdb.sql(query).fetchall() == [(len(rows), "lab-a")]
    best = duckdb.sql(
        f"SELECT subject, region FROM '{folder}/concept_regions.parquet'"  # noqa: S608
        f" WHERE component_id = {published.components['face']} AND n_voxels > 0 ORDER BY 1"
    ).fetchall()
    assert best == [(subject, "FFA") for subject in SUBJECTS]


def test_a_neurovault_collection_lists_maps_that_are_there(
    sdc: Sdc, session: Session, published: Published, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert sdc("export", "lab-a", "--to", folder, "--format", "neurovault").exit_code == 0
    with (folder / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert len(images) == len(CONCEPTS) * len(SUBJECTS)
    assert {each["file"] for each in images} == {each.name for each in folder.glob("*.nii.gz")}
    names = {id_: name for name, id_ in published.components.items()}
    for image in images:
        assert (image["map_type"], image["analysis_level"], image["modality"]) == (
            *("R", "S"),
            "fMRI-BOLD",
        )
        assert image["target_template_image"] == "GenericMNI"
        told = json.loads(image["description"])
        assert TOLD.items() <= told.items()
        concept = names[told["component"]]
        assert told["responds"] == RESPONDS[concept]
        assert (told["shared"], told["stable"]) == {
            **{published.components[name]: (True, True) for name in SHARED},
            published.components["house"]: (False, False),
            published.components[UNMEASURED]: (None, None),
        }.get(told["component"], (False, True))
        wanted = mask_volume(session, told["component"], told["subject"], "MNI").content
        assert (folder / image["file"]).read_bytes() == wanted
    collection = json.loads((folder / "collection.json").read_text())
    assert TOLD.items() <= collection["provenance"].items()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_export_tells_where_it_comes_from(
    sdc: Sdc, published: Published, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert sdc("export", published.run, "--to", folder, "--format", kind).exit_code == 0
    told = json.loads((folder / "provenance.json").read_text())
    assert TOLD.items() <= told.items()
    assert (told["run"], told["encoder"]) == (published.run, published.encoder)
    assert (told["seed"], told["embargoed"]) == (7, False)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_that_has_something_stays_as_it_is(
    sdc: Sdc, published: Published, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "mine").write_text("mine")
    result = sdc("export", "lab-a", "--to", tmp_path, "--format", kind)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"error: {tmp_path} is not empty")
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "--to", "out", "--format", "bids"), "no dataset 'nobody' is in the catalog"),
        (("99", "--to", "out", "--format", "bids"), "there is no run 99"),
        (("9" * 30, "--to", "out", "--format", "bids"), "there is no run 9999"),
        (("٣", "--to", "out", "--format", "bids"), "no dataset '٣' is in the catalog"),
        (("lab-a", "--to", "file/out", "--format", "bids"), "file/out cannot be written: "),
        (("lab-a", "--to", "file", "--format", "bids"), "file cannot be written: "),
        (("lab-a", "--to", "out", "--format", "xlsx"), "Invalid value for '--format'"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    sdc: Sdc,
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    result = sdc("export", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def without_mni(catalog: Path, own_table: Path) -> Published:
    """A run whose places in MNI space are not known."""
    with open_session() as session, session.begin():
        store = ArtefactStore(get_settings().store_url)
        return publish(session, f"vectors:{own_table}", store, mni=False)


def test_where_mni_is_not_known(
    sdc: Sdc, without_mni: Published, tmp_path: Path, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    folder = tmp_path / "out" / "more"
    result = sdc("export", "lab-a", "--to", folder, "--format", "neurovault")
    assert result.exit_code == 2
    assert "not known where the voxels of subj01, subj02 lie" in result.stderr
    assert not (tmp_path / "out").exists()
    assert sdc("export", "lab-a", "--to", tmp_path / "out", "--format", "bids").exit_code == 0
    assert not list((tmp_path / "out").rglob("*MNI*"))
    masks = (len(CONCEPTS) + len(REGIONS)) * len(SUBJECTS)
    assert len(list((tmp_path / "out").rglob("*_mask.nii.gz"))) == masks
    assert polars_nulls(sdc, tmp_path / "tables") == {"mni_x": polars.Float32}
    assert count_rows() == before


def polars_nulls(sdc: Sdc, folder: Path) -> dict[str, object]:
    """The type of a column that is null in every row."""
    assert sdc("export", "lab-a", "--to", folder, "--format", "parquet").exit_code == 0
    table = polars.read_parquet(folder / "voxels.parquet")
    assert table["mni_x"].null_count() == len(table)
    return {"mni_x": table.schema["mni_x"]}


def test_an_older_run_and_an_embargoed_dataset(
    sdc: Sdc, without_mni: Published, tmp_path: Path
) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE catalog.dataset SET embargoed = true"))
    result = sdc("export", "lab-a", "--to", tmp_path / "held", "--format", "parquet")
    assert (result.exit_code, "under embargo" in result.stderr) == (0, True)
    assert json.loads((tmp_path / "held" / "provenance.json").read_text())["embargoed"] is True
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE catalog.dataset SET current_run_id = NULL"))
    words = ("export", without_mni.run, "--to", tmp_path / "older", "--format")
    result = sdc(*words, "parquet")
    assert result.exit_code == 2
    assert f"run {without_mni.run} is not the current run of lab-a" in result.stderr
    assert sdc(*words, "bids").exit_code == 0
    result = sdc("export", "lab-a", "--to", tmp_path / "none", "--format", "bids")
    assert "the dataset lab-a has no current run" in result.stderr


def test_participants_of_one_name_in_bids_are_refused(
    sdc: Sdc, without_mni: Published, tmp_path: Path
) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE catalog.subject SET label = 'subj-01' WHERE id = 2"))
    result = sdc("export", "lab-a", "--to", tmp_path / "out", "--format", "bids")
    assert result.exit_code == 2
    assert "would have one name in BIDS" in result.stderr
    assert list(tmp_path.glob("out")) == []


def test_names_of_bids() -> None:
    assert [bids_name(label) for label in ("sub-01", "subj_01", "-", "Ärger1")] == [
        *("01", "subj01", "", "rger1")
    ]
