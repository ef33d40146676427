from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.scripts.gateway.shaping import Cursor, Item, shape
from tickloom.scripts.gateway.switches import ELEMENT_KINDS, MESSAGE_KINDS, Switches

percent = st.sampled_from([0.0, 1.0, 20.0, 60.0, 100.0])
switches = st.builds(Switches, duplicate_pct=percent, out_of_order_pct=percent, drop_pct=percent, bad_pct=percent)
seeds = st.integers(0, (1 << 64) - 1)


@settings(deadline=None)
@given(switches, seeds, st.lists(st.integers(0, 30), max_size=20), st.integers(-50, 10**9))
def test_faults_do_not_depend_on_how_the_ticks_were_cut_into_batches(switches, seed, cuts, first):
    cursor, items, dropped = Cursor(first), [], []
    for cut in cuts:
        shaped = shape(cursor, cursor.next + cut - 1, seed, switches)
        items += shaped.items
        dropped += shaped.dropped
        cursor = shaped.cursor
    whole = shape(Cursor(first), first + sum(cuts) - 1, seed, switches)
    assert (items, dropped, cursor) == (whole.items, whole.dropped, whole.cursor)


@settings(deadline=None)
@given(switches, seeds, st.integers(1, 400))
def test_every_tick_is_sent_dropped_or_still_held(switches, seed, count):
    shaped = shape(Cursor(0), count - 1, seed, switches)
    sent = {item.tick for item in shaped.items if item.bad is None}
    held = {shaped.cursor.held} - {None}
    assert sent | set(shaped.dropped) | held == set(range(count))
    assert not sent & set(shaped.dropped)
    assert not sent & held


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_a_late_tick_is_one_to_four_ticks_late(seed):
    shaped = shape(Cursor(0), 999, seed, Switches(out_of_order_pct=10))
    order = [item.tick for item in shaped.items]
    late = [at for at in range(1, len(order)) if order[at] < order[at - 1]]
    assert late
    for at in late:
        newer = [tick for tick in order[:at] if tick > order[at]]
        assert 1 <= len(newer) <= 4
    assert sorted(order + [t for t in (shaped.cursor.held,) if t is not None]) == list(range(1000))


def test_percentages_hold_on_average_and_a_broken_thing_stands_after_its_tick():
    pct = Switches(duplicate_pct=3, drop_pct=2, bad_pct=8)
    shaped = shape(Cursor(0), 99_999, 77, pct)
    good = [item.tick for item in shaped.items if item.bad is None]
    bad = [item for item in shaped.items if item.bad]
    assert abs(len(shaped.dropped) - 2000) < 250
    assert abs(len(good) - len(set(good)) - 0.98 * 3000) < 300
    assert abs(len(bad) - 0.98 * 8000) < 500
    assert {item.bad for item in bad} == set(ELEMENT_KINDS + MESSAGE_KINDS)
    for before, item in zip(shaped.items, shaped.items[1:], strict=False):
        assert not item.bad or before.tick == item.tick


def test_when_the_fault_is_switched_off_a_held_tick_comes_out_with_the_next_batch():
    shaped = shape(Cursor(10, held=7, left=3), 9, 1, Switches())
    assert shaped.items == [Item(7)]
    assert shaped.cursor == Cursor(10)
