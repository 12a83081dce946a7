"""A directed graph of what depends on what: `AsyncResult.graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

__all__ = ["CycleError", "DOT", "DependencyGraph"]

N = TypeVar("N")


class CycleError(Exception):
    """The nodes depend on each other in a circle."""


class DOT:
    """Shapes of lines in the graphviz language."""

    HEAD = "digraph {name} {{"
    NODE = '  "{label}" [label="{label}"];'
    EDGE = '  "{source}" -> "{target}";'
    TAIL = "}"


class DependencyGraph(Generic[N]):
    """Nodes, each with those it depends on.

    Args:
        it: `(node, nodes)` pairs to begin with.
        formatter: makes the labels for `to_dot`; default `str`.
    """

    def __init__(self, it: Iterable[tuple[N, list[N]]] | None = None, formatter: Any = None) -> None:
        self.formatter = formatter or str
        self.adjacent: dict[N, list[N]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: N) -> None:
        """Adds a node."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: N, B: N) -> None:  # noqa: N803 - Celery's names
        """`A` depends on `B`."""
        self.add_arc(B)
        self[A].append(B)

    def connect(self, graph: DependencyGraph[N]) -> None:
        """Adds the nodes of another graph."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[N, list[N]]]) -> None:
        """Adds `(node, nodes)` pairs."""
        pairs = list(it)
        for node, _ in pairs:
            self.add_arc(node)
        for node, nodes in pairs:
            for other in nodes:
                self.add_edge(node, other)

    def topsort(self) -> list[N]:
        """Every node after those it depends on.

        Raises:
            CycleError
        """
        done: dict[N, bool] = {}
        order: list[N] = []
        for start in self.adjacent:
            path: list[tuple[N, Iterator[N]]] = [(start, iter(self.adjacent[start]))] if start not in done else []
            if path:
                done[start] = False
            while path:
                node, rest = path[-1]
                following = next((other for other in rest if not done.get(other, False)), None)
                if following is None:
                    path.pop()
                    done[node] = True
                    order.append(node)
                elif following in done:
                    raise CycleError(f"{following} depends on itself")
                else:
                    done[following] = False
                    path.append((following, iter(self.adjacent.get(following, ()))))
        return order

    def valency_of(self, obj: N) -> int:
        """How many nodes it leads to, itself included, each way counted."""
        if obj not in self.adjacent:
            return 0
        return 1 + sum(self.valency_of(other) for other in self.adjacent[obj])

    def edges(self) -> list[N]:
        """Nodes that depend on another one."""
        return [node for node, nodes in self.adjacent.items() if nodes]

    def to_dot(self, fh: TextIO, formatter: Any = None) -> None:
        """Writes the graph in the graphviz language."""
        label = formatter or self.formatter
        lines = [DOT.HEAD.format(name="dependencies")]
        lines += [DOT.NODE.format(label=label(node)) for node in self.adjacent]
        lines += [
            DOT.EDGE.format(source=label(node), target=label(other))
            for node, nodes in self.adjacent.items()
            for other in nodes
        ]
        fh.write("\n".join([*lines, DOT.TAIL, ""]))

    def items(self) -> Iterable[tuple[N, list[N]]]:
        """`(node, nodes)` pairs."""
        return self.adjacent.items()

    iteritems = items

    def format(self, obj: N) -> str:
        """The node's label."""
        return str(self.formatter(obj))

    def __iter__(self) -> Iterator[N]:
        return iter(self.adjacent)

    def __getitem__(self, node: N) -> list[N]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __repr__(self) -> str:
        return "\n".join(f"{node} -> {', '.join(map(str, nodes))}" for node, nodes in self.items())
