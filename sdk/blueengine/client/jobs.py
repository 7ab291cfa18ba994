"""What can be submitted: a workflow or a single engine, built or read from a file."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from blueengine.client import body
from blueengine.client.errors import WorkflowError
from blueengine.client.workflow import Workflow, parsed, refuse
from blueengine.datatypes.names import JSON
from blueengine.graph.dag import Fault, check_single
from blueengine.wire.spec import CONTROL


class SingleEngine:
    """One engine and what to give it: the body of ``process-single-engine``."""

    route: Final = "process-single-engine"

    def __init__(
        self,
        engine: str,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        results: Iterable[str] = (),
    ) -> None:
        """Describe it.

        Args:
            engine: The engine's id.
            inputs: Port -> type of the inputs that get something.
            outputs: Port -> type; needed only for an engine that the platform has never seen.
            results: Outputs that are stored and returned.
        """
        self._body: dict[str, Any] = {
            "engineId": engine,
            "inputs": {name: {"type": kind} for name, kind in (inputs or {}).items()},
            "outputs": {name: {"type": kind} for name, kind in (outputs or {}).items()},
            "resultChannels": list(results),
        }

    def __repr__(self) -> str:
        """Name it."""
        return f"SingleEngine({self._body.get('engineId')!r})"

    @property
    def nodes(self) -> Mapping[str, None]:
        """The engine's name, for those who list the nodes of any job."""
        return {str(self._body["engineId"]): None}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Input -> type; ``Control`` when it names none."""
        ports: Any = self._body.get("inputs") or {CONTROL: None}
        return {str(name): str((port or {}).get("type", JSON)) for name, port in ports.items()}

    def faults(self) -> Sequence[Fault]:
        """Return everything that is wrong with it, as far as can be said without the engine."""
        found = body.read(body.SingleBody, self._body)
        if isinstance(found, Fault):
            return [found]
        faults = check_single(found.asked(), specs={}).faults
        # Which outputs an engine has is known to the platform alone.
        return [fault for fault in faults if not fault.loc.startswith("/resultChannels")]

    def check(self) -> Self:
        """Return it when it has no fault.

        Raises:
            WorkflowError: It has faults: all of them at once.
        """
        refuse(self.faults())
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the body of process-single-engine."""
        return copy.deepcopy(self._body)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Return what is in a body of process-single-engine; it is not checked yet."""
        single = cls("")
        single._body.clear()
        single._body.update(copy.deepcopy(dict(found)))
        return single

    def filled(self, given: Mapping[str, Sequence[Any]], options: Mapping[str, Any]) -> Self:
        """Return it with these inputs and options.

        Raises:
            WorkflowError: An input gets more than one message.
        """
        full = self.to_dict()
        ports: dict[str, Any] = {
            name: dict(port or {}) for name, port in (full.get("inputs") or {}).items()
        }
        for name, values in given.items():
            if len(values) != 1:
                fault = Fault(f"/inputs/{name}", f"{len(values)} messages; it takes one", "many")
                raise WorkflowError("an input of a single engine takes one message", [fault])
            ports.setdefault(name, {"type": JSON})["payload"] = values[0]
        return self.from_dict({**full, "inputs": ports, **options})


Job = Workflow | SingleEngine
"""What can be submitted."""


def load(path: str | Path) -> Job:
    """Return the workflow (or single engine) in a YAML or JSON file; it is not checked yet.

    Raises:
        WorkflowError: The file is not there, or holds none; one line says which.
    """
    try:
        form = "JSON" if Path(path).suffix.lower() == ".json" else "YAML"
        return as_job(parsed(form, Path(path).read_bytes()))
    except OSError as exc:
        what = "does not exist" if isinstance(exc, FileNotFoundError) else exc.strerror
        raise WorkflowError(f"{path} {what}") from exc
    except WorkflowError as exc:
        raise WorkflowError(f"{path}: {exc}") from exc


def as_job(found: "Job | Mapping[str, Any]") -> Job:
    """Return a job as it is, and the body of one as a job.

    Raises:
        WorkflowError: It is none.
    """
    if isinstance(found, Workflow | SingleEngine):
        return found
    return SingleEngine.from_dict(found) if "engineId" in found else Workflow.from_dict(found)
