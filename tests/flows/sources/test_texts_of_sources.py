"""Texts that cannot be stored, byte order marks, and names in two forms of Unicode, everywhere."""

import json
import os
import unicodedata
from dataclasses import replace as with_changes
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.embedding.vectors import VectorTable
from app.errors import InputError
from flows.config import read_values
from flows.sources import check_source, open_source
from flows.sources.ctab import read_labels
from flows.sources.manifest import ManifestSource
from tests.flows.sources import bids_tree
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import AFFINE, GRID, replace, write_manifest_tree
from tests.flows.sources.nsd_tree import TRIALS_PER_SESSION, NsdTree, write_image

BOM = b"\xef\xbb\xbf"
NFC, NFD = "caf\u00e9", "cafe\u0301"
NUL = "a NUL (U+0000), which cannot be stored"
HALF = "half a surrogate pair (U+D83D), which cannot be stored"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_manifest_tree(tmp_path / "data")


def fails(folder: Path, *words: str) -> None:
    refused(folder, lambda: check_source(open_source(folder)), *words)


@pytest.mark.parametrize(
    ("file", "old", "new", "place"),
    [
        ("stimuli.csv", "an owl", "an\0owl", "stimuli.csv, line 4, column captions, character 3"),
        ("stimuli.csv", "a dog", '"a, d\0g"', "stimuli.csv, line 3, column category, character 5"),
        ("stimuli.csv", "dog,", "do\0g,", "stimuli.csv, line 3, column stimulus, character 3"),
        ("stimuli.csv", "category", "categ\0ry", "stimuli.csv, line 1, column 3, character 6"),
        ("trials.csv", "owl", "o\0l", "trials.csv, line 5, column stimulus, character 2"),
        ("dataset.toml", '"Tiny"', r'"T\u0000"', "dataset.toml, dataset.title, character 2"),
        ("dataset.toml", '"b"', r'"\u0000"', "dataset.toml, participants[0].label, character 1"),
    ],
)
def test_a_nul_in_a_manifest(folder: Path, file: str, old: str, new: str, place: str) -> None:
    replace(folder / file, old, new)
    fails(folder, str(folder), f"{place}: {NUL}")


def test_a_nul_in_names_of_regions(folder: Path) -> None:
    write_image(folder / "atlas.nii", np.ones(GRID, np.int16), AFFINE)
    path = folder / "names.ctab"
    path.write_text("0 nothing\n1 V\0 0 0 0 0\n")
    refused(folder, lambda: read_labels(path), f"{path}, line 2, character 4: {NUL}")
    with (folder / "dataset.toml").open("a") as file:
        file.write('regions = [{ atlas = "x", file = "atlas.nii", labels = { "a\\u0000" = 1 } }]\n')
    fails(folder, "dataset.toml, the key 'participants[1].regions[0].labels.a\\x00'", NUL)


@pytest.mark.parametrize(
    ("text", "told"), [("T\ud83d", f"character 2: {HALF}"), ("\0", f"character 1: {NUL}")]
)
def test_a_bids_description(tmp_path: Path, text: str, told: str) -> None:
    bids_tree.write_bids_tree(tmp_path)
    path = tmp_path / "dataset_description.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"Name": text}))
    fails(tmp_path, f"{path}, Name, {told}")
    path.write_text(json.dumps(described | {"Authors": ["A", text]}))
    fails(tmp_path, f"{path}, Authors[1], {told}")


def test_cocos_captions(tree: NsdTree) -> None:
    path = tree.pictures.parent / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    first = content["annotations"][0]
    first["caption"] = "a cat \ud83d"
    path.write_text(json.dumps(content))
    source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)
    place = f"{path}, annotations[0].caption, of image {first['image_id']}, character 7"
    refused(tree.root, lambda: check_source(source), f"{place}: {HALF}")


def test_options(folder: Path) -> None:
    bids_tree.write_bids_tree(folder / "bids")
    refused(folder, lambda: open_source(folder / "bids", space="a\0"), f"space, character 2: {NUL}")


@pytest.mark.skipif(os.fsencode("\udce9") != b"\xe9", reason="names of files are other than bytes")
def test_names_of_folders_and_files_that_are_no_utf_8(tmp_path: Path) -> None:
    folder = write_manifest_tree(tmp_path / os.fsdecode(b"donn\xe9es"))
    source = open_source(folder)
    assert check_source(source)
    assert source.description.uri.endswith("donn%E9es/dataset.toml")
    for path in folder.glob("betas_*"):
        path.rename(folder / os.fsdecode(b"\xe9" + path.name.encode()))
    replace(folder / "dataset.toml", '"betas_*', '"*betas_*')
    assert check_source(open_source(folder))


