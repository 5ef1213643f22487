"""The queue: what is due is handed out once, in time, in order, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from fusioninfer.daemon.queue import Pace, Queue, Schedule, work
from tests import virtual

PACE = Pace()


def never() -> float:
    return 0.0


def schedule(jitter: Callable[[], float] = never) -> Schedule[str]:
    return Schedule(PACE, jitter)


# --- when


def test_first_event_is_handled_without_delay() -> None:
    keys = schedule()
    keys.add("a", 7.0)

    assert keys.next_due() == 7.0
    assert keys.take(7.0) == "a"


def test_event_long_after_the_last_turn_is_handled_without_delay() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.done("a", 0.01)
    keys.add("a", 1.0)

    assert keys.take(1.0) == "a"


def test_event_right_after_a_turn_waits_for_the_pace() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.done("a", 0.01)
    keys.add("a", 0.02)

    assert keys.take(0.02) is None
    assert keys.next_due() == PACE.soonest


def test_what_is_due_longest_goes_first() -> None:
    keys = schedule()
    keys.add("late", 0.0, after=2.0)
    keys.add("early", 0.5, after=1.0)
    keys.add("now", 0.6)

    assert [keys.take(3.0) for _ in range(4)] == ["now", "early", "late", None]


@pytest.mark.parametrize(
    ("first", "second", "due"),
    [
        pytest.param(5.0, 1.0, 1.0, id="sooner"),
        pytest.param(1.0, 5.0, 1.0, id="later"),
        pytest.param(1.0, 1.0, 1.0, id="same"),
    ],
)
def test_earliest_time_asked_for_wins(first: float, second: float, due: float) -> None:
    keys = schedule()
    keys.add("a", 0.0, after=first)
    keys.add("a", 0.0, after=second)

    assert keys.next_due() == due
    assert (keys.take(10.0), keys.take(10.0)) == ("a", None)


def test_key_added_while_it_is_worked_on_comes_again_when_that_is_over() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.add("a", 1.0)

    assert keys.take(50.0) is None
    keys.done("a", 60.0)
    assert keys.take(60.0) == "a"


def test_turn_that_asks_to_come_again_does() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.done("a", 1.0, after=5.0)

    assert keys.next_due() == 6.0


# --- failures


def failed_times(keys: Schedule[str], times: int) -> list[float]:
    """How long `a` waits after each of so many failures in a row."""
    waits, now = [], 0.0
    keys.add("a", now)
    for _ in range(times):
        assert keys.take(now) == "a"
        keys.failed("a", now)
        due = keys.next_due()
        assert due is not None
        waits.append(due - now)
        now = due
    return waits


def test_backoff_doubles_up_to_its_longest() -> None:
    waits = failed_times(schedule(), 14)

    assert waits[0] == PACE.soonest  # 0.05 s would be sooner than any key comes again
    assert waits[1:5] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert waits[-2:] == pytest.approx([60.0, 60.0])


def test_backoff_is_jittered_downwards() -> None:
    waits = failed_times(schedule(random.Random(1).random), 200)[20:]

    assert all(30.0 <= wait <= 60.0 for wait in waits)
    assert max(waits) - min(waits) > 20.0


def test_success_forgets_failures() -> None:
    keys = schedule()
    failed_times(keys, 8)
    keys.take(100.0)
    keys.done("a", 100.0)
    keys.add("a", 101.0)
    keys.take(101.0)
    keys.failed("a", 101.0)

    assert keys.next_due() == 101.0 + PACE.soonest


def test_event_shortens_a_backoff_but_an_outage_is_no_reason_to_hurry() -> None:
    keys = schedule()
    failed_times(keys, 12)
    keys.take(1000.0)
    keys.failed("a", 1000.0)
    keys.add("a", 1000.1)

    assert keys.next_due() == 1000.0 + PACE.soonest_after_failure


def test_retry_after_is_honoured_even_if_something_happens() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.failed("a", 0.0, retry_after=5.0)
    keys.add("a", 0.1)

    assert keys.next_due() == 5.0


def test_retry_after_is_believed_up_to_the_longest_backoff() -> None:
    keys = schedule()
    keys.add("a", 0.0)
    keys.take(0.0)
    keys.failed("a", 0.0, retry_after=1e9)

    assert keys.next_due() == PACE.longest_backoff


def test_others_do_not_wait_for_one_that_fails() -> None:
    keys = schedule()
    failed_times(keys, 10)
    keys.add("b", 100.0)

    assert keys.take(100.0) in {"a", "b"}
    assert keys.take(100.0) in {"a", "b"}


# --- fairness and what it costs


def turns_of(hot: int, cold: int, *, workers: int, seconds: float) -> tuple[Counter[str], list[float]]:
    """Turns of each key, and how long cold keys waited, while `hot` keys get 50 events a second; a turn takes 10 ms."""

    async def story() -> tuple[Counter[str], list[float]]:
        queue: Queue[str] = Queue(monotonic=virtual.clock, jitter=never)
        turns: Counter[str] = Counter()
        added: dict[str, float] = {}
        waits: list[float] = []

        async def reconcile(key: str) -> None:
            turns[key] += 1
            if key in added:
                waits.append(virtual.clock() - added.pop(key))
            await asyncio.sleep(0.01)

        working = asyncio.create_task(work(queue, reconcile, workers=workers, told=lambda *_: None))
        for tick in range(int(seconds * 50)):
            for index in range(hot):
                queue.add(f"hot-{index}")
            if tick % 10 == 0 and tick // 10 < cold:
                added[f"cold-{tick // 10}"] = virtual.clock()
                queue.add(f"cold-{tick // 10}")
            await asyncio.sleep(0.02)
        queue.close()
        await working
        return turns, waits

    return virtual.run(story())


def test_hot_key_does_not_hold_up_others() -> None:
    turns, waits = turns_of(1, 40, workers=1, seconds=10.0)

    assert len(waits) == 40
    assert max(waits) <= 0.011  # the one turn that was under way
    assert turns["hot-0"] <= 10.0 / PACE.soonest + 1


def test_as_many_hot_keys_as_a_worker_can_take_do_not_starve_others() -> None:
    _, waits = turns_of(9, 40, workers=1, seconds=10.0)

    assert len(waits) == 40
    assert max(waits) <= 10 * 0.01 + 0.001


def test_voided_times_are_forgotten() -> None:
    keys = schedule()
    for second in range(10_000):
        keys.add("a", float(second))
        keys.take(float(second))
        keys.done("a", second + 0.5, after=1e6)

    assert len(keys._order) < 200
    assert len(keys._rests) + len(keys._resting) < 10


# --- properties


class Handling(RuleBasedStateMachine):
    """Any order of events, turns and failures, against what must hold in each."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.schedule = schedule(random.Random(0).random)
        self.working: set[int] = set()
        self.unhandled: dict[int, float] = {}
        """Events that no turn began after, by when they came."""
        self.told_to_wait: dict[int, float] = {}

    def _take(self) -> int | None:
        key = self.schedule.take(self.now)
        return None if key is None else int(key)

    @rule(key=st.integers(0, 4))
    def event(self, key: int) -> None:
        self.schedule.add(str(key), self.now)
        self.unhandled.setdefault(key, self.now)

    @rule(key=st.integers(0, 4), after=st.floats(0, 100))
    def later(self, key: int, after: float) -> None:
        self.schedule.add(str(key), self.now, after)

    @rule(seconds=st.floats(0, 90))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def turn(self) -> None:
        key = self._take()
        if key is not None:
            assert key not in self.working, "two workers on one key"
            assert self.now >= self.told_to_wait.get(key, 0.0), "a Retry-After was not honoured"
            self.working.add(key)
            self.unhandled.pop(key, None)

    @rule(data=st.data(), after=st.none() | st.floats(0, 100))
    def done(self, data: st.DataObject, after: float | None) -> None:
        if self.working:
            key = data.draw(st.sampled_from(sorted(self.working)))
            self.working.remove(key)
            self.schedule.done(str(key), self.now, after)

    @rule(data=st.data(), retry_after=st.sampled_from([0.0, 0.0, 5.0, 1e6]))
    def failed(self, data: st.DataObject, retry_after: float) -> None:
        if self.working:
            key = data.draw(st.sampled_from(sorted(self.working)))
            self.working.remove(key)
            self.schedule.failed(str(key), self.now, retry_after)
            self.unhandled.setdefault(key, self.now)
            self.told_to_wait[key] = self.now + min(retry_after, PACE.longest_backoff)

    @invariant()
    def nothing_is_lost(self) -> None:
        for key in self.unhandled.keys() - self.working:
            due = self.schedule._due.get(str(key))
            assert due is not None, "an event will never be handled"
            assert due <= self.now + PACE.longest_backoff * 1.25

    @invariant()
    def depth_is_what_could_be_taken(self) -> None:
        due = self.schedule.next_due()
        assert (self.schedule.depth(self.now) > 0) == (due is not None and due <= self.now)


