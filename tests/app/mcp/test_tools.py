import json
from typing import Any

import pytest
from jsonschema import validate

from tests.app.conftest import Sdc
from tests.app.mcp.conftest import Ask, call, fault, over_stdio, with_client
from tests.app.published import Published

TOOLS = {
    "search": {"prompt", "dataset", "subject", "atlas", "k"},
    "concepts": {
        *("dataset", "run", "shared", "decodable", "specific", "agreeing", "stable"),
        *("subject", "text", "cursor", "limit"),
    },
    "show": {"component"},
    "similar": {"component", "dataset", "run", "subject", "k"},
    "regions": {"prompt", "component", "dataset", "subject", "atlas", "k"},
    "datasets": set(),
    "runs": {"dataset"},
    "show_run": {"run"},
    "sql": {"statement"},
}


def test_tools_are_listed_with_what_they_take_and_give(target: Any) -> None:
    tools = {tool.name: tool for tool in with_client(target, lambda it: it.list_tools()).tools}
    assert {name: set(tool.input_schema["properties"]) for name, tool in tools.items()} == TOOLS
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert len(tool.description) > 50
        for name, field in tool.input_schema["properties"].items():
            assert field["description"], name


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("search", {"prompt": "face", "k": 3}, ("search", "face", "-k", "3")),
        (
            "search",
            {"prompt": "face", "dataset": "lab-a", "subject": "subj02", "atlas": "floc"},
            ("search", "face", "--dataset", "lab-a", "--subject", "subj02", "--atlas", "floc"),
        ),
        ("show", {"component": "face"}, ("show", "face")),
        ("similar", {"component": "face", "k": 2}, ("similar", "face", "-k", "2")),
        (
            "similar",
            {"component": "face", "dataset": "lab-a", "run": 1, "subject": "subj02"},
            ("similar", "face", "--dataset", "lab-a", "--run", "1", "--subject", "subj02"),
        ),
        ("concepts", {}, ("concepts",)),
        (
            "concepts",
            {"shared": False, "stable": True, "specific": True, "limit": 1, "subject": "subj01"},
            (
                *("concepts", "--not-shared", "--stable", "--specific", "--limit", "1"),
                *("--subject", "subj01"),
            ),
        ),
        ("datasets", {}, ("datasets",)),
        ("runs", {"dataset": "lab-a"}, ("runs", "--dataset", "lab-a")),
        ("show_run", {"run": 1}, ("runs", "1")),
    ],
)
def test_tools_answer_what_the_commands_answer(
    ask: Ask,
    url: str,
    sdc: Sdc,
    published: Published,
    tool: str,
    arguments: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    if "component" in arguments:
        arguments = arguments | {"component": published.components["face"]}
        words = (words[0], str(published.components["face"]), *words[2:])
    result = ask(tool, **arguments)
    assert not result.is_error
    assert result.structured_content == json.loads(sdc(*words, "--json").stdout)
    assert json.loads(result.content[0].text) == result.structured_content
    (schema,) = [
        each.output_schema
        for each in with_client(url, lambda client: client.list_tools()).tools
        if each.name == tool
    ]
    validate(result.structured_content, schema)


def test_regions_of_a_text_and_of_a_concept(ask: Ask, sdc: Sdc, published: Published) -> None:
    face = published.components["face"]
    searched = json.loads(sdc("search", "face", "-k", "3", "--json").stdout)
    of_text = ask("regions", prompt="face", k=3).structured_content
    for field in ("regions", "weaker_regions", "place", "match", "match_reason"):
        assert of_text[field] == searched[field]
    assert (of_text["query"], of_text["component"], of_text["label"]) == ("face", None, None)
    of_concept = ask("regions", component=face, subject="subj02", atlas="floc", k=2)
    told = of_concept.structured_content
    assert (told["component"], told["query"]) == (face, None)
    assert told["label"].startswith("face, ")
    assert (told["dataset"], told["run"], told["method"]) == ("lab-a", published.run, "masks")
    assert (told["match"], told["match_reason"]) == (None, "a concept was asked for, and no prompt")
    assert [each["region"] for each in told["regions"]] == ["FFA"]
    assert len(told["weaker_regions"]) == 2
    assert {each["subject"] for each in told["weaker_regions"]} == {"subj02"}
    for region in [*told["regions"], *told["weaker_regions"]]:
        assert region["score"] == pytest.approx(2 * region["auc"] - 1)


BAD = [
    ("search", {"prompt": " "}, "the prompt is empty (give at least one word)"),
    (
        "search",
        {"prompt": "face", "k": 0},
        "k is 0 (ask for 1 to 1,000 answers, the setting SDC_K_",
    ),
    (
        "search",
        {"prompt": "face", "k": 1001},
        "k is 1001 (ask for 1 to 1,000 answers, the setting SDC_K_",
    ),
    ("search", {"prompt": "face", "k": "many"}, "k cannot be used: Input should be a valid int"),
    ("search", {}, "prompt cannot be used: Field required (see the tool's schema)"),
    ("search", {"prompt": "face", "person": 1}, "search takes no 'person' (it takes prompt, dat"),
    ("search", {"prompt": "face", "dataset": "lab-z"}, "no dataset 'lab-z' is in the catalog (kn"),
    ("search", {"prompt": "face", "subject": "subj9"}, "no subject 'subj9' (known: subj01, sub"),
    ("search", {"prompt": "face", "atlas": "x"}, "no atlas 'x' (known: floc)"),
    ("search", {"prompt": "quasar"}, "no vector for 'quasar'"),
    ("show", {"component": 77}, "there is no component 77 (`sdc search TEXT` tells their ids)"),
    ("similar", {"component": 2**40}, f"there is no component {2**40}"),
    ("similar", {"component": 1, "k": -1}, "k is -1"),
    ("similar", {"component": 1, "run": 77}, "there is no run 77"),
    ("similar", {"component": 1, "dataset": "lab-a", "subject": "x"}, "no subject 'x' (known: sub"),
    ("regions", {}, "neither a prompt nor a component is given (give one of them)"),
    ("regions", {"prompt": "face", "component": 1}, "both a prompt and a component are given"),
    ("regions", {"component": 77}, "there is no component 77"),
    ("regions", {"component": 1, "k": 0}, "k is 0"),
    ("regions", {"component": 1, "dataset": "lab-z"}, "no dataset 'lab-z'"),
    ("regions", {"component": 1, "subject": "subj9"}, "no subject 'subj9'"),
    ("regions", {"component": 1, "atlas": "x"}, "no atlas 'x'"),
    ("runs", {"dataset": "lab-z"}, "no dataset 'lab-z'"),
    ("concepts", {"limit": 0}, "limit is 0"),
    ("concepts", {"stable": "perhaps"}, "stable cannot be used: Input should be a valid boolean"),
    ("concepts", {"cursor": "x"}, "the cursor is none of this catalog's"),
    ("concepts", {"text": " "}, "the text is empty"),
    ("datasets", {"k": 3}, "datasets takes no 'k' (it takes nothing)"),
]


@pytest.mark.parametrize(("tool", "arguments", "message"), BAD)
def test_wrong_input_is_one_line(
    ask_http: Ask, published: Published, tool: str, arguments: dict[str, Any], message: str
) -> None:
    if arguments.get("component") == 1:
        arguments = arguments | {"component": published.components["face"]}
    assert message in fault(ask_http(tool, **arguments))


def test_wrong_input_is_one_line_over_stdio_too(
    settings_of_shared: dict[str, str],
) -> None:
    result = call(over_stdio(settings_of_shared), "search", {"prompt": "quasar"})
    assert "no vector for 'quasar'" in fault(result)
