"""The one family of errors that users meet: a line that names the fault, and what to do."""

# What a message repeats may hold line breaks, sequences that move a terminal, or what is no UTF-8.
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_CONTROLS |= {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
_CONTROLS |= dict.fromkeys(map(ord, "\t\n\v\f\r"), " ")


class CatalogError(Exception):
    """Root of every error a user can cause or mend.

    Parameters
    ----------
    message : str
        One line that names the input or the part at fault; control characters are written out, and
        line breaks are blanks.
    hint : str, optional
        One line that says what to do about it.

    Attributes
    ----------
    status : int
        HTTP status of the problem document.
    exit_code : int
        Exit status of the command line: 2 for wrong usage or input, 1 for anything else.
    """

    status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message.translate(_CONTROLS)
        self.hint = hint.translate(_CONTROLS)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(CatalogError):
    """What was given cannot be used."""

    status = 422
    exit_code = 2


class NotFoundError(CatalogError):
    """What was named does not exist."""

    status = 404
    exit_code = 2


class ConflictError(CatalogError):
    """What was asked contradicts what is stored."""

    status = 409
    exit_code = 2


class UnauthorisedError(CatalogError):
    """A key is needed and none was given, or the one given is none, has expired or was revoked."""

    status = 401
    exit_code = 2


class ForbiddenError(CatalogError):
    """The key does not reach so far."""

    status = 403
    exit_code = 2


class TooManyRequestsError(CatalogError):
    """More was asked for than one asker may in this time."""

    status = 429
    exit_code = 1


class TooLargeError(CatalogError):
    """What was given takes more than the catalog gives to one asker."""

    status = 413
    exit_code = 2


class UnavailableError(CatalogError):
    """A part the catalog needs (server, extension, device) cannot be used now."""

    status = 503
    exit_code = 1


class BusyError(UnavailableError):
    """Others are being answered, and there is no room for one more now.

    Parameters
    ----------
    message, hint : str
        As `CatalogError`.
    retry_after_s : int
        Seconds after which it is worth asking again.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class TooSlowError(UnavailableError):
    """A query was stopped because it took longer than queries may."""

    status = 504


class StorageError(CatalogError):
    """The artefact store or a disk cannot take or give back what it should."""

    status = 507
    exit_code = 1