TestHandling = Handling.TestCase


# --- waiting


def test_take_waits_until_a_key_is_due() -> None:
    async def story() -> tuple[str | None, float]:
        queue: Queue[str] = Queue(monotonic=virtual.clock)
        queue.add_after("a", 30.0)
        return await queue.take(), virtual.clock()

    key, seconds = virtual.run(story())
    assert key == "a"
    assert seconds == pytest.approx(30.0)


def test_take_wakes_for_what_is_added_while_it_waits() -> None:
    async def story() -> tuple[str | None, float]:
        queue: Queue[str] = Queue(monotonic=virtual.clock)
        queue.add_after("late", 30.0)
        asyncio.get_running_loop().call_later(1.0, queue.add, "now")
        return await queue.take(), virtual.clock()

    key, seconds = virtual.run(story())
    assert key == "now"
    assert seconds == pytest.approx(1.0)


def test_closing_ends_all_workers_after_what_they_hold() -> None:
    async def story() -> list[str]:
        queue: Queue[str] = Queue(monotonic=virtual.clock)
        finished: list[str] = []

        async def reconcile(key: str) -> None:
            await asyncio.sleep(2.0)
            finished.append(key)

        working = asyncio.create_task(work(queue, reconcile, workers=3, told=lambda *_: None))
        queue.add("held")
        await asyncio.sleep(1.0)
        queue.add("too late")
        queue.close()
        await working
        return finished

    # The queue closes in the same moment in which the key is added: a worker must not see the key first.
    assert virtual.run(story()) == ["held"]


