"""What services say to do, in the words of the way that was asked on."""

import re

# A command is one wherever it is told: whoever runs the catalog types it.
_COMMAND = re.compile(r"`sdc [^`]*`|\bsdc [^;,)]*")
_OPTION = re.compile(r"--([a-z][a-z-]*)( (?:[A-Z][A-Z]+|\d+)\b)?")


def of_requests(hint: str) -> str:
    """A hint with parameters of requests and tools where it names options of the command line.

    Parameters
    ----------
    hint : str
        Such as ``ask it with --run 3``, which becomes ``ask it with run=3``.
    """
    parts, at = [], 0
    for command in _COMMAND.finditer(hint):
        parts += [_OPTION.sub(_parameter, hint[at : command.start()]), command.group()]
        at = command.end()
    return "".join([*parts, _OPTION.sub(_parameter, hint[at:])])


def _parameter(found: "re.Match[str]") -> str:
    name, value = found[1].replace("-", "_"), (found[2] or "").strip()
    return f"{name}={value}" if value else name
