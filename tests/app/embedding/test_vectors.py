"""Tables of precomputed vectors."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.embedding import load_encoder
from app.embedding.vectors import VectorTable
from app.errors import ConflictError, InputError, NotFoundError

NAMES = ["face", "Fire Truck", "dog", "face", "a cat", "DOG", "the dog"]
SOURCES = ["x", "x", "x", "y", "y", "y", "y"]
VECTORS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32) * 3
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "table.npz"
    np.savez(path, name=NAMES, vector=VECTORS, source=SOURCES)
    return path


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_every_row_can_be_reached(npz: Path) -> None:
    table = VectorTable(npz)
    assert (table.names, table.sources, table.dimension) == (NAMES, SOURCES, 4)
    assert table.vectors.dtype == np.float32
    np.testing.assert_allclose(table.vectors, UNIT, atol=1e-6)
    assert table.sees_images is False


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("face", 0),
        ("FACE", 0),
        ("dog", 2),
        ("DOG", 5),
        ("Dog", 2),
        ("The Dog", 6),
        ("fire truck", 1),
        ("a photo of a fire truck", 1),
        ("A fire  truck", 1),
        ("a cat", 4),
        ("cat", 4),
        ("a picture of the cat", 4),
    ],
)
def test_look_ups_go_from_exact_to_bare(npz: Path, text: str, row: int) -> None:
    encoder = load_encoder(f"vectors:{npz}")
    np.testing.assert_allclose(encoder.encode_texts([text, "face"]), UNIT[[row, 0]], atol=1e-6)


def test_an_unknown_text_is_named_with_the_closest_names(npz: Path) -> None:
    encoder = load_encoder(f"vectors:{npz}")
    with pytest.raises(NotFoundError) as raised:
        encoder.encode_texts(["face", "a photo of a fire trunk"])
    assert raised.value.message == f"{encoder.name} has no vector for 'a photo of a fire trunk'"
    assert raised.value.hint == "the closest names are Fire Truck"
    with pytest.raises(NotFoundError) as raised:
        encoder.encode_texts(["xyzzy"])
    assert raised.value.hint == "only names in the table can be asked"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        # Letters are shared by many names, and words by those that are meant.
        ("a face", "the closest names are Human face, Clock face of a tower"),
        ("faces", "the closest names are Human face, Clock face of a tower"),
        ("a photo of a tower clock", "the closest names are Clock face of a tower"),
        ("a man on a horse in the sea", "the closest names are Man"),
        ("facet", "the closest names are Faucet, Human face, Clock face of a tower"),
        ("fir", "only names in the table can be asked"),
        ("the of", "only names in the table can be asked"),
        ("!", "only names in the table can be asked"),
    ],
)
def test_names_are_near_by_their_words(tmp_path: Path, text: str, hint: str) -> None:
    names = ["Faucet", "Fireplace", "Clock face of a tower", "Human face", "Man", "Boat on a lake"]
    path = write_csv(tmp_path / "t.csv", [["name", 0], *([name, 1] for name in names)])
    with pytest.raises(NotFoundError) as raised:
        VectorTable(path).encode_texts([text])
    assert raised.value.hint == hint


def test_few_names_are_told(tmp_path: Path) -> None:
    rows = [[f"face of number {each}", 1] for each in range(20)]
    path = write_csv(tmp_path / "t.csv", [["name", 0], *rows, ["Human face", 1]])
    with pytest.raises(NotFoundError) as raised:
        VectorTable(path).encode_texts(["face"])
    assert raised.value.hint == "the closest names are " + ", ".join(
        ["Human face", *(f"face of number {each}" for each in range(4))]
    )


def test_stimuli_are_normalised_means_of_their_captions(npz: Path) -> None:
    encoder = load_encoder(f"vectors:{npz}")
    mean = UNIT[2] + UNIT[4]
    np.testing.assert_allclose(
        encoder.encode_stimuli([["dog", "cat"], ["face"]], None),
        [mean / np.linalg.norm(mean), UNIT[0]],
        atol=1e-6,
    )
    with pytest.raises(InputError, match="1 of 1 stimuli have no caption"):
        encoder.encode_stimuli([[]], None)


def test_nothing_encodes_to_no_rows(npz: Path) -> None:
    assert load_encoder(f"vectors:{npz}").encode_texts([]).shape == (0, 4)


def test_what_it_cannot_encode_is_named(npz: Path) -> None:
    encoder = load_encoder(f"vectors:{npz}")
    with pytest.raises(ConflictError, match="cannot encode images"):
        encoder.encode_images([np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(InputError, match="text 0 is empty"):
        encoder.encode_texts([""])


def test_the_name_follows_the_content_and_not_the_place(npz: Path, tmp_path: Path) -> None:
    encoder = load_encoder(f"vectors:{npz}")
    assert encoder.name == f"vectors:table@{encoder.checksum[:8]}"
    assert encoder.spec == f"vectors:{npz}"
    (tmp_path / "elsewhere").mkdir()
    moved = load_encoder(f"vectors:{shutil.copy(npz, tmp_path / 'elsewhere')}")
    assert (moved.name, moved.checksum) == (encoder.name, encoder.checksum)
    changed = VECTORS.copy()
    changed[3, 2] += 1e-3
    np.savez(npz, name=NAMES, vector=changed, source=SOURCES)
    assert load_encoder(f"vectors:{npz}").name != encoder.name


def test_a_csv_of_the_same_rows_is_the_same_encoder(npz: Path, tmp_path: Path) -> None:
    rows = [["source", "name", 0, 1, 2, 3]]
    rows += [[s, n, *v] for s, n, v in zip(SOURCES, NAMES, VECTORS.tolist(), strict=True)]
    path = write_csv(tmp_path / "table.csv", rows)
    table, other = VectorTable(path), VectorTable(npz)
    assert (table.names, table.sources) == (NAMES, SOURCES)
    np.testing.assert_array_equal(table.vectors, other.vectors)
    assert (table.name, table.checksum) == (other.name, other.checksum)


@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1
            ),
            st.floats(0.5, 2, width=32),
            st.floats(-2, 2, width=32),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_name_survives_both_formats(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    folder = tmp_path_factory.mktemp("tables")
    names = [name for name, *_ in rows]
    values = np.array([value for _, *value in rows], np.float32)
    np.savez(folder / "t.npz", name=np.array(names), vector=values)
    write_csv(folder / "t.csv", [["name", 0, 1], *([n, x, y] for n, x, y in rows)])
    tables = [VectorTable(folder / "t.npz"), VectorTable(folder / "t.csv")]
    for table in tables:
        assert table.names == names
        assert table.sources == [""] * len(names)
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        np.testing.assert_allclose(table.vectors, unit, atol=1e-6)
        for name in filter(str.strip, names):
            np.testing.assert_allclose(
                table.encode_texts([name])[0], unit[names.index(name)], atol=1e-6
            )
    assert tables[0].checksum == tables[1].checksum


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_named(tmp_path: Path, bad: float) -> None:
    vectors = VECTORS.copy()
    vectors[2] = bad
    np.savez(tmp_path / "t.npz", name=NAMES, vector=vectors)
    with pytest.raises(InputError, match=r"t\.npz: vector 2 has no direction"):
        load_encoder(f"vectors:{tmp_path / 't.npz'}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"name": NAMES}, "has no array 'vector'"),
        ({"vector": VECTORS}, "has no array 'name'"),
        ({"name": NAMES[:5], "vector": VECTORS}, r"holds name <U10 \(5,\)"),
        ({"name": NAMES, "vector": VECTORS[0]}, r"vector float32 \(4,\)"),
        ({"name": NAMES, "vector": VECTORS, "source": SOURCES[:1]}, r"source <U1 \(1,\)"),
        ({"name": np.arange(7), "vector": VECTORS}, r"holds name int64 \(7,\)"),
        ({"name": NAMES, "vector": VECTORS.astype(str)}, r"vector <U"),
        ({"name": np.array([], str), "vector": VECTORS[:0]}, r"vector float32 \(0, 4\)"),
        ({"name": np.array(NAMES, object), "vector": VECTORS}, "cannot be read as .npz: Object"),
    ],
)
def test_npz_faults_are_named(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(InputError, match=message) as raised:
        VectorTable(tmp_path / "t.npz")
    assert "t.npz" in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("keep", [0, 1, 10, 200, 400, -30, -1])
def test_a_truncated_npz_is_one_error(npz: Path, keep: int) -> None:
    npz.write_bytes(npz.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"table\.npz cannot be read as \.npz"):
        VectorTable(npz)


def test_other_files_under_the_suffix_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with path.open("wb") as file:
        np.save(file, VECTORS)
    with pytest.raises(InputError, match=r"t\.npz cannot be read as \.npz"):
        VectorTable(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a header"),
        ("name\nface\n", "needs a header"),
        ("0,1\n1,2\n", "needs a header"),
        ("name,0,1\n", "holds no row"),
        ("name,0,1\nface,1,2\ndog,1\n", "line 3: 2 cells, the header has 3"),
        ("name,0,1\nface,1,two\n", "line 2, column 1: 'two' is no number"),
        ("name,0,1\nface,0,0\n", "vector 0 has no direction"),
        ("name,0,1\nface,1,nan\n", "vector 0 has no direction"),
    ],
)
def test_csv_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        VectorTable(path)
    assert "t.csv" in raised.value.message


def test_a_csv_of_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"name,0\nf\xff,1\n")
    with pytest.raises(InputError, match=r"t\.csv, line 2: .*byte 0xff is no UTF-8"):
        VectorTable(tmp_path / "t.csv")


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz does not exist"):
        VectorTable(tmp_path / "none.npz")
    with pytest.raises(InputError, match="is no table of vectors"):
        VectorTable(tmp_path / "table.pickle")
