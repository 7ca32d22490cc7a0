"""All configuration, read from the environment once, in the composition roots (`worker.py`, `cli/`) only.

Temporal's own variables (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, profiles) are
read by `temporalio.envconfig` in `transport/client.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from anabranch.cipher import Cipher, cipher_of
from anabranch.errors import ConfigurationError
from anabranch.limits import ELSEWHERE_SECONDS, GRAPH_ELSEWHERE_SECONDS, LEASE_SECONDS, MAX_CONTEXT_SIZE_BYTES
from anabranch.prices import Price, prices_of

_PATTERN = re.compile(r"\*|[A-Z][A-Z0-9_]*\*?", re.ASCII)
_OWN_PREFIXES = ("ANABRANCH_", "TEMPORAL_", "HTTP_SECRET_", "OTEL_")
_OWN_SUFFIXES = ("_API_KEY", "_BASE_URL")


class Settings(BaseSettings):
    """What the environment may configure of a worker or a command."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    task_queue: str = Field(default="anabranch", validation_alias="ANABRANCH_TASK_QUEUE")
    """Where a worker takes its work, and where a command starts runs."""
    graphs: Path = Field(default=Path("examples"), validation_alias="ANABRANCH_GRAPHS")
    """The folder whose YAML files this worker serves by the graph's name."""
    graphs_below: bool = Field(default=True, validation_alias="ANABRANCH_GRAPHS_BELOW")
    """Whether it serves those of the folders below too. A run of one file by a command does without them."""
    inline_graphs: bool = Field(default=False, validation_alias="ANABRANCH_INLINE_GRAPHS")
    """Whether a start may bring its own graph. Who may start runs may then do what a graph's author may."""
    connections: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("DB_*", "POSTGRES_URL", "MYSQL_URL", "SQLITE_URL"), validation_alias="ANABRANCH_CONNECTIONS"
    )
    """The variables that a `connection` may name; `*` at the end of one stands for any rest. Never the worker's own."""
    imports: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="ANABRANCH_IMPORT")
    """Modules whose handlers, workflows and activities a worker serves; separated by commas in the environment."""
    context_format: Literal["msgpack", "json"] = Field(default="msgpack", validation_alias="CONTEXT_FORMAT")
    """How contexts travel between a run and its nodes: compact, or readable. Both are always read."""
    max_context_size_bytes: int = Field(default=MAX_CONTEXT_SIZE_BYTES, gt=0, validation_alias="MAX_CONTEXT_SIZE_BYTES")
    """How much a node may write, and how large a context may be that a store or an event carries."""
    default_resolution_strategy: str = Field(default="LastWriteWins", validation_alias="DEFAULT_RESOLUTION_STRATEGY")
    """How conflicts are settled in graphs that do not say it."""
    interpreter_revision: int | None = Field(default=None, ge=1, validation_alias="ANABRANCH_INTERPRETER_REVISION")
    """What new runs are held to at most, so that older workers can take them over; the worker's own without it."""
    elsewhere_seconds: float = Field(default=ELSEWHERE_SECONDS, ge=0, validation_alias="ANABRANCH_ELSEWHERE_SECONDS")
    """How long a run looks for another worker where this one lacks what a node needs: a handler, a variable."""
    graph_elsewhere_seconds: float = Field(
        default=GRAPH_ELSEWHERE_SECONDS, ge=0, validation_alias="ANABRANCH_GRAPH_ELSEWHERE_SECONDS"
    )
    """How long one looks for a worker that has its graph. A mistyped name takes as long to fail."""
    deployment: str | None = Field(
        default=None, validation_alias=AliasChoices("ANABRANCH_DEPLOYMENT", "TEMPORAL_DEPLOYMENT_NAME")
    )
    """Temporal's worker versioning: the worker deployment, of which this worker is the version `build_id`."""
    build_id: str | None = Field(
        default=None, validation_alias=AliasChoices("ANABRANCH_BUILD_ID", "TEMPORAL_WORKER_BUILD_ID")
    )
    """Goes with `deployment`. The second names are those that Temporal's Worker Controller for Kubernetes sets."""
    versioning: Literal["pinned", "auto_upgrade"] = Field(default="pinned", validation_alias="ANABRANCH_VERSIONING")
    """Whether a run ends on the version that it began on, or goes on with the current one."""
    max_cached_workflows: int = Field(default=1000, ge=0, validation_alias="ANABRANCH_MAX_CACHED_WORKFLOWS")
    """How many runs a worker keeps in memory; the others are replayed when they go on."""
    max_concurrent_activities: int = Field(default=100, gt=0, validation_alias="ANABRANCH_MAX_CONCURRENT_ACTIVITIES")
    """How many nodes a worker runs at a time."""
    slots: Literal["fixed", "resources"] = Field(default="fixed", validation_alias="ANABRANCH_SLOTS")
    """`resources`: no more nodes are taken while the machine is over the targets; the maximum above holds too."""
    target_cpu: float = Field(default=0.8, gt=0, le=1, validation_alias="ANABRANCH_TARGET_CPU")
    """The share of the machine's cores up to which nodes are taken, with `slots: resources`."""
    target_memory: float = Field(default=0.8, gt=0, le=1, validation_alias="ANABRANCH_TARGET_MEMORY")
    """The same of its memory."""
    pollers: Literal["fixed", "autoscaling"] = Field(default="fixed", validation_alias="ANABRANCH_POLLERS")
    """How many requests for tasks a worker has open: five of each kind, or as many as the server says it could use."""
    metrics_address: str | None = Field(default=None, validation_alias="ANABRANCH_METRICS_ADDRESS")
    """Where a worker shows its metrics and answers probes: `host:port`. Without it, and a collector, none are kept."""
    ai_prices: Annotated[Mapping[str, Price], NoDecode] = Field(default={}, validation_alias="ANABRANCH_AI_PRICES")
    """What models cost, by `provider:model`. Without it no cost is told."""
    http_allow_private: bool = Field(default=False, validation_alias="HTTP_ALLOW_PRIVATE")
    """Whether `http` and `grpc` nodes may call private, loopback and link-local addresses."""
    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL")
    """Where workers share circuit breakers and the results of nodes with a `cache`; without it each has its own.
    Nodes with a `rate_limit` or `concurrency` do not run without it."""
    limit_lease_seconds: float = Field(default=LEASE_SECONDS, ge=1, validation_alias="ANABRANCH_LIMIT_LEASE_SECONDS")
    """How long a node counts for its `concurrency` after its worker was last heard of."""
    redis_max_connections: int = Field(default=50, gt=0, validation_alias="REDIS_MAX_CONNECTIONS")
    """How many connections a worker opens to each Redis."""
    store_url: str | None = Field(default=None, validation_alias="STORE_URL")
    """Where contexts are kept for other services: a URL that `context.open_store` knows."""
    cache_url: str | None = Field(default=None, validation_alias="CACHE_URL")
    """A cache in front of that store, by a URL of the same kind."""
    cache_strategy: str = Field(default="WriteThrough", validation_alias="CACHE_STRATEGY")
    """How the cache is written; see `CacheStrategy`."""
    context_ttl_seconds: float = Field(default=3600, gt=0, validation_alias="CONTEXT_TTL_SECONDS")
    """How long a shared context is kept, where its graph does not say it."""
    payload_store_url: str | None = Field(default=None, validation_alias="PAYLOAD_STORE_URL")
    """Where payloads that are too large for a history are kept: Redis, or a database."""
    payload_store_threshold_bytes: int = Field(default=262_144, gt=0, validation_alias="PAYLOAD_STORE_THRESHOLD_BYTES")
    """How large a payload has to be for that."""
    encryption_keys: SecretStr | None = Field(default=None, validation_alias="ANABRANCH_ENCRYPTION_KEYS")
    """AES-256 keys, as `id:base64,…`: the first one encrypts, all decrypt. Without any nothing is encrypted."""
    encryption_keys_file: Path | None = Field(default=None, validation_alias="ANABRANCH_ENCRYPTION_KEYS_FILE")
    """A file with such keys, in place of the variable; it is read anew when it changes."""
    encryption: Literal["on", "strict"] = Field(default="on", validation_alias="ANABRANCH_ENCRYPTION")
    """Whether what is not encrypted is refused from outside, where there are keys."""
    codec_token: SecretStr | None = Field(default=None, min_length=16, validation_alias="ANABRANCH_CODEC_TOKEN")
    """What a request to the codec server must bring, as `Authorization: Bearer …`."""
    console_tokens: SecretStr | None = Field(default=None, validation_alias="ANABRANCH_CONSOLE_TOKENS")
    """Who may use the console: `NAME:ROLE:SECRET,…` with the roles viewer, answerer and operator, `+GROUP` behind."""
    console_issuer: str | None = Field(default=None, validation_alias="ANABRANCH_CONSOLE_ISSUER")
    """The OpenID Connect issuer whose tokens the console takes: an https address."""
    console_audience: str | None = Field(default=None, validation_alias="ANABRANCH_CONSOLE_AUDIENCE")
    """For whom those tokens must be; goes with `console_issuer`."""
    console_roles_claim: str = Field(default="roles", min_length=1, validation_alias="ANABRANCH_CONSOLE_ROLES_CLAIM")
    """Their claim that names the roles."""
    console_groups_claim: str = Field(default="groups", min_length=1, validation_alias="ANABRANCH_CONSOLE_GROUPS_CLAIM")
    """Their claim that names the groups in which people are: those that approvals ask."""
    console_hosts: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="ANABRANCH_CONSOLE_HOSTS")
    """The names by which browsers reach the console, beside those of this machine; separated by commas."""
    console_url: str | None = Field(default=None, validation_alias="ANABRANCH_CONSOLE_URL")
    """Where people open the console: what a run shows in Temporal's Web UI links to it there."""
    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where OpenTelemetry's collector listens. OpenTelemetry itself reads this and its other variables."""
    otlp_metrics_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    """The same for metrics alone, as a whole URL."""
    metrics_exporter: Literal["otlp", "none"] = Field(default="otlp", validation_alias="OTEL_METRICS_EXPORTER")
    """`none` sends no metrics though there is an endpoint."""
    otlp_traces_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    """The same for traces alone, as a whole URL."""
    traces_exporter: Literal["otlp", "none"] = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")
    """`none` sends no traces though there is an endpoint."""
    log_format: Literal["auto", "console", "json"] = Field(default="auto", validation_alias="ANABRANCH_LOG_FORMAT")
    """How a worker logs: JSON, but lines for people on a terminal; or always the one or the other."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="ANABRANCH_LOG_LEVEL"
    )
    """From which level on a worker logs."""

    def cipher(self) -> Cipher | None:
        """What encrypts for this process; None without keys. Raises ConfigurationError, which repeats no key."""
        keys = None if self.encryption_keys is None else self.encryption_keys.get_secret_value()
        return cipher_of(keys, self.encryption_keys_file, strict=self.encryption == "strict")

    @property
    def metrics_endpoint(self) -> str | None:
        """The URL to send metrics to; None sends none."""
        if self.metrics_exporter == "none":
            return None
        base = self.otlp_endpoint
        return self.otlp_metrics_endpoint or (f"{base.rstrip('/')}/v1/metrics" if base else None)

    @property
    def traces_endpoint(self) -> str | None:
        """The URL to send traces to; None sends none."""
        if self.traces_exporter == "none":
            return None
        base = self.otlp_endpoint
        return self.otlp_traces_endpoint or (f"{base.rstrip('/')}/v1/traces" if base else None)

    @model_validator(mode="after")
    def _versioned(self) -> Settings:
        if (self.deployment is None) != (self.build_id is None):
            raise ValueError("ANABRANCH_DEPLOYMENT and ANABRANCH_BUILD_ID go together: set both, or neither")
        if self.deployment is not None and ("." in self.deployment or self.deployment.startswith("__")):
            raise ValueError("ANABRANCH_DEPLOYMENT holds a dot or begins with __, which Temporal refuses")
        return self

    @model_validator(mode="after")
    def _issued(self) -> Settings:
        if (self.console_issuer is None) != (self.console_audience is None):
            raise ValueError(
                "ANABRANCH_CONSOLE_ISSUER and ANABRANCH_CONSOLE_AUDIENCE go together: set both, or neither"
            )
        return self

    @field_validator("connections", "imports", "console_hosts", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name for part in value.split(",") if (name := part.strip()))

    @field_validator("ai_prices", mode="before")
    @classmethod
    def _prices(cls, value: object) -> object:
        return prices_of(value) if isinstance(value, str) else value

    @field_validator("console_url", mode="after")
    @classmethod
    def _of_the_web(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        plain = url.isascii() and url.isprintable() and not set(url) & set(' <>()[]`"\\')
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment or not plain:
            raise ValueError("write the address as https://host or https://host/path, without a query")
        return url.rstrip("/")

    @field_validator("connections", mode="after")
    @classmethod
    def _of_graphs(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(f"{pattern[:128]!r} is no name of a variable; write names, or prefixes as in DB_*")
            if is_own(pattern):
                raise ValueError(f"{pattern} is a variable of the worker itself, which no graph may open")
        return patterns


def is_own(variable: str) -> bool:
    """Whether a variable configures the worker itself, or holds a secret of another kind: no graph may open it."""
    known = [field.validation_alias for field in Settings.model_fields.values()]
    return variable in known or variable.startswith(_OWN_PREFIXES) or variable.endswith(_OWN_SUFFIXES)


def may_open(variable: str, names: Sequence[str]) -> bool:
    """Whether a graph may open the connection that a variable holds: one of `names`, where `*` stands for any rest."""
    return not is_own(variable) and any(_covers(name, variable) for name in names)


def _covers(name: str, variable: str) -> bool:
    return variable.startswith(name[:-1]) if name.endswith("*") else variable == name


def on_this_machine(settings: Settings) -> Settings:
    """Settings of a worker that a command starts beside its own server: who runs the command is the graphs' author.

    Runs may bring their graph, and any variable but the worker's own is a connection, unless the environment says it.
    """
    trusting = {"inline_graphs": True, "connections": ("*",)}
    return settings.model_copy(
        update={name: value for name, value in trusting.items() if name not in settings.model_fields_set}
    )


def settings_from_environment(**options: Any) -> Settings:
    """Settings from the environment; an option that is not None wins. Raises ConfigurationError naming the variable."""
    try:
        found = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = ".".join(map(str, first["loc"]))
        suggestion = f"correct {variable}, or unset it" if variable else None
        raise ConfigurationError(first["msg"], place=variable or None, suggestion=suggestion) from None
    return found.model_copy(update={name: value for name, value in options.items() if value is not None})
