"""How an engine is declared: BlueEngine, its steps, and the checks on both.

Declaring does nothing but collect; ``start`` turns the process into an engine instance (or, in a
worker process, into a worker).
"""

import copy
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NoReturn,
    TypedDict,
    TypeVar,
    Unpack,
    get_args,
)

from blueengine.errors import BlueEngineError, DeclarationError
from blueengine.runtime import signatures
from blueengine.settings.engine import EngineSettings
from blueengine.wire.spec import CONTROL, FORWARD, STATUS

if TYPE_CHECKING:
    from blueengine.runtime.context import Context

Function = Callable[["Context"], Any]
"""Any function of a step but process_func."""
ProcessFunction = Callable[["Context", Any], Any] | Callable[[list["Context"], list[Any]], Any]
"""Called for each message, or with ``batch_size`` for several."""
F = TypeVar("F", bound=ProcessFunction)
RunIn = Literal["process", "thread", "inline"]

WORKER_VARIABLE: Final = "BLUEENGINE_WORKER"
"""Set in worker processes: ``<parent's pid>,<socket fd>,<flags fd>,<step>``."""
UNHEARD: Final = frozenset({signal.SIGINT, signal.SIGTERM})
"""Signals that a worker takes no notice of: its parent acts on them."""


class StepOptions(TypedDict, total=False):
    """What ``step`` takes beside the name; see ``add_step``."""

    init_func: Function | None
    start_func: Function | None
    end_func: Function | None
    stop_func: Function | None
    terminate_func: Function | None
    input_channels: Iterable[str]
    output_channels: Iterable[str]
    required_channels: Iterable[str]
    keep_channels: Iterable[str]
    run_in: RunIn
    batch_size: int
    batch_wait: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of an engine: the author's functions and the channels they read and write."""

    name: str
    process_func: Callable[..., Any]
    init_func: Function | None = None
    start_func: Function | None = None
    end_func: Function | None = None
    stop_func: Function | None = None
    terminate_func: Function | None = None
    input_channels: tuple[str, ...] = ()
    output_channels: tuple[str, ...] = ()
    required_channels: tuple[str, ...] = ()
    keep_channels: tuple[str, ...] = ()
    run_in: RunIn = "process"
    batch_size: int = 1
    batch_wait: float = 0.01


