"""What each kind of encoder reads of a text, and how that is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.embedding import Encoder, load_encoder
from app.embedding.open_clip import _text_reader
from app.embedding.text_reading import (
    TextReading,
    caption_warnings,
    read_words,
    reading_warnings,
    require_words,
)
from app.embedding.torchvision_operators import ensure_torchvision
from app.embedding.vocabulary import load_everyday_terms, load_vocabulary
from app.errors import InputError, NotFoundError
from tests.app.small_clip import write_small_clip

ensure_torchvision()
import open_clip  # noqa: E402

MINILM, CLIP = "MiniLM", "CLIP"
THOUSAND = ("seven dogs and a long red train; " * 31)[:1000]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("small clip")
    write_small_clip(folder)
    return {
        MINILM: load_encoder("caption:all-MiniLM-L6-v2"),
        CLIP: load_encoder(f"open_clip:{folder / 'small.json'}:{folder / 'w.safetensors'}"),
    }


@pytest.fixture
def told(encoders: dict[str, Encoder]) -> Callable[..., list[str]]:
    def tell(which: str, text: str, template: str = "{}") -> list[str]:
        return reading_warnings(text, encoders[which].read_text(text, template))

    return tell


def test_what_gets_one_vector_is_told_to_say_nothing(encoders: dict[str, Encoder]) -> None:
    """Symbols without a token are one to the sentence encoder, and each its own to CLIP's bytes."""
    texts = ["😀", "🍕", "고양이", "x" * 1000]
    first, *others = encoders[MINILM].encode_texts(texts)
    assert all((each == first).all() for each in others)
    for text in [*texts, "😀!", "😀 🍕", "\u200b", "\x07"]:
        assert encoders[MINILM].read_text(text).says_nothing
        assert encoders[MINILM].read_text(text, "a photo of {}").says_nothing
    one, another = encoders[CLIP].encode_texts(["😀", "🍕"])
    assert (one != another).any()
    for text in ("😀", "🍕", "😀!"):
        assert encoders[CLIP].read_text(text) == TextReading(2 + len(text), 2 + len(text))
    # What nothing is left of when it is cleaned.
    assert encoders[CLIP].read_text("\x07").says_nothing
    for which in encoders:
        assert not encoders[which].read_text("a face").says_nothing
        assert not encoders[which].read_text("a 😀").says_nothing


def test_words_without_a_token_are_named(told: Callable[..., list[str]]) -> None:
    end = "any others that it does not know would give the same answer"
    assert told(MINILM, "a face 😀 face😀") == [
        f'the encoder knows no word of "😀", "face😀": {end}'
    ]
    assert told(MINILM, "a face", "😀 {}") == [f'the encoder knows no word of "😀": {end}']
    assert told(MINILM, "🍕 on 1 2 3 😀 a🍕 b🍕 c🍕 d🍕 e🍕") == [
        f'the encoder knows no word of "🍕", "😀", "a🍕", "b🍕", "c🍕" and 2 more: {end}'
    ]
    assert told(CLIP, "a face 😀 face😀") == []


@pytest.mark.parametrize(
    ("text", "minilm", "clip"),
    [
        # Another alphabet: its letters are tokens, its words are not.
        ("лицо женщины", ["лицо", "женщины"], ["лицо", "женщины"]),
        ("γάτα", ["γάτα"], ["γάτα"]),
        # One letter, which is no word.
        ("x", ["x"], ["x"]),
        ("é", ["é"], ["é"]),
        # Another language in the same letters is cut as rare words are: `match` tells of it.
        ("ein Gesicht", [], []),
        ("visage d'une femme", [], []),
        # What only looks alike.
        ("I'm a T-rex, it's U.S. 300 m", [], []),
        ("5", [], []),
    ],
)
def test_words_of_letters_alone_are_named(
    told: Callable[..., list[str]], text: str, minilm: list[str], clip: list[str]
) -> None:
    for which, words in ((MINILM, minilm), (CLIP, clip)):
        named = ", ".join(f'"{each}"' for each in words)
        line = f"the encoder reads {named} by letters alone, not as a word that it knows"
        assert told(which, text) == ([line] if words else [])


def test_words_that_people_ask_for_need_no_warning(told: Callable[..., list[str]]) -> None:
    words = list(dict.fromkeys([*load_vocabulary(), *load_everyday_terms()]))
    assert len(words) > 10_000
    assert [each for each in words[::5] if told(CLIP, each)] == []
    # The one of them that it does read by its letters.
    assert set(filter(lambda each: told(MINILM, each), words)) <= {"pj's"}


