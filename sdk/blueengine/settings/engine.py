"""engine.yml: who an engine is and what it reads and writes."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from blueengine.datatypes import base
from blueengine.datatypes.names import ALL, JSON, canonical
from blueengine.errors import DataTypeError, SettingsError
from blueengine.settings.system import convert, read_yaml
from blueengine.wire.spec import CONTROL, STATUS, EngineSpec

_KNOWN: Final = {
    "ENGINE": {
        "ID", "NAME", "CONCURRENCY", "DEFAULT_WORKER_COUNT", "MAX_WORKER", "STOP_GRACE_SECONDS",
        "WORKER_IDLE_SECONDS",
    },
    "INPUTS": {"NAMES", "TYPES"},
    "OUTPUTS": {"NAMES", "TYPES", "OPTIONS"},
}  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a session's graph may name; ids and names are parts of Redis keys."""


_CheckType = Callable[[str, str, Mapping[str, Any] | None], None]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """An engine as declared in its engine.yml (the environment may override the numbers)."""

    id: str
    name: str
    concurrency: int = 1
    """Sessions one instance takes at the same time."""
    default_worker_count: int = 1
    """Worker processes of a step from the start."""
    max_worker: int = 1
    """Worker processes of a step at most."""
    stop_grace_seconds: float = 5.0
    """How long code that ignores a stop may go on before its worker process is killed."""
    worker_idle_seconds: float = 60.0
    """How long a worker beyond the default count may be without a session before it is ended."""
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    output_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How values of an output travel, e.g. ``{"Page": {"FORMAT": "jpeg", "QUALITY": 85}}``."""

    @property
    def spec(self) -> EngineSpec:
        """What is registered with the attendance."""
        return EngineSpec(
            id=self.id,
            name=self.name,
            concurrency=self.concurrency,
            inputs=dict(self.inputs),
            outputs=dict(self.outputs),
        )

    @classmethod
    def load(
        cls, path: Path, environment: Mapping[str, str], *, cpus: int, foreign: bool = False
    ) -> Self:
        """Return the engine declared in ``path``.

        Args:
            path: The engine.yml.
            environment: ``CONCURRENCY``, ``DEFAULT_WORKER_COUNT``, ``MAX_WORKER``,
                ``STOP_GRACE_SECONDS`` and ``WORKER_IDLE_SECONDS`` in it win over the file.
            cpus: The default of MAX_WORKER is this or the concurrency, whichever is less.
            foreign: The engine runs in processes of its own, which alone know its own types.

        Raises:
            SettingsError: Something is missing, unknown or contradictory.
        """
        raw = read_yaml(path)
        return cls.parse(raw, environment, cpus=cpus, source=str(path), foreign=foreign)

    @classmethod
    def parse(
        cls,
        raw: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        cpus: int,
        source: str,
        foreign: bool = False,
    ) -> Self:
        """Return the engine declared in ``raw``; see ``load``."""
        _check_sections(raw, source)
        engine = raw.get("ENGINE") or {}
        if not engine.get("ID"):
            raise SettingsError(f"{source}: ENGINE.ID is missing")
        if not _NAME.fullmatch(str(engine["ID"])):
            raise SettingsError(
                f"{source}: ENGINE.ID {engine['ID']!r} must be 1 to 64 letters, digits, '_', '.' or '-'"
            )

        def number(name: str, default: float, kind: type) -> Any:
            value, where = engine.get(name, default), f"{source}: ENGINE.{name}"
            if name in environment:
                value, where = environment[name], f"the environment variable {name}"
            number = convert(value, kind, where)
            if not isinstance(number, (int, float)) or not 0 < number < math.inf:
                raise SettingsError(f"{where} is {value!r}; it must be greater than 0")
            return number

        concurrency = number("CONCURRENCY", 1, int)
        workers = number("DEFAULT_WORKER_COUNT", 1, int)
        most = number("MAX_WORKER", max(workers, min(concurrency, cpus)), int)
        if most < workers:
            raise SettingsError(
                f"{source}: MAX_WORKER ({most}) is less than DEFAULT_WORKER_COUNT ({workers})"
            )
        check = _check_own_type if foreign else _check_type
        outputs = _ports(raw, "OUTPUTS", STATUS, source, check)
        return cls(
            id=str(engine["ID"]),
            name=str(engine.get("NAME") or engine["ID"]),
            concurrency=concurrency,
            default_worker_count=workers,
            max_worker=most,
            stop_grace_seconds=number("STOP_GRACE_SECONDS", 5.0, float),
            worker_idle_seconds=number("WORKER_IDLE_SECONDS", 60.0, float),
            inputs=_ports(raw, "INPUTS", CONTROL, source, check),
            outputs=outputs,
            output_options=_options(raw, outputs, source, check),
        )


def _check_sections(raw: Mapping[str, Any], source: str) -> None:
    for section, names in raw.items():
        if section not in _KNOWN:
            raise SettingsError(f"{source}: unknown section {section}; known: {', '.join(_KNOWN)}")
        if not isinstance(names, dict) and not (names is None and section != "ENGINE"):
            raise SettingsError(f"{source}: {section} must hold names and values")
        if unknown := set(names or ()) - _KNOWN[section]:
            known = ", ".join(sorted(_KNOWN[section]))
            raise SettingsError(
                f"{source}: unknown {section}.{min(unknown, key=str)}; known: {known}"
            )


def _ports(
    raw: Mapping[str, Any], section: str, always: str, source: str, check: _CheckType
) -> dict[str, str]:
    declared = raw.get(section) or {}
    names, types = declared.get("NAMES") or [], declared.get("TYPES") or []
    if not isinstance(names, list) or not isinstance(types, list) or len(names) != len(types):
        raise SettingsError(
            f"{source}: {section}.NAMES and {section}.TYPES must be lists of one length"
        )
    ports: dict[str, str] = {}
    for name, kind in zip(names, types, strict=True):
        known = canonical(str(kind))
        if known is None:
            raise SettingsError(
                f"{source}: {section}: {kind!r} of channel {name!r} is no type; known: {', '.join(ALL)}"
            )
        check(known, f"{source}: {section}: channel {name!r}", None)
        if not _NAME.fullmatch(str(name)):
            raise SettingsError(
                f"{source}: {section}: channel {name!r} must be 1 to 64 letters, digits, '_', '.' or '-'"
            )
        if str(name) in ports:
            raise SettingsError(f"{source}: {section}: channel {name!r} stands twice")
        ports[str(name)] = known
    if ports.setdefault(always, JSON) != JSON:
        raise SettingsError(f"{source}: {section}: {always} must be of type {JSON}")
    return ports


def _check_type(kind: str, where: str, options: Mapping[str, Any] | None = None) -> None:
    try:
        base.get(kind, options)
    except DataTypeError as exc:
        raise SettingsError(f"{where}: {exc}") from exc


def _check_own_type(kind: str, where: str, options: Mapping[str, Any] | None = None) -> None:
    """Check a type that this process may not know: the engine's own, which have a dot."""
    if "." not in kind:
        _check_type(kind, where, options)


def _options(
    raw: Mapping[str, Any], outputs: Mapping[str, str], source: str, check: _CheckType
) -> dict[str, dict[str, Any]]:
    given = (raw.get("OUTPUTS") or {}).get("OPTIONS") or {}
    if not isinstance(given, dict) or not all(isinstance(each, dict) for each in given.values()):
        raise SettingsError(
            f"{source}: OUTPUTS.OPTIONS must hold names and values for each channel"
        )
    for name, options in given.items():
        if name not in outputs:
            raise SettingsError(f"{source}: OUTPUTS.OPTIONS: there is no output {name!r}")
        check(outputs[name], f"{source}: OUTPUTS.OPTIONS: channel {name!r}", options)
    return {str(name): dict(options) for name, options in given.items()}
