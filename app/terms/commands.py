"""Terms, on the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, Encoder, actor, own_session
from app.errors import InputError

terms_app = typer.Typer(help="Texts with their vectors: the vocabulary and prompts.")


@terms_app.command("add")
def terms_add(
    text: Annotated[list[str] | None, typer.Argument(help="Texts to give a vector.")] = None,
    dataset: Dataset = None,
    encoder: Encoder = None,
    file: Annotated[
        Path | None, typer.Option(help="UTF-8 file of texts, one a line; - is stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give texts a vector, so that SQL can ask them."""
    from app.answers import print_terms
    from app.terms.service import add_terms

    texts = [*(text or []), *(_lines(file) if file else [])]
    with own_session() as session:
        answer = add_terms(session, texts, actor=actor(), dataset=dataset, encoder=encoder)
    console.print_json(answer) if as_json else print_terms(answer)


@terms_app.command("build")
def terms_build(dataset: Dataset = None, encoder: Encoder = None, as_json: AsJson = False) -> None:
    """Give over 10,000 everyday terms a vector; a build that was stopped goes on from there."""
    from app.answers import print_terms
    from app.terms.service import build_vocabulary

    progress = console.stage_progress()
    with own_session() as session:
        answer = build_vocabulary(
            session,
            dataset=dataset,
            encoder=encoder,
            on_progress=lambda done, total: progress("embedding the vocabulary", done, total),
            on_batch=session.commit,
        )
    console.print_json(answer) if as_json else print_terms(answer)


def _lines(file: Path) -> list[str]:
    """The texts of a file or of standard input, each of which could be a prompt.

    Raises
    ------
    InputError
        It cannot be read, or a line is too long, with its number.
    """
    from app.tables import lines_of, read_lines
    from app.terms.prompts import clean_text

    try:
        lines = lines_of(sys.stdin.read()) if str(file) == "-" else read_lines(file)
    except UnicodeDecodeError as error:
        raise InputError(f"{file} cannot be read: {error}", hint="give UTF-8 text") from None
    return [
        clean_text(line, f"{file}, line {number}:")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