def test_tokens_beyond_the_context_are_counted(
    encoders: dict[str, Encoder], told: Callable[..., list[str]]
) -> None:
    for which, most in ((MINILM, 256), (CLIP, 77)):
        encoder = encoders[which]
        just = " ".join(["face"] * (most - 2))
        assert encoder.read_text(just) == TextReading(most, most)
        over = encoder.read_text(f"{just} face")
        assert (over.tokens, over.tokens_read) == (most + 1, most)
        # What is told not to count does not.
        one, another = encoder.encode_texts([f"{just} dog", f"{just} train"])
        assert (one == another).all()
        # Words of a template count as well.
        assert encoder.read_text(just, "a photo of {}").tokens == most + 3
        shown = ("face " * 9)[:40]
        assert told(which, just, "a {}") == [
            f'only the first {most} of {most + 1} tokens of "{shown}…" count, '
            "the encoder does not read the rest"
        ]
    assert len(THOUSAND) == 1000
    assert told(MINILM, THOUSAND) == []
    (line,) = told(CLIP, THOUSAND)
    assert line.startswith("only the first 77 of 244 tokens")


def test_a_table_reads_its_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("name,0,1\nface,1,0\n😀,0,1\n")
    table = load_encoder(f"vectors:{path}")
    for text in ("face", "😀", "a photo of a face"):
        assert table.read_text(text) == TextReading(1, 1)
    assert table.read_text("face", "a photo of {}") == TextReading(1, 1)
    with pytest.raises(NotFoundError, match="no vector for '🍕'"):
        table.read_text("🍕")


@pytest.mark.parametrize("mode", ["", "clips"])
def test_tokenizers_of_the_hub_are_read_alike(mode: str) -> None:
    """The count is that of open_clip's own call, and what is cut is what it leaves out."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *("a", "face", "b", "c", "bc")]
    inner = Tokenizer(
        models.WordLevel({each: at for at, each in enumerate(words)}, unk_token="[UNK]")  # noqa: S106
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    ours = open_clip.tokenizer.HFTokenizer.__new__(open_clip.tokenizer.HFTokenizer)
    vars(ours).update(
        tokenizer_mode=mode,
        context_length=8,
        clean_fn=str.strip,
        strip_sep_token=False,
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=inner,
            unk_token="[UNK]",  # noqa: S106
            pad_token="[PAD]",  # noqa: S106
            cls_token="[CLS]",  # noqa: S106
            sep_token="[SEP]",  # noqa: S106
            bos_token="[CLS]",  # noqa: S106
            eos_token="[SEP]",  # noqa: S106
        ),
    )
    count, tokens_of = _text_reader(ours)
    assert tokens_of("face") == ["face"]
    assert tokens_of("😀") == [None]
    for number in range(1, 12):
        text = " ".join(["face"] * number)
        kept = int((ours(text) != 0).sum())
        assert min(count(text), 8) == kept
        assert count(text) == number + (3 if mode else 2)


def test_a_reading_is_of_the_text_its_tokens_of_the_template_too() -> None:
    def tokens_of(word: str) -> list[str | None]:
        return [None if each == "?" else each for each in word]

    def reading(text: str, template: str = "{}", most: int | None = None) -> TextReading:
        return read_words(text, template, count=len, most_tokens=most, tokens_of=tokens_of)

    assert reading("?", "ab {}") == TextReading(4, 4, ("?",), (), says_nothing=True)
    assert reading("a ?", "? {}", 3) == TextReading(5, 3, ("?",), (), says_nothing=False)
    assert reading("cd c2").spelt_words == ("cd", "c2")
    assert reading("12").spelt_words == ()
    assert reading(" . ?!").says_nothing


def test_a_text_that_says_nothing_is_refused_in_one_line() -> None:
    require_words("e", "face", TextReading(3, 3))
    for text, shown in (("😀", '"😀"'), ("\u200b", r"'\u200b'"), ("x" * 50, f'"{"x" * 40}…"')):
        with pytest.raises(InputError) as caught:
            require_words("e", text, TextReading(3, 3, says_nothing=True))
        assert caught.value.message == f"the encoder e knows no word of {shown}"
        assert caught.value.status == 422
        assert "ask in words" in (caught.value.hint or "")


def test_nothing_is_told_of_what_is_read_whole() -> None:
    assert reading_warnings("face", TextReading(3, 3)) == []
    assert len(reading_warnings("face", TextReading(3, 2))) == 1


def test_captions_that_are_not_read_are_counted(encoders: dict[str, Encoder]) -> None:
    read = encoders[MINILM].read_text
    long = "a dog " * 130
    captions = [["a dog", "a dog 😀"], [long, "🍕"], ["a dog 😀"], []]
    assert caption_warnings(list("abcd"), captions, read) == [
        'the encoder does not know all words of 2 of 4 captions, such as "😀"',
        "the encoder does not read the end of 1 of 4 captions, it reads 256 tokens; one is "
        f'"{long[:40]}…"',
    ]
    assert caption_warnings(["a"], [["a dog", "лицо"]], read) == []
    with pytest.raises(InputError) as caught:
        caption_warnings(list("abc"), [["a dog"], ["🍕", "😀"], ["🍕"]], read)
    assert caught.value.message == (
        'the encoder knows no word of the captions of stimulus b: "🍕", "😀"'
    )
