"""Slots for downloads: never more than there are, and none is ever lost."""

import threading

import pytest

from portal.releases.capacity import Full, Slot, Slots


def test_no_more_than_the_most_are_given() -> None:
    slots = Slots(2, 2)
    held = [slots.take("alice"), slots.take("bob")]
    with pytest.raises(Full) as full:
        slots.take("carol")
    assert not full.value.own
    held[0].give_back()
    slots.take("carol")


def test_one_client_has_its_own_limit_and_leaves_the_others_theirs() -> None:
    slots = Slots(10, 2)
    held = [slots.take("alice"), slots.take("alice")]
    with pytest.raises(Full) as full:
        slots.take("alice")
    assert full.value.own
    held.append(slots.take("bob"))
    held[1].give_back()
    held.append(slots.take("alice"))
    assert slots.running == 3


def test_giving_back_twice_frees_one_slot() -> None:
    slots = Slots(3, 3)
    first, second = slots.take("alice"), slots.take("alice")
    first.give_back()
    first.give_back()
    assert slots.running == 1
    second.give_back()
    assert slots.running == 0


def test_a_slot_that_was_lost_is_free_again() -> None:
    """An answer may be dropped before any server has it, so that nobody ever closes it."""
    slots = Slots(1, 1)
    slot: Slot | None = slots.take("alice")
    assert slots.running == 1
    del slot
    slots.take("bob")


def test_many_threads_never_hold_more_than_the_most() -> None:
    slots = Slots(5, 5)
    highest: list[int] = []
    refused: list[Full] = []

    def hammer() -> None:
        for _ in range(300):
            try:
                slot = slots.take("alice")
            except Full as full:
                refused.append(full)
            else:
                highest.append(slots.running)
                slot.give_back()

    threads = [threading.Thread(target=hammer) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(highest) <= 5
    assert len(highest) + len(refused) == 12 * 300
    assert slots.running == 0
