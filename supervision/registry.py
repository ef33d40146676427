"""What is where in a tree: the nodes of its supervisors, the places of its workers, and who lies below whom.

Only the supervising thread changes it; others look things up, in dictionaries that are read in one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tickloom.supervision.core import new_supervisor
from tickloom.supervision.exits import Exit
from tickloom.supervision.lifecycle import Child, Stage, SupervisorState
from tickloom.supervision.place import Place
from tickloom.supervision.services import Services
from tickloom.supervision.spec import ChildSpec, SupervisorSpec


def join(parent: str, child_id: str) -> str:
    """Return a child's path."""
    return f"{parent.rstrip('/')}/{child_id}"


@dataclass(eq=False)
class Node:
    """A supervisor's place: its spec, its present state, and how it ended last."""

    path: str
    spec: SupervisorSpec
    parent: Node | None
    id: str
    state: SupervisorState
    epoch: int = 0
    last_exit: tuple[int, Exit] | None = None

    @property
    def alive(self) -> bool:
        """Whether the supervisor has begun and not ended."""
        return self.state.stage not in (Stage.IDLE, Stage.DONE)

    def child(self, child_id: str) -> Child | None:
        """Return the child of this id, as its supervisor knows it."""
        return next((child for child in self.state.children if child.spec.id == child_id), None)


class Registry:
    """The nodes and places of one tree."""

    def __init__(self, spec: SupervisorSpec, services: Services) -> None:
        self._services = services
        self.nodes: dict[str, Node] = {}
        self.places = services.places
        self._last_epochs: dict[str, int] = dict.fromkeys(_paths("/", spec), 0)
        """Of the places in the tree's own spec, also while they are gone: one that comes back counts on from there."""
        self.root = self.grow("/", spec, None, "")

    def grow(self, path: str, spec: SupervisorSpec, parent: Node | None, child_id: str) -> Node:
        """Make the node of a supervisor, and the places of all that its spec names below it."""
        node = Node(path, spec, parent, child_id, new_supervisor(path, spec), self._last_epochs.get(path, 0))
        self.nodes[path] = node
        for child in spec.children:
            self._add(node, child)
        return node

    def add_place(self, path: str, spec: ChildSpec) -> Place:
        """Make the place of a worker."""
        place = self.places[path] = Place(path, spec, self._services)
        place.epoch = self._last_epochs.get(path, 0)
        return place

    def renew(self, node: Node) -> None:
        """Give a supervisor that begins again, or was given up, a new state, with the children of its spec.

        As in OTP: children that were added by hand are forgotten; those of its spec that were deleted are there again.
        """
        known = {child.id for child in node.spec.children}
        for child in node.state.children:
            if child.spec.id not in known:
                self.forget(join(node.path, child.spec.id))
        for spec in node.spec.children:
            path = join(node.path, spec.id)
            if path not in self.nodes and path not in self.places:
                self._add(node, spec)
        node.state = new_supervisor(node.path, node.spec, self._epochs(node))

    def close(self, path: str, reason: str) -> None:
        """Close the place, or all places below the supervisor."""
        for below, place in list(self.places.items()):
            if below == path or below.startswith(path + "/"):
                place.close(reason)

    def forget(self, path: str) -> None:
        """Close what is at `path`, and below it, and remove it."""
        self.close(path, "deleted")
        for holders in (self.places, self.nodes):
            for below in [held for held in holders if held == path or held.startswith(path + "/")]:
                holder = holders.pop(below)
                self._services.dead_letters.forget(below)
                if below in self._last_epochs:
                    self._last_epochs[below] = holder.epoch

    def _add(self, node: Node, child: ChildSpec) -> None:
        path = join(node.path, child.id)
        if isinstance(child.start, SupervisorSpec):
            self.grow(path, child.start, node, child.id)
        else:
            self.add_place(path, child)

    def _epochs(self, node: Node) -> dict[str, int]:
        """Return the last epoch used at each place below a supervisor."""
        epochs = dict.fromkeys((child.id for child in node.spec.children), 0)
        for child_id in epochs:
            path = join(node.path, child_id)
            holder = self.places.get(path) or self.nodes.get(path)
            epochs[child_id] = holder.epoch if holder is not None else self._last_epochs.get(path, 0)
        return epochs


def _paths(path: str, spec: SupervisorSpec) -> Iterator[str]:
    """Yield the paths of all that a spec names."""
    for child in spec.children:
        below = join(path, child.id)
        yield below
        if isinstance(child.start, SupervisorSpec):
            yield from _paths(below, child.start)
