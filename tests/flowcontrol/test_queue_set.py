"""Fair queuing for seats, in virtual time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from keelback.flowcontrol.queue_set import CONCURRENCY_LIMIT, QUEUE_FULL, QueueSet, Queuing, Ticket
from keelback.flowcontrol.width import ONE, Width

SERVICE_SECONDS = 0.01


def hand(*queues: int) -> tuple[int, ...]:
    return queues


def drain(queues: QueueSet, executing: list[Ticket], now: float) -> list[Ticket]:
    """Serve all requests, each for a while; the order in which they began."""
    order = []
    while executing:
        one = executing.pop(0)
        now = max(now, one.started + SERVICE_SECONDS)
        queues.leave(one, now)
        begun = list(queues.dispatch(now))
        order += begun
        executing += begun
    return order


def test_a_request_that_finds_seats_begins_at_once() -> None:
    queues = QueueSet(2, Queuing(4, 2, 5), 0.0)
    ticket = Ticket(ONE, 0.0, hand(0, 1))
    assert queues.arrive(ticket, 0.0) == ""
    assert (ticket.state, queues.executing) == ("executing", 1)
    queues.leave(ticket, 1.0)
    assert queues.is_idle


def test_a_flood_waits_for_itself_and_not_others_for_it() -> None:
    queues = QueueSet(1, Queuing(4, 1, 100), 0.0)
    first = Ticket(ONE, 0.0, hand(0))
    queues.arrive(first, 0.0)
    flood = [Ticket(ONE, 0.0, hand(0), "flood") for _ in range(50)]
    for one in flood:
        queues.arrive(one, 0.0)
    late = Ticket(ONE, 0.001, hand(1), "late")
    queues.arrive(late, 0.001)
    order = drain(queues, [first], 0.001)
    assert order.index(late) <= 1
    assert [one for one in order if one is not late] == flood, "each queue is served in the order of arrival"


def test_a_flood_of_long_requests_is_not_taken_to_be_behind() -> None:
    queues = QueueSet(4, Queuing(2, 1, 100), 0.0)
    long = [Ticket(ONE, 0.0, hand(0)) for _ in range(20)]
    for one in long:
        queues.arrive(one, 0.0)
    late = Ticket(ONE, 1.0, hand(1))
    queues.arrive(late, 1.0)
    queues.leave(long[0], 1.0)
    assert list(queues.dispatch(1.0)) == [late]


def test_two_floods_are_served_by_turns() -> None:
    queues = QueueSet(1, Queuing(2, 1, 100), 0.0)
    first = Ticket(ONE, 0.0, hand(0))
    queues.arrive(first, 0.0)
    for name, index in (("left", 0), ("right", 1)):
        for _ in range(20):
            queues.arrive(Ticket(ONE, 0.0, hand(index), name), 0.0)
    order = [one.subject for one in drain(queues, [first], 0.0)]
    for end in range(2, 40, 2):
        assert abs(order[:end].count("left") - order[:end].count("right")) <= 2


def test_wide_requests_use_up_their_flow_s_part_sooner() -> None:
    queues = QueueSet(10, Queuing(2, 1, 100), 0.0)
    first = Ticket(Width(10), 0.0, hand(0))
    queues.arrive(first, 0.0)
    for _ in range(20):
        queues.arrive(Ticket(Width(10), 0.0, hand(0), "wide"), 0.0)
    for _ in range(100):
        queues.arrive(Ticket(ONE, 0.0, hand(1), "narrow"), 0.0)
    order = [one.subject for one in drain(queues, [first], 0.0)]
    last_narrow = max(index for index, name in enumerate(order) if name == "narrow")
    assert 5 <= order[:last_narrow].count("wide") <= 15


def test_a_full_queue_turns_away() -> None:
    queues = QueueSet(1, Queuing(1, 1, 2), 0.0)
    answers = [queues.arrive(Ticket(ONE, 0.0, hand(0)), 0.0) for _ in range(4)]
    assert answers == ["", "", "", QUEUE_FULL]


def test_a_level_without_queues_turns_away_what_finds_no_seat() -> None:
    queues = QueueSet(1, None, 0.0)
    assert queues.arrive(Ticket(ONE, 0.0), 0.0) == ""
    refused = Ticket(ONE, 0.0)
    assert queues.arrive(refused, 0.0) == CONCURRENCY_LIMIT
    assert refused.state == "gone"


def test_what_is_wider_than_the_level_is_served_alone() -> None:
    queues = QueueSet(2, Queuing(2, 1, 10), 0.0)
    small, wide = Ticket(ONE, 0.0, hand(0)), Ticket(Width(9), 0.0, hand(1))
    queues.arrive(small, 0.0)
    queues.arrive(wide, 0.0)
    assert wide.state == "waiting"
    queues.leave(small, 1.0)
    assert list(queues.dispatch(1.0)) == [wide]


def test_a_write_keeps_seats_after_its_answer_while_watchers_are_told() -> None:
    queues = QueueSet(4, Queuing(1, 1, 10), 0.0)
    write, read = Ticket(Width(1, 4, 0.5), 0.0, hand(0)), Ticket(ONE, 0.0, hand(0))
    queues.arrive(write, 0.0)
    queues.arrive(read, 0.0)
    queues.leave(write, 1.0)
    assert list(queues.dispatch(1.0)) == []
    assert queues.wakes_at == 1.5
    assert list(queues.dispatch(1.5)) == [read]


def test_an_exempt_request_waits_for_no_seat() -> None:
    queues = QueueSet(0, None, 0.0)
    ticket = Ticket(ONE, 0.0)
    queues.admit(ticket, 0.0)
    assert ticket.state == "executing"
    queues.leave(ticket, 1.0)
    assert queues.is_idle


def test_who_is_due_first_and_needs_no_more_than_is_free_does_not_wait_until_somebody_goes() -> None:
    queues = QueueSet(10, Queuing(4, 1, 100), 0.0)
    lists = [Ticket(Width(8), 0.0, hand(0)) for _ in range(5)]
    for one in lists:
        queues.arrive(one, 0.0)
    assert [one.state for one in lists] == ["executing"] + ["waiting"] * 4
    get = Ticket(ONE, 0.001, hand(1))
    queues.arrive(get, 0.001)
    assert get.state == "executing"
    another_list = Ticket(Width(8), 0.001, hand(1))
    queues.arrive(another_list, 0.001)
    assert another_list.state == "waiting"
    assert [one.state for one in lists] == ["executing"] + ["waiting"] * 4


def test_who_no_longer_waits_is_forgotten() -> None:
    queues = QueueSet(1, Queuing(2, 2, 10), 0.0)
    first, second, third = (Ticket(ONE, 0.0, hand(0, 1)) for _ in range(3))
    for one in (first, second, third):
        queues.arrive(one, 0.0)
    queues.leave(second, 0.5)
    queues.leave(first, 1.0)
    assert list(queues.dispatch(1.0)) == [third]


def test_more_seats_let_more_begin() -> None:
    queues = QueueSet(1, Queuing(2, 1, 10), 0.0)
    tickets = [Ticket(ONE, 0.0, hand(index % 2)) for index in range(5)]
    for one in tickets:
        queues.arrive(one, 0.0)
    queues.configure(4, Queuing(2, 1, 10))
    assert len(list(queues.dispatch(0.0))) == 3


def test_fewer_queues_lose_nobody() -> None:
    queues = QueueSet(1, Queuing(4, 1, 10), 0.0)
    tickets = [Ticket(ONE, 0.0, hand(index)) for index in range(4)]
    for one in tickets:
        queues.arrive(one, 0.0)
    queues.configure(1, Queuing(1, 1, 10))
    assert set(drain(queues, [tickets[0]], 0.0)) == set(tickets[1:])
    queues.configure(1, Queuing(1, 1, 10))
    assert len(queues.queues) == 1


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 6))
def test_whatever_comes_and_goes_seats_are_kept_to_and_everybody_is_served(seed: int, seats: int, decks: int) -> None:
    chance = random.Random(seed)
    queues = QueueSet(seats, Queuing(decks, min(2, decks), 8), 0.0)
    now = 0.0
    executing: list[Ticket] = []
    ended: list[Ticket] = []
    waiting: set[Ticket] = set()
    for _ in range(150):
        now += chance.random() * 0.01
        if chance.random() < 0.6:
            width = Width(chance.randint(1, 4), chance.choice((0, 0, 2)), 0.004)
            if not width.final_seats:
                width = Width(width.initial_seats)
            cards = tuple(chance.sample(range(decks), min(2, decks)))
            ticket = Ticket(width, now, cards)
            if queues.arrive(ticket, now) == "":
                (executing.append if ticket.state == "executing" else waiting.add)(ticket)
        elif waiting and chance.random() < 0.2:
            gone = min(waiting, key=lambda one: one.arrived)
            waiting.discard(gone)
            queues.leave(gone, now)
        elif executing:
            ended.append(executing.pop(chance.randrange(len(executing))))
            queues.leave(ended[-1], now)
        for begun in queues.dispatch(now):
            waiting.discard(begun)
            executing.append(begun)
        assert queues.seats_in_use <= max(seats, max((one.width.most_seats for one in (*executing, *ended)), default=0))
        assert queues.executing == len(executing)
        assert queues.waiting == len(waiting)
        if queues.waiting:
            assert queues.seats_in_use, "nobody waits beside free seats"
    for _ in range(400):
        if not executing and not waiting:
            break
        now += 0.01
        if executing:
            queues.leave(executing.pop(), now)
        for begun in queues.dispatch(now):
            waiting.discard(begun)
            executing.append(begun)
    now += 1.0
    list(queues.dispatch(now))
    assert queues.is_idle
    assert queues.seats_in_use == 0
    assert all(queue.is_idle and not queue.seats_in_use for queue in queues.queues)


def test_what_is_answered_in_one_step_leaves_nothing_behind() -> None:
    queues = QueueSet(2, Queuing(4, 2, 5), 0.0)
    assert queues.begin_step((0, 1), 1, 1.0, is_exempt=False)
    assert (queues.seats_in_use, queues.executing) == (1, 1)
    queues.end_step(1, 3.0)
    assert queues.is_idle
    assert queues.seats_in_use == 0
    assert queues.virtual_time == 2.0
    demand = queues.take_demand(4.0)
    assert (demand.highest, demand.average) == (1.0, 0.5)


def test_what_turns_out_to_wait_executes_from_when_it_began() -> None:
    queues = QueueSet(1, Queuing(4, 2, 5), 0.0)
    assert queues.begin_step((0, 1), 1, 1.0, is_exempt=False)
    ticket = Ticket(ONE, 1.0, (0, 1))
    queues.stay(ticket, 1.0)
    assert (ticket.state, ticket.started, queues.seats_in_use, queues.executing) == ("executing", 1.0, 1, 1)
    other = Ticket(ONE, 1.5, (2, 3))
    queues.arrive(other, 1.5)
    assert other.state == "waiting"
    queues.leave(ticket, 2.0)
    assert list(queues.dispatch(2.0)) == [other]


def test_nobody_goes_ahead_of_those_who_wait_nor_of_those_in_the_same_queue() -> None:
    queues = QueueSet(2, Queuing(4, 1, 5), 0.0)
    first = Ticket(ONE, 0.0, (0,))
    queues.arrive(first, 0.0)
    assert not queues.begin_step((0,), 1, 0.0, is_exempt=False), "the queue is busy"
    assert not queues.begin_step((1,), 2, 0.0, is_exempt=False), "there are not as many seats"
    queues.arrive(Ticket(ONE, 0.0, (0,)), 0.0)
    queues.arrive(Ticket(ONE, 0.0, (0,)), 0.0)
    queues.seats = 9
    assert not queues.begin_step((1,), 1, 0.0, is_exempt=False), "others wait"
    assert queues.begin_step((), 1, 0.0, is_exempt=True), "who is exempt waits for nobody"
