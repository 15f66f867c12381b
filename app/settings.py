"""Every setting of the product, read from the environment and from the home folder."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

HOME_NAME = ".sdc"
# Names a folder with a file for each secret, such as ``sdc_database_url``: containers have it.
SECRETS = "SDC_SECRETS"


def find_home(start: Path | None = None) -> Path:
    """The folder that holds the catalog's state.

    Parameters
    ----------
    start : Path, optional
        Where the search begins; the working folder by default.

    Returns
    -------
    Path
        ``SDC_HOME`` where it is set, else the nearest ``.sdc/`` at or above `start`, as git finds
        its own folder, else the user's data folder.
    """
    if chosen := os.environ.get("SDC_HOME"):
        return Path(chosen).expanduser().resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return Path(platformdirs.user_data_path("sdc"))


class Settings(BaseSettings):
    """Settings with the prefix ``SDC_``; files of ``SDC_SECRETS``, ``settings.toml`` come next."""

    model_config = SettingsConfigDict(env_prefix="SDC_", extra="forbid")

    home: Path = Field(default_factory=find_home, description="Where state lives.")
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL 15+ with pgvector; the embedded server by default."
    )
    reader_url: SecretStr | None = Field(
        default=None,
        description="The same database, logged in to as catalog_reader; SQL of others runs there.",
    )
    sql_rows: int = Field(
        default=200, ge=1, description="Most rows that SQL of others is answered with."
    )
    sql_connections: int = Field(
        default=4, ge=1, description="SQL of others that a process has run at once."
    )
    key: SecretStr | None = Field(
        default=None, description="Key of whoever starts a process that asks in their name."
    )
    store: str = Field(default="", description="fsspec URL of the artefact store.")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    statement_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest time that one reading query may take, in seconds."
    )
    reading_needs_key: bool = Field(
        default=False, description="Whether reading over HTTP needs a key; writing always does."
    )
    trusted_proxies: list[str] = Field(
        default=[],
        description="Addresses or networks of proxies whose X-Forwarded-For counts, a JSON list.",
    )
    allowed_hosts: list[str] = Field(
        default=[],
        description="Names, beside their own, that REST, MCP and Prefect may be asked by, as a "
        "JSON list.",
    )
    requests_per_minute: int = Field(
        default=600, ge=1, description="Most requests of one key, or of one address without one."
    )
    requests_at_once: int = Field(
        default=16,
        ge=1,
        description="Requests that a server process works on at once; each has a thread and a "
        "connection to the database.",
    )
    slow_request_s: float = Field(
        default=30.0,
        gt=0,
        description="Time for a request's head, and for its body beyond 10 kB a second, in s.",
    )
    retries: int = Field(
        default=5,
        ge=0,
        le=20,
        description="How often a step of a flow that may pass is tried again.",
    )
    retry_delay_s: float = Field(
        default=1.0,
        ge=0,
        le=600,
        description="Wait before the first new try, in seconds; each is twice as long as the last.",
    )
    index_from: int = Field(
        default=50_000,
        ge=0,
        description="Voxels of a run above which they get an index; below, all are compared.",
    )
    # These two are no less than what is answered where nobody says how much.
    page_limit: int = Field(default=500, ge=50, description="Most items of one page of a list.")
    k_limit: int = Field(
        default=1000, ge=10, le=100_000, description="Most answers to one question."
    )
    prompt_length: int = Field(
        default=1000, ge=1, le=2600, description="Most characters of a prompt, and of a template."
    )
    prompt_batch: int = Field(default=50, ge=1, le=1000, description="Most prompts of one request.")
    upload_mb: float = Field(default=64.0, gt=0, description="Largest upload of files, in MB.")
    upload_memory_mb: float = Field(
        default=2000.0,
        gt=0,
        description="Memory that all uploads in work may take together in a process, in MB.",
    )
    embed_limit: int = Field(
        default=200,
        ge=1,
        description="Most prompts that one request has embedded, in each template; each counts as "
        "a request of the minute, too.",
    )
    prompt_cache: int = Field(
        default=4096,
        ge=0,
        description="Vectors of prompts of nobody's that a process remembers; they are not stored.",
    )
    json_mb: float = Field(default=4.0, gt=0, description="Largest body without files, in MB.")
    map_mvoxels: float = Field(
        default=20.0, gt=0, description="Largest map that is searched by, in million voxels."
    )
    ingest_roots: list[Path] = Field(
        default=[],
        description="Folders that ingestions asked for over HTTP may read, as a JSON list.",
    )
    backup_key: SecretStr | None = Field(
        default=None,
        description="What backups are signed with; by default backup.key in the home, made once.",
    )
    prefect_auth: SecretStr | None = Field(
        default=None,
        description="Login of Prefect's server, as user:password; by default prefect.auth in the "
        "home, made once.",
    )
    hook_secret: SecretStr | None = Field(
        default=None, description="What the secrets of incoming webhooks are derived from."
    )
    notify_urls: list[SecretStr] = Field(
        default=[], description="Webhooks that are told what became of runs, as a JSON list."
    )
    notify_secret: SecretStr | None = Field(
        default=None, description="What these are signed with (Standard Webhooks, whsec_...)."
    )
    notify_blocks: list[str] = Field(
        default=[],
        description="Prefect's notification blocks that are told the same, such as email/lab.",
    )
    largest_fall: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share by which a run may decode worse than the current one and replace it.",
    )
    ingest_urls: list[str] = Field(
        default=[],
        description="URLs below which ingestions asked for over HTTP may read, as a JSON list.",
    )
    ingest_annex: bool = Field(
        default=False,
        description="Whether ingestions asked for over HTTP may run git-annex to fetch files.",
    )
    ingestion_tries: int = Field(
        default=3, ge=1, description="Starts of an ingestion whose failures may pass."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines of the log that servers and workers write."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity of a line of the log."
    )
    min_free_disk_gb: float = Field(
        default=2.0, ge=0, description="Free disk below which `sdc doctor` complains, in GB."
    )

    @field_validator("device")
    @classmethod
    def _names_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
            raise ValueError(f"{device!r} is no device: use cpu, cuda or cuda:N")
        return device

    @property
    def store_url(self) -> str:
        """Where artefacts live: ``SDC_STORE``, or a folder of the home.

        Raises
        ------
        InputError
            It holds a password.
        """
        from app.urls import require_no_login

        require_no_login(self.store, "SDC_STORE")
        return self.store or str(self.home / "store")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments come before the environment, that before secrets, and these before the file."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=find_home() / "settings.toml")
        if folder := os.environ.get(SECRETS):
            secrets = SecretsSettingsSource(settings_cls, secrets_dir=folder)
            return (init_settings, env_settings, secrets, file)
        return (init_settings, env_settings, file)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
