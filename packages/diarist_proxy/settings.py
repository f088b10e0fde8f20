"""The proxy's settings, read once by the host from `DIARIST_*` variables and the names label-studio-ml users know.

The tables in docs/label-studio.md are generated from the descriptions below.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _named(field: str, *others: str) -> AliasChoices:
    """The variables that set a field: `DIARIST_<FIELD>`, then the names it has elsewhere."""
    return AliasChoices(f"DIARIST_{field.upper()}", *others)


class ProxySettings(BaseSettings):
    """Everything an operator of the proxy can set; in code, by the fields' own names.

    Two variables have other names than their fields, because the model in the child process reads its settings
    from the same environment: `DIARIST_THREADS` and `DIARIST_DATA_DIR` are its own.
    """

    # What `populate_by_name` lets the environment say too has this prefix: it is never plain LANGUAGE or HOST.
    model_config = SettingsConfigDict(
        env_prefix="DIARIST_PROXY_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    # Where it listens, and who may call.
    host: str = Field("127.0.0.1", validation_alias=_named("host"), description="address to listen on")
    port: int = Field(9090, ge=0, le=65535, validation_alias=_named("port", "PORT"), description="port to listen on")
    workers: int = Field(
        1, ge=1, le=64, validation_alias=_named("workers", "WORKERS"), description="processes that serve and work jobs"
    )
    threads: int = Field(
        8, ge=1, le=256, validation_alias=_named("request_threads", "THREADS"), description="requests at once in each"
    )
    basic_auth_user: str | None = Field(
        None, validation_alias=_named("basic_auth_user", "BASIC_AUTH_USER"), description="user that callers must name"
    )
    basic_auth_pass: SecretStr | None = Field(
        None, validation_alias=_named("basic_auth_pass", "BASIC_AUTH_PASS"), description="and their password"
    )
    path_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("path_secret"),
        description="secret that every path must start with, /SECRET/predict; covers Label Studio's webhooks, which "
        "send no password",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", validation_alias=_named("log_level", "LOG_LEVEL"), description="least severe lines logged"
    )

    # Where the model lives.
    endpoint: str = Field(
        "local",
        validation_alias=_named("endpoint"),
        description="the model's home: local (a child process), the URL of a Truss server, or baseten:<model id>",
    )
    baseten_api_key: SecretStr | None = Field(
        None, validation_alias=_named("baseten_api_key", "BASETEN_API_KEY"), description="key of the Baseten workspace"
    )
    baseten_environment: str = Field(
        "production",
        validation_alias=_named("baseten_environment"),
        description="environment to call, development, or deployment/<id>",
    )
    baseten_region: str | None = Field(
        None,
        validation_alias=_named("baseten_region"),
        description="the environment's name, where it is restricted to a region: model-<id>-<name>.api.baseten.co",
    )
    baseten_mode: Literal["sync", "async"] = Field(
        "sync", validation_alias=_named("baseten_mode"), description="how Baseten is asked: predict, or async_predict"
    )
    baseten_webhook_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("baseten_webhook_secret"),
        description="secret that signs the results which Baseten sends to /baseten/webhook",
    )
    public_url: str | None = Field(
        None, validation_alias=_named("public_url"), description="https URL at which Baseten reaches this proxy"
    )
    object_store: str | None = Field(
        None,
        validation_alias=_named("object_store"),
        description="s3://bucket/prefix, gs://… or az://… for recordings too large for a request, and async results",
    )
    endpoint_timeout_seconds: float = Field(
        1200, gt=0, validation_alias=_named("endpoint_timeout_seconds"), description="longest wait for one answer"
    )
    idle_unload_seconds: float = Field(
        900,
        ge=0,
        validation_alias=_named("idle_unload_seconds"),
        description="the local model gives its memory back after so long without work; 0 keeps it",
    )

    # Label Studio.
    label_studio_url: str = Field(
        "http://localhost:8080",
        validation_alias=_named("label_studio_url", "LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        description="Label Studio, as this proxy reaches it",
    )
    label_studio_api_key: SecretStr | None = Field(
        None,
        validation_alias=_named("label_studio_api_key", "LABEL_STUDIO_API_KEY"),
        description="personal access token, or a legacy token, of a user who may see the projects",
    )
    label_studio_timeout_seconds: float = Field(
        60, gt=0, validation_alias=_named("label_studio_timeout_seconds"), description="longest wait for Label Studio"
    )
    backend: str = Field(
        "diarist_proxy.label_studio.backend:DiaristBackend",
        validation_alias=_named("backend"),
        description="module:Class of the team's own logic",
    )
    model_version: str | None = Field(
        None,
        validation_alias=_named("model_version"),
        description="name of the version that predictions get; default what the model itself says",
    )
    interactive_timeout_seconds: float = Field(
        60, gt=0, validation_alias=_named("interactive_timeout_seconds"), description="longest wait for a drawn region"
    )
    remember_renames: bool = Field(
        True,
        validation_alias=_named("remember_renames"),
        description="give speakers the labels that people gave them in the project before",
    )
    errors_on_tasks: bool = Field(
        True, validation_alias=_named("errors_on_tasks"), description="write why a task failed into its meta"
    )

    # What the model is asked for, unless project or task say otherwise.
    language: str | None = Field(None, validation_alias=_named("language"), description="Whisper's code; else detected")
    num_speakers: int | None = Field(None, ge=1, le=50, validation_alias=_named("num_speakers"), description="how many")
    min_speakers: int | None = Field(None, ge=1, le=50, validation_alias=_named("min_speakers"), description="at least")
    max_speakers: int | None = Field(None, ge=1, le=50, validation_alias=_named("max_speakers"), description="at most")
    initial_prompt: str | None = Field(
        None, validation_alias=_named("initial_prompt"), description="text that shows the style wanted"
    )
    hotwords: str | None = Field(None, validation_alias=_named("hotwords"), description="words to expect")
    text_format: Literal["speakers", "plain", "srt", "vtt"] = Field(
        "speakers",
        validation_alias=_named("text_format"),
        description="how a whole recording's text is written: a line a segment with its speaker, text alone, subtitles",
    )

    # Recordings.
    max_bytes: int = Field(
        2_000_000_000, gt=0, validation_alias=_named("max_bytes"), description="largest recording accepted, in bytes"
    )
    fetch_timeout_seconds: float = Field(
        600,
        gt=0,
        validation_alias=_named("fetch_timeout_seconds"),
        description="longest download of one recording",
    )
    fetch_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        validation_alias=_named("fetch_allowed_networks"),
        description="private networks that tasks may point into, as CIDRs; Label Studio itself is always trusted",
    )

    # Jobs.
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("diarist") / "proxy",
        validation_alias=_named("proxy_dir", "MODEL_DIR"),
        description="where the jobs and what was learned are kept",
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_named("database_url"),
        description="postgresql://… where several proxies share the work; default SQLite in the folder above",
    )
    jobs_at_once: int = Field(
        2,
        ge=1,
        le=256,
        validation_alias=_named("jobs_at_once"),
        description="recordings worked on at once, in each process",
    )
    retry_seconds: float = Field(
        3600,
        ge=0,
        validation_alias=_named("retry_seconds"),
        description="how long a job goes on trying while the model or Label Studio is away",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> ProxySettings:
        if (self.basic_auth_user is None) != (self.basic_auth_pass is None):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS belong together: set both, or neither")
        if self.path_secret and not re.fullmatch(r"[\w.~-]+", self.path_secret.get_secret_value().strip("/"), re.ASCII):
            raise ValueError("DIARIST_PATH_SECRET is one part of a path: letters, digits, and - . _ ~ are allowed")
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError("DIARIST_MIN_SPEAKERS is more than DIARIST_MAX_SPEAKERS")
        return self
