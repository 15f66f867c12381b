import json
from collections.abc import Callable
from pathlib import Path

import pytest
from networkx import read_graphml
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.commands import own_session
from app.database.engine import get_engine, open_session
from app.database.migrate import current_revision, downgrade, head_revision
from app.database.models import Term
from app.masks.service import mask_volume
from app.settings import get_settings
from tests.app.conftest import Counts, Sdc
from tests.app.published import (
    AGAINST_RIDGE,
    LESS,
    SHARED,
    UNLOCATED,
    UNMASKED,
    UNMEASURED,
    Published,
    write_table,
)

SEARCH_FIELDS = [
    *("plus", "minus", "negated"),
    *("query", "encoder", "run", "dataset", "method", "prompt", "q_family", "concepts"),
    *("match", "match_reason", "warnings", "regions", "weaker_regions", "place"),
]
CONCEPT_FIELDS = [
    *("id", "label", "similarity", "direction", "subjects"),
    *("shared", "decodable", "specific", "agreeing", "stable", "reason", "reasons", "prevalence"),
    *("p_value", "q_value", "stability", "regions", "weaker_regions", "place"),
]
REGION_FIELDS = [
    *("subject", "atlas", "region", "score", "auc", "auc_low", "auc_high"),
    *("p_value", "q_value", "n_voxels", "responds", "peak_mm", "space"),
]


