"""What dispatch promises, as plain values: lanes with queues, owners and deaths. It knows no Redis and no script."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.lane_rules import depends
from orderlane.intents import Intent

UNREADABLE_RANK = 5


@dataclass(eq=False)
class Entry:
    """One entry of the stream. `intent` is None for what is no intent; such an entry has a lane of its own."""

    id: str
    intent: Intent | None
    rank: int = UNREADABLE_RANK
    begun: bool = False
    deleted: bool = False
    deaths: int = 0

    @property
    def lane(self) -> str:
        return self.intent.lane if self.intent else f"!{self.id}"

    @property
    def place(self) -> tuple[bool, int, tuple[int, ...]]:
        """Where it stands in its lane: the begun entry first, then by rank, then by age."""
        return not self.begun, self.rank, self.age

    @property
    def age(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.id.split("-"))


@dataclass
class Lane:
    queue: list[Entry] = field(default_factory=list)
    owner: str = ""
    """`worker id#grant`, or nothing."""
    in_hand: Entry | None = None
    parked: Entry | None = None
    """The entry whose outcome is not known, while the lane waits for evidence."""
    turned: tuple[int, int] | None = None
    """It made room for others, with this rank, at this moment (ms): it is behind who waited then."""
    called: bool = False
    """Let run again by an operator: it goes before every other lane."""

    @property
    def head(self) -> Entry:
        return min(self.queue, key=lambda entry: entry.place)


@dataclass
class Model:
    unread: list[Entry] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)

    def waiting(self) -> list[Entry]:
        return [entry for lane in self.lanes.values() for entry in lane.queue]

    def read(self) -> None:
        """Sort what was appended into its lanes."""
        for entry in self.unread:
            lane = self.lanes.setdefault(entry.lane, Lane())
            if entry.intent is not None:
                entry.rank = self._rank(lane, entry.intent)
            lane.queue.append(entry)
        self.unread = []

    def _rank(self, lane: Lane, intent: Intent) -> int:
        """Its urgency, or that of the least urgent entry it would overtake and needs."""
        passed = [
            one for one in lane.queue if not one.begun and not one.deleted and one.rank > intent.urgency
        ]
        needed = [one.rank for one in passed if one.intent and depends(intent, one.intent)]
        return max([intent.urgency, *needed])

    def ready(self) -> list[str]:
        """The lanes with work that nobody runs, in the order in which they are given."""
        free = {
            name: lane
            for name, lane in self.lanes.items()
            if lane.queue and not lane.owner and not lane.parked
        }

        def urgency(name: str) -> tuple[bool, int, int, str]:
            head = free[name].head
            if free[name].called:
                return False, 0, 0, name
            rank, turned = 0 if head.begun else head.rank, free[name].turned
            return True, rank, turned[1] if turned and turned[0] <= rank else head.age[0], name

        return sorted(free, key=urgency)

    def give(self, want: int, owner: str) -> list[Entry]:
        given = []
        for name in self.ready()[:want]:
            lane = self.lanes[name]
            lane.owner, lane.in_hand, lane.called, lane.turned = owner, lane.head, False, None
            given.append(lane.head)
        return given

    def end(self, entry: Entry) -> None:
        """The entry in hand is finished; whether its lane is kept is for the caller to say."""
        lane = self.lanes[entry.lane]
        assert lane.in_hand is entry
        lane.queue.remove(entry)
        lane.in_hand = None

    def keep(self, name: str) -> Entry:
        lane = self.lanes[name]
        lane.in_hand = lane.head
        return lane.head

    def free(self, name: str) -> None:
        lane = self.lanes[name]
        lane.owner, lane.in_hand = "", None
        if not lane.queue:
            del self.lanes[name]

    def owned_by(self, worker_id: str, grant: int | None = None) -> list[str]:
        return [
            name
            for name, lane in self.lanes.items()
            if lane.owner.rpartition("#")[0] == worker_id
            and (grant is None or lane.owner == f"{worker_id}#{grant}")
        ]

    def bury(self, worker_id: str) -> None:
        """A worker whose lease has ended: what it had in hand counts one death more."""
        for name in self.owned_by(worker_id):
            in_hand = self.lanes[name].in_hand
            assert in_hand is not None
            in_hand.deaths += 1
            self.free(name)