@pytest.mark.parametrize("text", ["a \ud83d cat", "a \0 cat"])
def test_whatever_a_source_gives_is_held(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source of tomorrow may read texts by another reader: the check asks the source itself."""
    source = open_source(folder)
    first, *others = source.stimuli()
    stimuli = [with_changes(first, captions=("a cat", text)), *others]
    with monkeypatch.context() as patch:
        patch.setattr(ManifestSource, "stimuli", lambda _: stimuli)
        refused(
            folder, lambda: check_source(source), f"stimulus {first.key}, caption 2, character 3"
        )
    with monkeypatch.context() as patch:
        patch.setattr(ManifestSource, "stimuli", lambda _: [with_changes(first, key=text)])
        refused(folder, lambda: check_source(source), "the stimulus 'a ", "character 3")
    with monkeypatch.context() as patch:
        patch.setattr(ManifestSource, "maps", lambda *_: {text: np.zeros(GRID)})
        refused(folder, lambda: check_source(source), "participant a, the map 'a ", "character 3")


def test_byte_order_marks(tmp_path: Path, tree: NsdTree) -> None:
    folder, root = write_manifest_tree(tmp_path / "data"), tmp_path / "bids"
    bids_tree.write_bids_tree(root)
    opened = [
        lambda: open_source(folder),
        lambda: open_source(root),
        lambda: open_source(tree.root, trials_per_session=TRIALS_PER_SESSION),
    ]
    expected = [check_source(each()) for each in opened]
    for path in [
        *folder.glob("*.toml"),
        *folder.glob("*.csv"),
        *root.rglob("*.json"),
        *root.rglob("*.tsv"),
        *tree.root.rglob("*.json"),
        *tree.root.rglob("*.csv"),
    ]:
        path.write_bytes(BOM + path.read_bytes())
    assert [check_source(each()) for each in opened] == expected
    config = tmp_path / "run.toml"
    config.write_bytes(BOM + b'encoder = "caption"\n')
    assert read_values(config, []) == {"encoder": "caption"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_two_forms_are_one(folder: Path, form: str) -> None:
    """Each file in a form of its own; the disk in another one than the table that names it."""
    other = "NFD" if form == "NFC" else "NFC"
    here, there = (unicodedata.normalize(each, NFC) for each in (form, other))
    assert here != there
    for file, name in (("trials.csv", here), ("stimuli.csv", there)):
        replace(folder / file, "cat,", f"{name},")
    rows = (folder / "stimuli.csv").read_text().splitlines()
    rows = [f"{row},{there}/{there}.png" if row.startswith(there) else f"{row}," for row in rows]
    rows[0] = rows[0].rstrip(",") + ",image"
    (folder / "stimuli.csv").write_text("\n".join(rows) + "\n")
    (folder / here).mkdir()
    Image.new("RGB", (2, 2), "teal").save(folder / here / f"{here}.png")
    for path in folder.glob("betas_*"):
        path.rename(folder / path.name.replace("betas", here))
    write_image(folder / f"{here}.nii", np.ones(GRID, np.int16), AFFINE)
    replace(folder / "dataset.toml", '"betas_*.nii.gz"', f'"{there}_*.nii.gz"')
    replace(folder / "dataset.toml", 'label = "b"', f'label = "{there}"')
    with (folder / "dataset.toml").open("a") as file:
        file.write(
            f'regions = [{{ atlas = "{here}", file = "{there}.nii", labels = {{ {json.dumps(here)}'
            f' = 1 }} }}]\nmaps = {{ {json.dumps(there)} = "{there}.nii" }}\n'
        )
    source = open_source(folder)
    report = check_source(source)
    assert [one.label for one in report.participants] == ["a", NFC]
    assert report.participants[0].atlases == (NFC,)
    assert report.participants[0].maps == (NFC,)
    assert [(each.atlas, each.name) for each in source.regions("a")] == [(NFC, NFC)]
    stimuli = {one.key: one.captions for one in source.stimuli()}
    assert stimuli[NFC] == ("a cat", "the cat")
    assert source.image(NFC) is not None
    assert source.betas(NFC, 1).shape[0] == 4


def test_names_that_differ_in_form_alone_in_one_table(folder: Path) -> None:
    with (folder / "stimuli.csv").open("a") as file:
        file.write(f"{NFC},,\n{NFD},,\n")
    with pytest.raises(InputError, match=f"line 7: stimulus {NFC} stands twice") as caught:
        check_source(open_source(folder))
    assert "NFC, NFD" in caught.value.hint
    (folder / "stimuli.csv").write_text("stimulus\ncat\ndog\nowl\n")
    with (folder / "dataset.toml").open("a") as file:
        file.write(f'maps = {{ "{NFC}" = "t.nii", "{NFD}" = "u.nii" }}\n')
    fails(folder, "dataset.toml", "participants[1].maps", "two maps have one name")


def test_a_file_that_is_there_in_both_forms_is_the_one_that_is_named(folder: Path) -> None:
    for number, name in enumerate((NFC, NFD)):
        Image.new("L", (1, 1), number).save(folder / f"{name}.png")
    (folder / "stimuli.csv").write_text(f"stimulus,image\ncat,{NFC}.png\ndog,\nowl,\n")
    source = open_source(folder)
    assert source.image("cat").max() == 0
    (folder / f"{NFC}.png").unlink()
    assert open_source(folder).image("cat").max() == 1


def test_names_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"name,0,1\n{NFD},1,0\nface,0,1\n")
    table = VectorTable(path)
    for name in (NFC, NFD, NFC.upper(), f"a photo of a {NFD}"):
        np.testing.assert_array_equal(table.encode_texts([name]), [[1, 0]])