class BlueEngine:
    """An engine. Add its steps, then ``start`` it."""

    def __init__(self, config: str | Path | Mapping[str, Any] | None = None) -> None:
        """Read the engine's settings.

        Args:
            config: engine.yml, or its content; ``configs/engine.yml`` beside the calling file when
                left out.

        Raises:
            SettingsError: The settings are missing or wrong; one line says which.
        """
        self._caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - whose engine it is
        try:
            self.settings = self._read(config)
        except BlueEngineError as exc:
            self._complain(exc)
        self._steps: list[Step] = []

    def _read(self, config: str | Path | Mapping[str, Any] | None) -> EngineSettings:
        # read at once, so that a wrong engine.yml is found before anything runs
        cpus = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        if isinstance(config, Mapping):
            return EngineSettings.parse(config, os.environ, cpus=cpus, source="config")
        path = Path(config) if config else _beside_caller()
        return EngineSettings.load(path, os.environ, cpus=cpus)

    def _complain(self, error: BlueEngineError) -> NoReturn:
        """Raise the error, or end the process with one line when it is the engine's own file."""
        if self._caller != "__main__" or hasattr(sys, "ps1"):
            raise error
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one line a person needs
        raise SystemExit(2) from error

    def derived(self, settings: EngineSettings, steps: Iterable[Step]) -> "BlueEngine":
        """Return an engine with other settings and steps, for tests of a part of this one."""
        made = copy.copy(self)
        made.settings = settings
        made._steps = list(steps)  # noqa: SLF001 - of its own class
        return made

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps added so far, in order."""
        return tuple(self._steps)

    def add_step(  # noqa: PLR0917 - the five functions come in the order of a session's life
        self,
        name: str,
        init_func: Function | None = None,
        start_func: Function | None = None,
        process_func: ProcessFunction | None = None,
        stop_func: Function | None = None,
        terminate_func: Function | None = None,
        input_channels: Iterable[str] = (),
        output_channels: Iterable[str] = (),
        *,
        required_channels: Iterable[str] = (),
        keep_channels: Iterable[str] = (),
        end_func: Function | None = None,
        run_in: RunIn = "process",
        batch_size: int = 1,
        batch_wait: float = 0.01,
    ) -> None:
        """Add a step, which runs in worker processes of its own.

        Each function takes the ``Context`` first. They may be plain, generators, async or async
        generators.

        Args:
            name: Unique within the engine.
            init_func: ``(context)``, once per worker process, before the engine is in attendance;
                what it returns is ``context.init_data``.
            start_func: ``(context)``, at the start of each session; what it returns is
                ``context.start_data``. May raise ``Refuse``.
            process_func: ``(context, input)``, for each message: ``input`` is ``{channel: value}``.
                Returns or yields ``{channel: value}``.
            stop_func: ``(context)``, at the end of each session, however it ended.
            terminate_func: ``(context)``, when the worker process ends in order.
            input_channels: Names of engine.yml's inputs, or ``forward`` (what the step before
                passed on).
            output_channels: Names of engine.yml's outputs, or ``forward`` (to the next step).
            required_channels: Call process_func once all of these have a message.
            keep_channels: Repeat the last message of these in later calls.
            end_func: ``(context)``, once all inputs have ended and every call of the session is
                done; may write like process_func, a sum for example. Not called when the session
                ends in any other way.
            run_in: ``thread``: work in threads of the parent process, for steps too light for a
                process. A crash there is a crash of the instance, and code that ignores a stop
                cannot be killed. ``inline``: called by the parent's own loop, for steps that take
                less than a millisecond and never wait: the shortest way there is. Plain functions
                and generators only; whatever keeps them busy keeps the whole instance waiting.
            batch_size: Above 1, process_func is called as ``(contexts, inputs)`` with lists of up to
                so many messages, of several sessions perhaps, and returns a list of as many results.
            batch_wait: Seconds the first message of a batch waits for others at most.

        Raises:
            DeclarationError: A name is unknown or taken, or process_func is missing.
        """
        try:
            step = Step(
                name=name,
                process_func=_given(name, process_func),
                init_func=init_func,
                start_func=start_func,
                end_func=end_func,
                stop_func=stop_func,
                terminate_func=terminate_func,
                input_channels=_names(input_channels),
                output_channels=_names(output_channels),
                required_channels=_names(required_channels),
                keep_channels=_names(keep_channels),
                run_in=run_in,
                batch_size=batch_size,
                batch_wait=batch_wait,
            )
            self._check(step)
        except DeclarationError as exc:
            self._complain(exc)
        self._steps.append(step)

    def step(self, name: str = "", **declared: Unpack[StepOptions]) -> Callable[[F], F]:
        """Declare the decorated function as the process_func of a step; see ``add_step``."""

        def declare(function: F) -> F:
            self.add_step(name or function.__name__, process_func=function, **declared)
            return function

        return declare

    def start(self) -> None:
        """Run the engine until it is told to end (SIGTERM, SIGINT); then exit the process.

        In a worker process, which imports the same module, this runs the worker instead. At the top
        level of a module that is merely imported, by a test for example, it does nothing.
        """
        frame = sys._getframe(1)  # noqa: SLF001 - who calls
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            return
        if WORKER_VARIABLE in os.environ:
            from blueengine.runtime.child import work

            sys.exit(work(self))
        from blueengine.runtime.start import run_engine

        sys.exit(run_engine(self))

    def check(self) -> None:
        """Check the steps against each other.

        Raises:
            DeclarationError: There is no step, or what one forwards nobody takes.
        """
        if not self._steps:
            raise DeclarationError(f"engine {self.settings.id!r} has no step; call add_step first")
        for step, following in zip(self._steps, [*self._steps[1:], None], strict=True):
            takes = following is not None and FORWARD in following.input_channels
            if FORWARD in step.output_channels and not takes:
                raise DeclarationError(
                    f"step {step.name!r} writes {FORWARD!r}, but no step after it reads it"
                )
            if takes and FORWARD not in step.output_channels:
                raise DeclarationError(
                    f"step {following.name!r} reads {FORWARD!r}, which {step.name!r} does not write"
                    if following
                    else ""
                )

    def _check(self, step: Step) -> None:
        if not step.name:
            raise DeclarationError("a step has no name; give it one")
        if any(other.name == step.name for other in self._steps):
            raise DeclarationError(f"there are two steps named {step.name!r}; rename one of them")
        inputs = {*self.settings.inputs, CONTROL, FORWARD}
        outputs = {*self.settings.outputs, STATUS, FORWARD}
        for names, known, where in (
            (step.input_channels, inputs, "inputs"),
            (step.output_channels, outputs, "outputs"),
            (step.required_channels, set(step.input_channels), "input_channels"),
            (step.keep_channels, set(step.input_channels), "input_channels"),
        ):
            for name in names:
                if name not in known:
                    raise DeclarationError(
                        f"step {step.name!r}: {name!r} is not among the {where}"
                        f" ({', '.join(sorted(known))})"
                    )
        if FORWARD in step.input_channels and not self._steps:
            raise DeclarationError(f"step {step.name!r} is the first: nothing is forwarded to it")
        _check_numbers(step)
        self._check_functions(step)

    def _check_functions(self, step: Step) -> None:
        if step.batch_size > 1:
            signatures.check_arguments(
                step.name, "process_func", step.process_func, "contexts", "inputs"
            )
        else:
            self._check_process_func(step)
        for what, function in (
            ("init_func", step.init_func),
            ("start_func", step.start_func),
            ("end_func", step.end_func),
            ("stop_func", step.stop_func),
            ("terminate_func", step.terminate_func),
        ):
            if function is not None:
                signatures.check(step.name, what, function, "context")
                _check_way(step, what, function)
        _check_way(step, "process_func", step.process_func)

    def _check_process_func(self, step: Step) -> None:
        signatures.check(step.name, "process_func", step.process_func, "context", "input")
        types = {**self.settings.inputs, FORWARD: FORWARD}
        reads = {channel: types[channel] for channel in step.input_channels}
        signatures.check_inputs(step.name, step.process_func, reads)


def _check_numbers(step: Step) -> None:
    if step.run_in not in get_args(RunIn):
        ways = "process, thread or inline"
        raise DeclarationError(f"step {step.name!r}: run_in is {ways}, not {step.run_in!r}")
    if step.batch_size < 1 or step.batch_wait < 0:
        raise DeclarationError(
            f"step {step.name!r}: batch_size must be 1 or more, batch_wait 0 or more seconds"
        )
    if step.batch_size > 1 and inspect.isgeneratorfunction(step.process_func):
        raise DeclarationError(
            f"step {step.name!r}: with batch_size, process_func returns a list with a result for"
            " each message; it cannot be a generator"
        )


def _check_way(step: Step, what: str, function: Callable[..., Any]) -> None:
    waits = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if waits and step.run_in == "inline":
        raise DeclarationError(
            f"step {step.name!r}: {what} is async, and what runs inline cannot wait;"
            " use run_in='process' or 'thread'"
        )


def _given(step: str, function: ProcessFunction | None) -> ProcessFunction:
    if function is None:
        raise DeclarationError(f"step {step!r} has no process_func; pass process_func=…")
    return function


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise DeclarationError(f"channels are a list of names, not the text {names!r}")
    return tuple(names)


def _beside_caller() -> Path:
    file = sys._getframe(3).f_globals.get("__file__")  # noqa: SLF001 - whose engine.yml is wanted
    if not file:
        raise DeclarationError(
            "name the engine.yml: BlueEngine(config=…) (there is no calling file)"
        )
    return Path(file).resolve().parent / "configs" / "engine.yml"
