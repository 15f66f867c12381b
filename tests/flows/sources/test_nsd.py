import os

import numpy as np
import pytest

from flows.sources import open_source
from flows.sources.base import Source
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import (
    AFFINE,
    GRIDS,
    SHOWN,
    TRIALS_PER_SESSION,
    NsdTree,
    write_hdf5_betas,
    write_image,
)


def opened(tree: NsdTree, **options: object) -> Source:
    return open_source(tree.root, trials_per_session=TRIALS_PER_SESSION, **options)


def test_description_is_nsds_unless_it_is_said_otherwise(tree: NsdTree) -> None:
    about = opened(tree).description
    assert (about.slug, about.layout, about.uri) == ("nsd", "nsd", tree.root.as_uri())
    assert "Allen" in about.citation
    assert "Data Access Agreement" in about.licence
    other = opened(tree, slug="demo", title="Demo", licence="CC0", citation="none").description
    assert (other.slug, other.title, other.licence, other.citation) == (
        "demo",
        "Demo",
        "CC0",
        "none",
    )


def test_participants_grids_and_masks(tree: NsdTree) -> None:
    source = opened(tree)
    assert source.participants() == ["subj01", "subj02"]
    for participant, shape in GRIDS.items():
        grid = source.grid(participant)
        assert grid.shape == shape
        np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-6)
        np.testing.assert_array_equal(source.mask(participant), tree.masks[participant])
    assert opened(tree, participants=["subj02"]).participants() == ["subj02"]


def test_keys_count_from_0_where_ids_count_from_1(tree: NsdTree) -> None:
    trials = opened(tree).trials("subj01")
    assert trials.stimulus.tolist() == [
        *["nsd00002", "nsd00000", "nsd00006", "nsd00002", "nsd00009", "nsd00000"],
        *["nsd00002", "nsd00006", "nsd00009", "nsd00000", "nsd00000", "nsd00002"],
    ]
    assert trials.session.tolist() == [1] * 6 + [2] * 6
    assert trials.repeat.tolist() == [0, 0, 0, 1, 0, 1, 2, 1, 1, 2, 3, 3]
    second = opened(tree).trials("subj02")
    assert second.stimulus.tolist() == [f"nsd{image - 1:05d}" for image in SHOWN["subj02"]]


@pytest.mark.parametrize("participant", ["subj01", "subj02"])
def test_betas_are_the_literal_ones(tree: NsdTree, participant: str) -> None:
    source = opened(tree)
    mask = tree.masks[participant]
    for session in (1, 2):
        stored = tree.betas[participant, session]
        literal = [
            [
                stored[x, y, z, trial] / 300
                for x in range(mask.shape[0])
                for y in range(mask.shape[1])
                for z in range(mask.shape[2])
                if mask[x, y, z]
            ]
            for trial in range(TRIALS_PER_SESSION)
        ]
        betas = source.betas(participant, session)
        assert betas.dtype == np.float32
        np.testing.assert_allclose(betas, literal, rtol=1e-6)


def test_hdf5_and_nifti_of_one_session_agree(tree: NsdTree) -> None:
    from_nifti = opened(tree).betas("subj02", 1)
    write_hdf5_betas(tree.session("subj02", 1), tree.betas["subj02", 1])
    tree.session("subj02", 1, "nii.gz").write_bytes(b"not read where there is HDF5")
    np.testing.assert_array_equal(opened(tree).betas("subj02", 1), from_nifti)


def test_floating_betas_are_percent_already_and_keep_nan(tree: NsdTree) -> None:
    percent = tree.betas["subj02", 2].astype(np.float32) / 300
    percent[0] = np.nan
    write_image(tree.session("subj02", 2, "nii.gz"), percent)
    betas = opened(tree).betas("subj02", 2)
    np.testing.assert_array_equal(betas, percent[tree.masks["subj02"]].T)
    assert np.isnan(betas).any()


def test_sessions_can_be_chosen_and_repeats_count_all(tree: NsdTree) -> None:
    trials = opened(tree, sessions=[2]).trials("subj01")
    assert trials.session.tolist() == [2] * 6
    assert trials.repeat.tolist() == [2, 1, 1, 2, 3, 3]
    assert opened(tree, sessions=1).trials("subj01").session.tolist() == [1] * 6
    by_participant = opened(tree, sessions={"subj01": 1})
    assert len(by_participant.trials("subj01").session) == 6
    assert len(by_participant.trials("subj02").session) == 12


def test_stimuli_are_what_was_seen(tree: NsdTree) -> None:
    stimuli = {stimulus.key: stimulus for stimulus in opened(tree).stimuli()}
    seen = sorted({image - 1 for shown in SHOWN.values() for image in shown})
    assert list(stimuli) == [f"nsd{nsd_id:05d}" for nsd_id in seen]
    assert {key for key, one in stimuli.items() if one.shared} == {"nsd00002", "nsd00006"}
    assert stimuli["nsd00006"].captions == ("picture 6, view 1", "picture 6, view 2")
    assert {one.fold for one in stimuli.values()} == {None}
    only = opened(tree, participants=["subj02"], sessions=[1]).stimuli()
    assert [one.key for one in only] == ["nsd00001", "nsd00002", "nsd00004", "nsd00006"]