def test_search_prints_the_contract(sdc: Sdc, published: Published) -> None:
    result = sdc("search", "face", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert sorted(answer) == sorted(SEARCH_FIELDS)
    assert answer["query"] == "face"
    assert answer["encoder"] == published.encoder
    assert answer["run"] == published.run
    assert answer["dataset"] == "lab-a"
    assert answer["method"] == "masks"
    assert answer["prompt"] == ["{}"]
    assert "Benjamini-Hochberg" in answer["q_family"]
    assert len(answer["concepts"]) == 6
    for concept in answer["concepts"]:
        assert sorted(concept) == sorted(CONCEPT_FIELDS)
        assert isinstance(concept["id"], int)
        assert isinstance(concept["label"], str)
        assert -1 <= concept["similarity"] <= 1
        assert concept["direction"] in ("positive", "negative")
        for claim in ("shared", "decodable", "specific", "agreeing", "stable"):
            assert concept[claim] in (True, False, None)
        assert (concept["reason"] is None) == (concept["shared"] is True)
        assert set(concept["reasons"]) <= {"decodable", "specific", "agreeing", "stable"}
        prevalence = concept["prevalence"]
        assert prevalence is None or sorted(prevalence) == ["estimate", "high", "low"]
        assert set(concept["subjects"]) <= {"subj01", "subj02"}
        assert 0 <= concept["p_value"] <= concept["q_value"] <= 1
        assert sorted(concept["stability"]) == ["chance", "cosine", "dice", "seeds"]
        assert concept["regions"]
        assert concept["place"] is None
    assert answer["regions"]
    assert (answer["place"], answer["match"]) == (None, None)
    assert answer["match_reason"].startswith("the encoder's vocabulary has 18 words, and at least")
    carrying = [*answer["regions"], *(r for c in answer["concepts"] for r in c["regions"])]
    weaker = [
        *answer["weaker_regions"],
        *(region for concept in answer["concepts"] for region in concept["weaker_regions"]),
    ]
    assert max(each["q_value"] for each in carrying) <= 0.05
    assert min(each["q_value"] for each in weaker) > 0.05
    for region in [*carrying, *weaker]:
        assert sorted(region) == sorted(REGION_FIELDS)
        assert region["subject"] in ("subj01", "subj02")
        assert isinstance(region["atlas"], str)
        assert isinstance(region["region"], str)
        assert isinstance(region["score"], float)
        assert 0 <= region["auc_low"] <= region["auc"] <= region["auc_high"] <= 1
        assert 0 <= region["p_value"] <= region["q_value"] <= 1
        assert isinstance(region["n_voxels"], int)
        if region["peak_mm"] is None:
            assert region["space"] is None
        else:
            assert [type(each) for each in region["peak_mm"]] == [float, float, float]
            assert region["space"] == "MNI"


def test_search_with_arithmetic(sdc: Sdc, published: Published) -> None:
    words = ("search", "food", "--plus", "letter", "--minus", "face", "--negate", "-k", "6")
    answer = json.loads(sdc(*words, "--json").stdout)
    assert (answer["plus"], answer["minus"], answer["negated"]) == (["letter"], ["face"], True)
    assert answer["concepts"][0]["id"] == published.components["face"]
    head = sdc(*words).stdout.splitlines()[0]
    assert head.startswith('not ("food" + "letter" - "face") in lab-a, run ')


def test_search_as_tables(sdc: Sdc, published: Published) -> None:
    result = sdc("search", "face", "-k", "2")
    head, match, _, concepts, *hits, blank, regions, first, second, weaker = (
        result.stdout.splitlines()
    )
    assert match.startswith("whether a concept is near to it was not measured: the encoder's voc")
    assert weaker == "others carry none of them: --json tells these as weaker_regions"
    assert head == f'"face" in lab-a, run {published.run} (masks), {published.encoder}'
    assert concepts.startswith("concept\tlabel\tsimilarity")
    assert hits[0].startswith(f"{published.components['face']}\tface, ")
    assert hits[0].endswith("\t0.75 (2)\tfloc:FFA")
    assert (len(hits), blank) == (2, "")
    assert regions == "subject\tatlas\tregion\tscore\tAUC\tq\tvoxels\tresponds\tpeak mm\tspace"
    assert "\t0.004\t5\tmore\t-40 -40 -40\tMNI" in first
    assert "FFA" in first
    assert "FFA" in second


def test_a_region_that_responds_less_is_named_so(sdc: Sdc, published: Published) -> None:
    lines = sdc("search", LESS, "-k", "1").stdout.splitlines()
    assert lines[4].endswith("\tfloc:food patch (responds less)")
    assert "\t5\tless\t" in lines[7]
    assert "responds less" not in sdc("search", UNLOCATED, "-k", "1").stdout


def test_options_narrow_a_search(sdc: Sdc, published: Published) -> None:
    words = ("--dataset", "lab-a", "--subject", "subj02", "--atlas", "floc", "-k", "3", "--json")
    answer = json.loads(sdc("search", "face", *words).stdout)
    told = [*answer["regions"], *answer["weaker_regions"]]
    assert {each["subject"] for each in told} == {"subj02"}
    assert len(answer["concepts"]) == len(answer["weaker_regions"]) == 3
    assert 0 < len(answer["regions"]) <= 3


def test_search_by_a_map(sdc: Sdc, session: Session, published: Published, tmp_path: Path) -> None:
    """A mask, as it is exported, finds its own concept."""
    file = tmp_path / "mask.nii.gz"
    food = published.components["food"]
    file.write_bytes(mask_volume(session, food, "subj02", "native").content)
    words = ("search-map", file, "--native", "--subject", "subj02", "--permutations", "199")
    answer = json.loads(sdc(*words, "--seed", "3", "--json").stdout)
    assert (answer["map"], answer["space"], answer["run"]) == (file.name, "native", published.run)
    assert (answer["permutations"], answer["seed"]) == (199, 3)
    assert answer["voxels"] == {"subj02": 30}
    assert answer["concepts"][0]["id"] == food
    head, _, columns, first, _, blank, covered, voxels = sdc(*words, "-k", "2").stdout.splitlines()
    assert head == (
        f"mask.nii.gz (native) in lab-a, run {published.run} (masks), {published.encoder}; "
        "199 surrogate maps"
    )
    assert columns == "concept\tlabel\tcorrelation\tp\tq\tshared\tby subject"
    assert first.startswith(f"{food}\tfood, ")
    assert first.endswith("\tno\tsubj02 1.000")
    assert (blank, covered, voxels) == ("", "subject\tvoxels covered", "subj02\t30")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.nii",), "missing.nii cannot be read: "),
        ((".",), ". cannot be read: "),
        (("x.nii",), "x.nii is no NIfTI file"),
        (("x.nii", "--native"), "native mm are each participant's own"),
        (("x.nii", "--permutations", "5"), "permutations is 5"),
        (("x.nii", "--seed", "-1"), "the seed is -1"),
    ],
)
def test_maps_that_cannot_be_searched_by(
    sdc: Sdc,
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.nii").write_bytes(b"x" * 400)
    result = sdc("search-map", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_templates_are_told_and_kept(sdc: Sdc, own_published: Published) -> None:
    answer = json.loads(sdc("search", "dog", "--template", "a photo of {}", "--json").stdout)
    assert answer["prompt"] == ["a photo of {}"]
    answer = json.loads(sdc("search", "dog", "--ensemble", "--json").stdout)
    assert len(answer["prompt"]) > 2
    with open_session() as session:
        templates = session.scalars(select(Term.template).where(Term.text == "dog")).all()
    assert sorted(templates) == sorted(answer["prompt"])


def test_show_similar_datasets_and_runs(sdc: Sdc, published: Published) -> None:
    face = published.components["face"]
    shown = json.loads(sdc("show", face, "--json").stdout)
    assert (shown["id"], shown["best"][0]["captions"]) == (face, ["face"])
    near = json.loads(sdc("similar", face, "-k", "2", "--json").stdout)
    assert shown["negation"]["terms"] == ["house"]
    assert [each["stimulus"] for each in shown["negation"]["stimuli"]] == ["house-1"]
    assert len(near["concepts"]) == 2
    assert [near["method"], *(each["method"] for each in near["concepts"])] == ["masks"] * 3
    (dataset,) = json.loads(sdc("datasets", "--json").stdout)["datasets"]
    assert dataset["subjects"] == ["subj01", "subj02"]
    assert (dataset["stimuli"], dataset["atlases"]) == (6, ["floc"])
    assert (dataset["run"], dataset["encoder"]) == (published.run, published.encoder)
    assert dataset["method"] == "masks"
    (run,) = json.loads(sdc("runs", "--dataset", "lab-a", "--json").stdout)["runs"]
    assert (run["run"], run["current"], run["method"]) == (published.run, True, "masks")
    assert (run["components"], run["shared"], run["not_measured"]) == (6, 2, 1)
    assert run["reproducible"] is True
    assert run["metrics"]["decoders"]["subj01"]["top1_interval"] == [0.4, 0.6]
    assert run["metrics"]["decoders"]["subj02"]["against_ridge"] == AGAINST_RIDGE
    printed = sdc("show", face).stdout
    assert "best stimuli\tscore\tcaptions\nface-1\t1.000\tface" in printed
    assert "farthest stimuli\tsimilarity\tcaptions\nhouse-1\t-0.400\thouse" in printed
    assert "negations: house" in printed
    assert "method: masks" in printed
    near = sdc("similar", face).stdout
    assert near.count("lab-a") == 5
    assert near.count("\tmasks") == 5
    assert near.count("\tnot measured\t") == 1
    assert f"run {published.run} (masks), {published.encoder}" in near
    assert "lab-a\tPictures in lab-a\tsubj01, subj02\t6\tfloc" in sdc("datasets").stdout
    listed = sdc("runs").stdout
    assert f"{published.run}\t*\tlab-a\t{published.encoder}\tmasks\t6\t2\t1\tyes\t7" in listed


def test_show_tells_each_claim_and_each_participant(sdc: Sdc, published: Published) -> None:
    told = {name: sdc("show", id_).stdout for name, id_ in published.components.items()}
    assert "shared: yes\n" in told["face"]
    assert "prevalence: 0.90 (0.40 to 1.00)\n" in told["face"]
    assert (
        "claim\tholds\tp\tq\tfigure\treason\n"
        "decodable\tyes\t0.001\t0.002\t2 of 2 participants\t-\n"
        "specific\tyes\t0.003\t0.005\t-\t-\n"
        "agreeing\tyes\t0.010\t0.020\tcorrelation 0.60\t-\n"
        "stable\tyes\t-\t-\tcosine 0.90, chance 0.35, found again in 2 of 2 participants\t-\n"
    ) in told["face"]
    assert (
        "subject\tdecodes\tr hard\t95 %\tr normalised\tp\tq\tr soft\tp soft\tr unmasked"
        "\tp unmasked\tp specific\tr without\tp without\tvoxels\tresponds\tvoxels needed\tpeak mm"
        "\tspace\treason\n"
        "subj01\tyes\t0.400\t0.30 to 0.50\t0.800\t0.001\t0.002\t0.450\t0.003\t0.500\t0.002"
        "\t0.004\t0.350\t0.005\t5\tmore\t4\t-40 -40 -40\t"
    ) in told["face"]
    assert "\t5\tless\t4\t" in told[LESS]
    assert "\t5\t-\t-\t" in told[UNLOCATED]
    assert "shared: not measured\n" in told[UNMEASURED]
    assert "reason: other seeds have no masks of it\n" in told[UNMEASURED]
    assert "\nstable\tnot measured\t-\t-\tcosine 0.90, chance 0.35\tother" in told[UNMEASURED]
    assert "prevalence" not in told[UNMEASURED]
    assert "shared: no\n" in told["animal"]
    assert (
        "\ndecodable\tno\t0.200\t0.200\t1 of 2 participants\tdecodable in too few"
        in (told["animal"])
    )
    assert "\nagreeing\tnot measured\t-\t-\t-\tthere is one mask alone\n" in told["animal"]
    assert "\tAUC\t95 %\tDice\tp\tq\tvoxels\tresponds\tpeak mm\t" in told["face"]


def test_concepts_are_listed_by_what_is_claimed_of_them(sdc: Sdc, published: Published) -> None:
    columns, *lines = sdc("concepts").stdout.splitlines()
    assert columns == (
        "concept\tlabel\tdataset\trun\tshared\tdecodable\tspecific\tagreeing\tstable\tsubjects"
        "\tq\treason"
    )
    assert [int(line.split("\t")[0]) for line in lines] == [*published.components.values()]
    cells = {line.split("\t")[0]: line.split("\t") for line in lines}
    assert cells[str(published.components["house"])][4:9] == ["no", "yes", "no", "yes", "no"]
    assert cells[str(published.components[UNMEASURED])][4] == "not measured"
    for words, expected in (
        (("--shared",), SHARED),
        (("--not-shared",), ("house", "food", "animal")),
        (("--not-agreeing",), ("food",)),
        (("--stable", "--decodable", "--not-specific"), ()),
        (("--specific", "--subject", "subj02", "--text", "food"), ("food",)),
    ):
        answer = json.loads(sdc("concepts", *words, "--json").stdout)
        found = {each["id"] for each in answer["items"]}
        assert found == {published.components[name] for name in expected}
        assert answer["total"] == len(expected)


def test_a_list_of_concepts_goes_on_where_it_ended(sdc: Sdc, published: Published) -> None:
    first = sdc("concepts", "--limit", "4")
    (note,) = first.stderr.splitlines()
    assert note.startswith("6 in all; --cursor ")
    rest = sdc("concepts", "--limit", "4", "--cursor", note.split()[4])
    ids = [
        int(line.split("\t")[0]) for each in (first, rest) for line in each.stdout.splitlines()[1:]
    ]
    assert ids == [*published.components.values()]
    assert rest.stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--limit", "0"), "limit is 0"),
        (("--cursor", "x"), "the cursor is none of this catalog's"),
        (("--run", "99"), "there is no run 99"),
        (("--dataset", "lab-z"), "no dataset 'lab-z'"),
        (("--text", " "), "the text is empty"),
        (("--shared=maybe",), "does not take a value"),
    ],
)
def test_lists_of_concepts_that_cannot_be_had(
    sdc: Sdc, published: Published, words: tuple[str, ...], message: str
) -> None:
    result = sdc("concepts", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_other_seeds_find_stands_beside_every_concept(sdc: Sdc, published: Published) -> None:
    words = {name: sdc("show", id_).stdout for name, id_ in published.components.items()}
    assert "other seeds that find it: 2\ncosine with theirs: 0.900\n" in words["face"]
    assert "Dice with their masks: 0.750\n" in words["face"]
    assert "cosine of the next best matching: 0.300\n" in words["face"]
    assert "Dice of masks not matched: 0.100\n" in words["face"]
    assert "Dice with their masks: -\n" in words[UNMASKED]
    columns, *lines = sdc("similar", published.components["face"]).stdout.splitlines()[2:]
    place = columns.split("\t").index("stable")
    stable = {int(line.split("\t")[0]): line.split("\t")[place] for line in lines}
    assert stable.pop(published.components[UNMASKED]) == "- (2)"
    assert set(stable.values()) == {"0.75 (2)"}


def test_concepts_that_were_not_compared_say_nothing_of_seeds(
    sdc: Sdc, own_published: Published
) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE catalog.component SET stability_seeds = NULL"))
        connection.execute(text("UPDATE catalog.run SET metrics = '{}'"))
    face = own_published.components["face"]
    assert "seeds" not in sdc("show", face).stdout
    answer = json.loads(sdc("search", "face", "--json").stdout)
    assert {concept["stability"] for concept in answer["concepts"]} == {None}
    assert sdc("search", "face").stdout.splitlines()[4].endswith("\t-\tfloc:FFA")


def test_network_tells_communities_and_edges(sdc: Sdc, published: Published) -> None:
    answer = json.loads(sdc("network", "subj01", "--json").stdout)
    assert sorted(answer) == sorted(
        ("subject", "dataset", "run", "encoder", "method", "q_family", "nodes", "edges")
    )
    assert (answer["subject"], answer["run"]) == ("subj01", published.run)
    assert sorted(answer["nodes"][0]) == sorted(
        (
            *("id", "label", "n_voxels", "responds", "community", "strength"),
            *("shared", "decodable", "specific", "agreeing", "stable"),
            *("reason", "reasons", "prevalence"),
        )
    )
    assert sorted(answer["edges"][0]) == sorted(
        ("source", "target", "dice", "cosine", "weight", "p_value", "q_value")
    )
    result = sdc("network", "subj01", "--dataset", "lab-a", "--run", published.run)
    assert (result.exit_code, result.stderr) == (0, "")
    head, _, columns, *lines = result.stdout.splitlines()
    assert head == (
        f"subj01 in lab-a, run {published.run} (masks), {published.encoder}: "
        "6 concepts, 3 edges, 3 communities"
    )
    assert columns == "community\tconcept\tlabel\tshared\tvoxels\tresponds\tstrength"
    assert sum("\tnot measured\t" in line for line in lines[:6]) == 1
    assert lines[0].startswith(f"1\t{published.components['face']}\tface, ")
    assert lines[0].endswith("\tyes\t5\tmore\t0.700")
    assert lines[6:8] == ["", "concept\tlabel\tconcept\tlabel\tweight\tDice\tq\tcosine"]
    assert lines[8].endswith("\t0.400\t0.000\t1.000\t0.800")
    assert len(lines) == 11


def test_network_is_written_to_files(sdc: Sdc, published: Published, tmp_path: Path) -> None:
    file = tmp_path / "network.graphml"
    file.write_text("an older one")
    result = sdc("network", "subj01", "--graphml", file, "--json")
    assert (result.exit_code, result.stderr) == (0, f"wrote {file}\n")
    graph = read_graphml(file, node_type=int)
    answer = json.loads(result.stdout)
    assert [*graph.nodes] == [node["id"] for node in answer["nodes"]]
    assert list(tmp_path.iterdir()) == [file]


def test_network_is_drawn(sdc: Sdc, published: Published, tmp_path: Path) -> None:
    file = tmp_path / "network.png"
    result = sdc("network", "subj01", "--figure", file)
    assert (result.exit_code, result.stderr) == (0, f"wrote {file}\n")
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--graphml", "nowhere/network.graphml", "cannot be written: No such file or directory"),
        ("--graphml", "", "is no file"),
        ("--figure", "network.jpg", "is no name of a PNG file (give a name that ends in .png)"),
    ],
)
def test_a_file_that_a_network_cannot_be_written_to(
    sdc: Sdc, published: Published, tmp_path: Path, option: str, name: str, message: str
) -> None:
    result = sdc("network", "subj01", option, tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {tmp_path / name} ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_terms_are_added_from_words_and_from_a_file(
    sdc: Sdc, own_published: Published, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("the sign\n\n  the face  \n", "utf-8")
    result = sdc("terms", "add", "the dog", "--file", file, "--json")
    assert json.loads(result.stdout)["encoders"][0]["added"] == 3
    result = sdc("terms", "add", "--file", "-", input="the dog\nthe street\n")
    assert result.stdout.splitlines()[1].startswith(f"{own_published.encoder}\t1\t1\t")
    file.write_text(f"the sign\n\n{'x' * 1001}\n", "utf-8")
    result = sdc("terms", "add", "--file", file)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {file}, line 3: has 1001 characters")
    file.write_bytes(b"the sign\n\xff\n")
    result = sdc("terms", "add", "--file", file)
    assert result.stderr.startswith(f"error: {file}, line 2: cannot be read as text: byte 0xff")


def test_the_time_limit_of_a_command_outlives_its_commits(catalog: Path) -> None:
    limit = text("SELECT current_setting('statement_timeout')")
    with own_session() as session:
        before = session.scalar(limit)
        session.commit()
        assert session.scalar(limit) == before != "0"
    with open_session() as session:
        assert session.scalar(limit) == "0"


def test_terms_are_built(sdc: Sdc, own_published: Published) -> None:
    with open_session() as session, session.begin():
        session.execute(text("DELETE FROM catalog.term WHERE text IN ('dog', 'pizza')"))
    result = sdc("terms", "build", "--dataset", "lab-a", "--json")
    assert result.exit_code == 0
    (told,) = json.loads(result.stdout)["encoders"]
    assert told.pop("seconds") >= 0
    assert told == {"encoder": own_published.encoder, "added": 2, "known": 16, "warnings": []}
    with open_session() as session:
        assert session.scalar(select(func.count(Term.id))) == 18
    header, line = sdc("terms", "build").stdout.splitlines()
    assert header == "encoder\tadded\tknown already\tseconds"
    assert line.startswith(f"{own_published.encoder}\t0\t18\t")


BAD = [
    (("search", " "), 2, "prompt is empty"),
    (("search", "x" * 1001), 2, "1001 characters"),
    (("search", "face", "-k", "0"), 2, "k is 0"),
    (("search", "face", "-k", "1001"), 2, "k is 1001"),
    (("search", "face", "-k", "many"), 2, "'-k'"),
    (("search", "face", "--dataset", "lab-z"), 2, "'lab-z' is in the catalog (known: lab-a)"),
    (("search", "face", "--subject", "subj9"), 2, "no subject 'subj9' (known: subj01, subj02)"),
    (("search", "face", "--atlas", "x"), 2, "no atlas 'x' (known: floc)"),
    (("search", "face", "--run", "77"), 2, "no run 77"),
    (("search", "quasar"), 2, "no vector for 'quasar'"),
    (("search", "face", "--ensemble", "--template", "a {}"), 2, "--template and --ensemble"),
    (("search", "face", "--template", "a"), 2, "must hold {} once"),
    (("search",), 2, "Missing argument"),
    (("search", "face", "--colour"), 2, "--colour"),
    (("show", "77"), 2, "no component 77"),
    (("show", "face"), 2, "Invalid value"),
    (("similar", "77"), 2, "no component 77"),
    (("similar", "1", "-k", "0"), 2, "k is 0"),
    (("network",), 2, "Missing argument"),
    (("network", "subj9"), 2, "no subject 'subj9' (known: subj01, subj02)"),
    (("network", "subj01", "--dataset", "lab-z"), 2, "'lab-z'"),
    (("network", "subj01", "--run", "77"), 2, "no run 77"),
    (("runs", "--dataset", "lab-z"), 2, "'lab-z'"),
    (("terms", "add"), 2, "no text"),
    (("terms", "add", "quasar"), 2, "no vector for 'quasar'"),
    (("terms", "add", "--file", "nowhere.txt"), 2, "nowhere.txt: cannot be read"),
    (("terms", "add", "dog", "--encoder", "none"), 2, "no encoder 'none'"),
    (("terms", "build", "--encoder", "none"), 2, "unknown encoder 'none'"),
    (("terms",), 2, "Missing command"),
    (("nothing",), 2, "No such command 'nothing'"),
]


@pytest.mark.parametrize(("words", "status", "message"), BAD)
def test_wrong_input_is_one_line_and_changes_nothing(
    sdc: Sdc,
    published: Published,
    count_rows: Callable[[], Counts],
    words: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    before = count_rows()
    result = sdc(*words)
    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert count_rows() == before


@pytest.mark.parametrize("revision", ["base", "0001"])
def test_a_catalog_at_another_migration_names_the_command(
    sdc: Sdc, own_published: Published, revision: str
) -> None:
    downgrade(get_engine(), revision)
    result = sdc("search", "face", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "run `sdc db upgrade`" in result.stderr
    assert current_revision(get_engine()) == (None if revision == "base" else revision)
    assert head_revision() in sdc("db", "upgrade").stdout
    assert sdc("datasets").exit_code == 0


def test_a_query_that_takes_too_long_is_stopped(
    sdc: Sdc, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.datasets.repository.list_datasets",
        lambda session: session.execute(text("SELECT pg_sleep(20)")),
    )
    monkeypatch.setenv("SDC_STATEMENT_TIMEOUT_S", "0.05")
    get_settings.cache_clear()
    result = sdc("datasets")
    assert result.exit_code == 1
    assert "SDC_STATEMENT_TIMEOUT_S" in result.stderr


def test_a_fault_nobody_foresaw_shows_its_traceback_with_debug_alone(
    sdc: Sdc, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("app.datasets.service.list_datasets", fail)
    result = sdc("datasets")
    assert result.exit_code == 1
    assert result.stderr == ("error: ZeroDivisionError: two lines (--debug shows the traceback)\n")
    for words in (("datasets", "--debug"), ("--debug", "datasets")):
        told = sdc(*words)
        assert told.exit_code == 1
        assert "Traceback" in told.stderr
        assert told.stderr.endswith("error: ZeroDivisionError: two lines\n")


def test_debug_after_two_dashes_is_a_text(sdc: Sdc, published: Published) -> None:
    assert "no vector for '--debug'" in sdc("search", "--", "--debug").stderr


def test_help_names_every_command(sdc: Sdc) -> None:
    told = sdc().stdout
    assert sdc().exit_code == 0
    for command in (
        "search",
        "similar",
        "show",
        "network",
        "datasets",
        "runs",
        "mcp",
        "terms",
        "db",
        "doctor",
        "gc",
    ):
        assert f" {command} " in told


def test_the_url_hides_its_password_until_asked(
    sdc: Sdc, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SDC_DATABASE_URL", "postgresql://who:secret@somewhere/catalog")
        get_settings.cache_clear()
        assert sdc("db", "url").stdout == "postgresql://who:***@somewhere/catalog\n"
        told = sdc("db", "url", "--password")
        assert told.stdout == "postgresql://who:secret@somewhere/catalog\n"
        assert told.stderr == ""
    get_settings.cache_clear()


def test_doctor(sdc: Sdc, own_published: Published, own_table: Path) -> None:
    sound = sdc("doctor")
    assert sound.exit_code == 0
    assert all(line.startswith("ok ") for line in sound.stdout.splitlines())
    write_table(own_table, seed=2)
    faulty = sdc("doctor")
    assert faulty.exit_code == 1
    (fault,) = [line for line in faulty.stdout.splitlines() if line.startswith("fault")]
    assert f"encoder {own_published.encoder}: " in fault
    report = json.loads(sdc("doctor", "--json").stdout)
    assert not report["ok"]
    assert [each["name"].split()[0] for each in report["checks"] if not each["ok"]] == ["encoder"]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings two commands, one of which cannot be imported."""
    info = tmp_path / "greeter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sdc.commands]\ngreet = greeter:greet\nbroken = greeter:missing\n"
    )
    (tmp_path / "greeter.py").write_text(
        "import typer\nfrom app.errors import ConflictError\n"
        "def greet(name: str, json: bool = typer.Option(False, '--json')) -> None:\n"
        "    '''Greet somebody.'''\n"
        "    if name == 'nobody':\n"
        "        raise ConflictError('nobody is there', hint='greet somebody')\n"
        "    print('hello', name, json)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugins")
def test_commands_of_other_packages(sdc: Sdc) -> None:
    assert sdc("greet", "you", "--json").stdout == "hello you True\n"
    assert "Greet somebody" in sdc("greet", "--help").stdout
    refused = sdc("greet", "nobody")
    assert refused.exit_code == 2
    assert refused.stderr == "error: nobody is there (greet somebody)\n"
    assert sdc("greet").exit_code == 2


@pytest.mark.usefixtures("plugins")
def test_a_command_that_cannot_be_loaded_stops_no_other(sdc: Sdc) -> None:
    result = sdc("broken")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the command broken (greeter:missing) cannot be loaded")
    assert sdc("greet", "you").exit_code == 0
