"""Files whose format can name other files: none is read, whatever names it, whoever asks."""

from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage

from app.errors import InputError
from flows.sources import check_source, open_source
from flows.sources.confinement import reading_within
from flows.sources.stimulus_table import read_picture
from flows.sources.surfaces import GiftiSeries, read_gifti_labels, read_vertices
from flows.sources.volumes import Series, read_volume
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import BETAS, MASK, write_manifest_tree

SECRET = b"root:x:0:0:root:/root:/bin/bash\n" * 40


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of what may be read, also as HDF5."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["betas"] = BETAS[1].transpose(3, 2, 1, 0)
    return path


def external_link(file: h5py.File, secret: Path) -> None:
    file["betas"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/betas")


def link_to_a_link(file: h5py.File, secret: Path) -> None:
    file["far"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/")
    file["betas"] = h5py.SoftLink("/far/betas")


def soft_link(file: h5py.File, secret: Path) -> None:
    file["others"] = BETAS[1].transpose(3, 2, 1, 0)
    file["betas"] = h5py.SoftLink("/others")


def virtual(file: h5py.File, secret: Path) -> None:
    shape = BETAS[1].transpose(3, 2, 1, 0).shape
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "betas", shape, np.float32)
    file.create_virtual_dataset("betas", layout)


def external_storage(file: h5py.File, secret: Path) -> None:
    shape = BETAS[1].transpose(3, 2, 1, 0).shape
    file.create_dataset("betas", shape, np.float32, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (external_link, "is a link and holds no data"),
        (link_to_a_link, "is a link and holds no data"),
        (soft_link, "is a link and holds no data"),
        (virtual, "lie in other files"),
        (external_storage, "lie in other files"),
    ],
)
@pytest.mark.parametrize("confined", [True, False])
def test_hdf5(
    tmp_path: Path,
    secret: Path,
    plant: Callable[[h5py.File, Path], None],
    told: str,
    confined: bool,
) -> None:
    inside = write_manifest_tree(tmp_path / "inside")
    path = inside / "one.h5"
    with h5py.File(path, "w") as file:
        plant(file, secret)

    def read() -> None:
        if confined:
            with reading_within([inside]):
                check_source(open_source(inside))
        else:
            check_source(open_source(inside))

    refused(inside, read, str(path), "betas", told)
    refused(inside, lambda: Series(path, "TZYX").read(MASK), str(path), told)


def test_a_group_that_is_a_link(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["group"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/")
    refused(tmp_path, lambda: Series(path, "TZYX", "/group/betas").size(), "/group/betas is a link")
    with h5py.File(path, "w") as file:
        file["group/betas"] = BETAS[1].transpose(3, 2, 1, 0)
    assert Series(path, "TZYX", "group/./betas").size()[0] == 4


def gifti(path: Path, secret: Path, encoding: str, intent: str, values: np.ndarray) -> None:
    nibabel.save(GiftiImage(darrays=[GiftiDataArray(values, intent)]), path)
    text = path.read_text().replace('"GZipBase64Binary"', f'"{encoding}"')
    path.write_text(text.replace('ExternalFileName=""', f'ExternalFileName="{secret}"'))
    assert encoding in path.read_text()
    assert str(secret) in path.read_text()


@pytest.mark.parametrize("encoding", ["External", "ExternalFileBinary", "GIFTI_ENCODING_EXTBIN"])
def test_gifti(tmp_path: Path, secret: Path, encoding: str) -> None:
    sides = (tmp_path / "l.gii", tmp_path / "r.gii")
    told = (str(sides[0]), "its data lie in another file")
    for side in sides:
        gifti(side, secret, encoding, "NIFTI_INTENT_NORMAL", np.ones(12, np.float32))
    series = GiftiSeries(*sides)
    refused(tmp_path, series.size, *told)
    refused(tmp_path, lambda: series.read(np.ones((2, 12, 1), bool)), *told)
    refused(tmp_path, lambda: read_volume(sides[0]), *told)
    for side in sides:
        gifti(side, secret, encoding, "NIFTI_INTENT_LABEL", np.ones(12, np.int32))
    refused(tmp_path, lambda: read_gifti_labels(*sides), *told)
    for side in sides:
        gifti(side, secret, encoding, "NIFTI_INTENT_POINTSET", np.ones((12, 3), np.float32))
    refused(tmp_path, lambda: read_vertices(*sides), *told)


def test_gifti_that_became_external_after_its_sizes_were_read(tmp_path: Path, secret: Path) -> None:
    sides = (tmp_path / "l.gii", tmp_path / "r.gii")
    for side in sides:
        image = GiftiImage(darrays=[GiftiDataArray(np.ones(12, np.float32), "NIFTI_INTENT_NORMAL")])
        nibabel.save(image, side)
    series = GiftiSeries(*sides)
    assert series.size() == (1, (2, 12, 1))
    gifti(sides[1], secret, "External", "NIFTI_INTENT_NORMAL", np.ones(12, np.float32))
    refused(
        tmp_path, lambda: series.read(np.ones((2, 12, 1), bool)), str(sides[1]), "in another file"
    )


def test_xml_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "l.gii"
    image = GiftiImage(darrays=[GiftiDataArray(np.ones(12, np.float32), "NIFTI_INTENT_NORMAL")])
    nibabel.save(image, path)
    head, gii, rest = path.read_text().partition("<GIFTI")
    bomb = '<!DOCTYPE GIFTI [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;">]>'
    path.write_text(head.partition("<!DOCTYPE")[0] + bomb + gii + rest)
    refused(tmp_path, GiftiSeries(path, path).size, str(path), "defines XML entities")


def test_the_other_file_of_a_pair(tmp_path: Path, secret: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    nibabel.save(nibabel.Nifti1Pair(np.ones((3, 4, 2), np.float32), np.eye(4)), inside / "m.img")
    assert read_volume(inside / "m.hdr")[0].shape == (3, 4, 2)
    (inside / "m.img").unlink()
    (inside / "m.img").symlink_to(secret)
    with reading_within([inside]):
        refused(inside, lambda: read_volume(inside / "m.hdr"), "m.img lies outside the folders")


def test_kinds_that_nobody_asked_for(tmp_path: Path, secret: Path) -> None:
    """MINC is HDF5, with all of its links; PostScript is a program."""
    minc = tmp_path / "m.mnc"
    with h5py.File(minc, "w") as file:
        file["minc-2.0"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/")
    refused(tmp_path, lambda: read_volume(minc), str(minc), "unknown kind of image")
    picture = tmp_path / "p.png"
    picture.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        ran: list[object] = []
        patch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *words, **_: ran.append(words))
        with pytest.raises(InputError, match="no picture that can be read"):
            read_picture(picture)
        assert not ran