class Busy(Exception):
    """The server said when to come again."""

    retry_after_seconds = 5.0


@pytest.mark.parametrize(
    ("error", "again_at"),
    [pytest.param(ValueError("a bug"), 0.1, id="backs off"), pytest.param(Busy(), 5.0, id="Retry-After")],
)
def test_worker_outlives_errors(error: Exception, again_at: float) -> None:
    async def story() -> tuple[list[float], list[Exception | None]]:
        queue: Queue[str] = Queue(monotonic=virtual.clock, jitter=never)
        turns: list[float] = []
        told: list[Exception | None] = []

        async def reconcile(_: str) -> None:
            turns.append(virtual.clock())
            if len(turns) == 1:
                raise error

        working = asyncio.create_task(
            work(queue, reconcile, workers=1, told=lambda _key, _s, error: told.append(error))
        )
        queue.add("a")
        await asyncio.sleep(20.0)
        queue.close()
        await working
        return turns, told

    turns, told = virtual.run(story())
    assert turns == pytest.approx([0.0, again_at])
    assert told == [error, None]


def test_one_key_is_never_with_two_workers() -> None:
    async def story() -> int:
        queue: Queue[int] = Queue(monotonic=virtual.clock)
        holding: Counter[int] = Counter()
        dice = random.Random(3)
        turns = 0

        async def reconcile(key: int) -> float | None:
            nonlocal turns
            turns += 1
            holding[key] += 1
            assert holding[key] == 1
            await asyncio.sleep(dice.random())
            holding[key] -= 1
            if dice.random() < 0.2:
                raise ValueError
            return dice.choice([None, dice.random()])

        def told(_key: int, _seconds: float, error: Exception | None) -> None:
            assert not isinstance(error, AssertionError)

        working = asyncio.create_task(work(queue, reconcile, workers=8, told=told))
        for _ in range(2000):
            queue.add(dice.randrange(6))
            await asyncio.sleep(dice.random() / 10)
        queue.close()
        await working
        return turns

    assert virtual.run(story()) > 200
