"""Prompts that miss: how many unrelated ones are told as matched, how many paraphrases are not.

Asked of the demo's current run, in the catalog that SDC_HOME or SDC_DATABASE_URL names: `make demo`
makes one. The final lists of `tests.benchmarks.prompt_lists` are judged on and no setting may be
chosen on them; SDC_PROMPTS=development asks those that the rule was chosen on.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.errors import NotFoundError
from app.search.schemas import SearchAnswer
from app.search.service import search
from tests.benchmarks import prompt_lists

DEMO = "demo"
MISSPELT = {"hous": "house", "elefant": "elephant", "guitr": "guitar", "flowr": "flower"}

Ask = Callable[[str], SearchAnswer]


def measure() -> Iterator[str]:
    """Shares of the lists that matched, the p of those on the wrong side, and times."""
    which = os.environ.get("SDC_PROMPTS", "final").upper()
    unrelated = getattr(prompt_lists, f"{which}_UNRELATED")
    paraphrases = getattr(prompt_lists, f"{which}_PARAPHRASES")
    with open_session() as session:
        try:
            first = search(session, "a face", dataset=DEMO)
        except NotFoundError as error:
            yield f"not measured: {error}; run `make demo` first"
            return
        yield f"{which.lower()} lists, {first.encoder}, run {first.run}"
        yield from judge(_asking(session), unrelated, paraphrases)
        yield from _times(_asking(session), unrelated)
        session.rollback()


def judge(
    ask: Ask, unrelated: Sequence[str], paraphrases: dict[str, Sequence[str]]
) -> Iterator[str]:
    """Lines on unrelated prompts, on paraphrases, and on misspelt words."""
    wrong = {text: match.p_value for text in unrelated if (match := _match(ask(text))).matched}
    yield (
        f"{len(unrelated)} nonsense and unrelated prompts: {len(wrong)} told as matched "
        f"({len(wrong) / len(unrelated):.0%}){_listed(wrong)}"
    )
    texts = [text for told in paraphrases.values() for text in told]
    missed = {text: match.p_value for text in texts if not (match := _match(ask(text))).matched}
    yield (
        f"{len(texts)} paraphrases of {len(paraphrases)} planted concepts: "
        f"{len(texts) - len(missed)} matched ({1 - len(missed) / len(texts):.0%}); missed"
        f"{_listed(missed)}"
    )
    offered = {text: _match(ask(text)).nearest_words for text in MISSPELT}
    right = sum(offered[text][:1] == [word] for text, word in MISSPELT.items())
    yield f"{len(MISSPELT)} misspelt words: {right} are offered the word that was meant, first"


def _match(answer: SearchAnswer):  # type: ignore[no-untyped-def]
    assert answer.match is not None, answer.match_reason
    return answer.match


def _listed(found: dict[str, float]) -> str:
    told = ", ".join(f"{text!r} ({p:.3f})" for text, p in sorted(found.items(), key=lambda x: x[1]))
    return f": {told}" if told else ": none"


def _asking(session: Session) -> Ask:
    return lambda text: search(session, text, dataset=DEMO)


def _times(ask: Ask, texts: Sequence[str]) -> Iterator[str]:
    seconds = []
    for text in texts:
        started = time.perf_counter()
        ask(text)
        seconds.append(time.perf_counter() - started)
    yield (
        f"a search whose prompt has a vector, match and suggestions included: median "
        f"{1e3 * np.median(seconds):.0f} ms, 95 % within {1e3 * np.percentile(seconds, 95):.0f} ms"
    )
