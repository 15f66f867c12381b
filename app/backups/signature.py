"""Who made a backup: a signature by a key that the catalog's home keeps, and no backup holds."""

import hashlib
import hmac
import os
import secrets

from app.errors import InputError, StorageError
from app.settings import Settings

FILE = "backup.key"
_BYTES = 32


def signing_key(settings: Settings) -> bytes:
    """The key that this catalog signs its backups with, made where there is none.

    Raises
    ------
    StorageError
        It can be neither read nor written.
    InputError
        It is too short to be one.
    """
    key = known_key(settings)
    if key is not None:
        return key
    path = settings.home / FILE
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        # Another backup made it just now.
        return signing_key(settings)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}",
            hint="make SDC_HOME writable, or set SDC_BACKUP_KEY",
        ) from error
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    key = known_key(settings)
    assert key is not None  # noqa: S101 - it was written above
    return key


def known_key(settings: Settings) -> bytes | None:
    """The catalog's key: the setting ``backup_key``, else the home's; None where there is none.

    Raises
    ------
    StorageError
        It cannot be read.
    InputError
        It is too short to be one.
    """
    if settings.backup_key is not None:
        text, where = settings.backup_key.get_secret_value(), "SDC_BACKUP_KEY"
    else:
        path = settings.home / FILE
        try:
            text, where = path.read_text(), str(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{path} cannot be read", hint="it holds the key that backups are signed with"
            ) from error
    key = text.strip().encode()
    if len(key) < _BYTES:
        raise InputError(
            f"{where} is no key for backups: it has less than {_BYTES} characters",
            hint=f"`openssl rand -hex {_BYTES}` makes one",
        )
    return key


def sign(key: bytes, content: bytes) -> str:
    """HMAC-SHA256 of a manifest, 64 hexadecimal digits."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def is_signed(key: bytes, content: bytes, signature: bytes) -> bool:
    """Whether `sign` gave this signature."""
    return hmac.compare_digest(sign(key, content).encode(), signature)
