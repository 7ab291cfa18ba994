"""A workflow as a Mermaid flowchart: engines as boxes, channels as arrows between them."""

from collections.abc import Iterator

from blueengine.client.body import WorkflowBody


def draw(workflow: WorkflowBody) -> str:
    """Return the flowchart. What the client feeds and gets are rounded boxes of their own."""
    return "\n".join(["flowchart LR", *(f"    {line}" for line in _lines(workflow))]) + "\n"


def _lines(workflow: WorkflowBody) -> Iterator[str]:
    kinds = {channel.name: channel.type for channel in workflow.data_channels}
    writers: dict[str, list[str]] = {name: [] for name in kinds}
    readers: dict[str, list[str]] = {name: [] for name in kinds}
    for index, engine in enumerate(workflow.engines):
        name = engine.name or engine.id
        label = name if name == engine.id else f"{name} ({engine.id})"
        yield f'e{index}["{_text(label)}"]'
        for ports, users in ((engine.inputs, readers), (engine.outputs, writers)):
            for port in ports:
                if port.link_to is not None:
                    users.setdefault(port.link_to, []).append(f"e{index}")
    stored = {channel.name for channel in workflow.data_channels if channel.interested}
    for index, channel in enumerate(writers):
        label = _text(f"{channel} ({kinds.get(channel, '?')})")
        if not writers[channel]:
            yield f'i{index}(["{label}"])'
            yield from (f"i{index} --> {reader}" for reader in readers[channel])
        for writer in writers[channel]:
            yield from (f'{writer} -- "{label}" --> {reader}' for reader in readers[channel])
        if channel in stored:
            yield f'r{index}(["{_text(channel)}"])'
            source = writers[channel] or [f"i{index}"]
            yield from (f"{writer} --> r{index}" for writer in source)


def _text(text: str) -> str:
    """Return what stands for a text between quotes."""
    return text.replace("#", "#35;").replace('"', "#quot;")