def test_captions_come_from_where_they_are_said_to_be(tree: NsdTree) -> None:
    folder = tree.pictures.parent / "annotations"
    train = opened(tree, captions=folder / "captions_train2017.json").stimuli()
    assert {one.key for one in train if not one.captions} == {"nsd00006", "nsd00009"}
    for path in folder.iterdir():
        path.unlink()
    assert not any(one.captions for one in opened(tree).stimuli())
    tree.stim_info.unlink()
    assert not any(one.captions for one in opened(tree).stimuli())


def test_pictures_are_rows_by_nsd_id(tree: NsdTree) -> None:
    picture = opened(tree).image("nsd00006")
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    assert (picture == 6).all()
    tree.pictures.unlink()
    assert opened(tree).image("nsd00006") is None


def test_regions_have_the_names_of_the_colour_tables(tree: NsdTree) -> None:
    regions = {(one.atlas, one.name): one.members for one in opened(tree).regions("subj01")}
    at = {key: np.argwhere(members).tolist() for key, members in regions.items()}
    assert at == {
        ("floc-faces", "OFA"): [[1, 1, 1]],
        ("floc-faces", "FFA-1"): [[2, 2, 2]],
        ("nsdgeneral", "nsdgeneral"): [[1, 1, 1], [2, 2, 2]],
        ("prf-visualrois", "V1v"): [
            *[[0, 0, z] for z in range(5)],
            *[[3, 2, z] for z in range(5)],
        ],
        ("prf-visualrois", "V1d"): [[1, 1, z] for z in range(5)],
    }
    assert all(members.dtype == bool for members in regions.values())
    chosen = opened(tree, atlases=["nsdgeneral"]).regions("subj01")
    assert [one.name for one in chosen] == ["nsdgeneral"]


def test_atlases_drawn_in_the_volume_are_named_by_the_templates(tree: NsdTree) -> None:
    values = np.zeros(GRIDS["subj01"], np.int16)
    values[0, 0, 0], values[0, 0, 1] = 1, 3
    write_image(tree.functional("subj01") / "roi/lh.thalamus.nii.gz", values)
    templates = tree.root / "nsddata/templates"
    templates.mkdir()
    (templates / "thalamus.ctab").write_text("1 LGN\n3 pulvinar\n")
    regions = opened(tree, atlases=["thalamus"]).regions("subj01")
    assert [one.name for one in regions] == ["LGN", "pulvinar"]


def test_maps_are_the_localisers_t_values(tree: NsdTree) -> None:
    maps = opened(tree).maps("subj02")
    assert sorted(maps) == ["floc_bodiestval", "floc_facestval"]
    faces = np.arange(np.prod(GRIDS["subj02"])).reshape(GRIDS["subj02"])
    np.testing.assert_array_equal(maps["floc_facestval"], faces)
    np.testing.assert_array_equal(maps["floc_bodiestval"], -faces)
    assert maps["floc_facestval"].dtype == np.float32


def test_mni_of_the_transform_and_none_without(tree: NsdTree) -> None:
    mni = opened(tree).mni("subj01")
    assert mni is not None
    assert mni.shape == (*GRIDS["subj01"], 3)
    assert np.isnan(mni[0, 0, 0]).all()
    assert mni[2, 3, 4].tolist() == [-2, 3, 4]
    (tree.transforms("subj01") / "func1pt8-to-MNI.nii.gz").unlink()
    assert opened(tree).mni("subj01") is None


def test_masks_fall_back_to_r2_and_to_the_first_volume(tree: NsdTree) -> None:
    folder = tree.prepared("subj02")
    r2 = np.ones(GRIDS["subj02"], np.float32)
    r2[0], r2[1] = 0, np.nan
    write_image(folder / "R2.nii.gz", r2)
    (folder / "ncsnr.nii.gz").unlink()
    # Where NaN marks the outside, a zero is a brain voxel without signal.
    expected = np.ones(GRIDS["subj02"], bool)
    expected[1] = False
    np.testing.assert_array_equal(opened(tree).mask("subj02"), expected)
    (folder / "R2.nii.gz").unlink()
    first = tree.betas["subj02", 1].copy()
    first[3, ..., 0] = 0
    write_image(tree.session("subj02", 1, "nii.gz"), first)
    np.testing.assert_array_equal(opened(tree).mask("subj02"), first[..., 0] != 0)
    np.testing.assert_allclose(opened(tree).grid("subj02").affine, AFFINE, atol=1e-6)


def test_fingerprints_follow_the_sessions_files(tree: NsdTree) -> None:
    def fingerprints() -> list[str]:
        source = opened(tree)
        return [source.fingerprint("subj01", session) for session in (1, 2)]

    before = fingerprints()
    assert before == fingerprints()
    assert before[0] != before[1]
    os.utime(tree.session("subj01", 2), ns=(1, 1))
    after = fingerprints()
    assert after[0] == before[0]
    assert after[1] != before[1]
    os.utime(tree.prepared("subj01") / "ncsnr.nii.gz", ns=(1, 1))
    assert all(now != then for now, then in zip(fingerprints(), after, strict=True))


def test_the_whole_session_length_is_750_by_default(tree: NsdTree) -> None:
    refused(
        tree.root, lambda: open_source(tree.root).trials("subj01"), "6 betas", "12 trials", "subj01"
    )
