"""What comes next is made in a thread; in the same order, and with the same errors."""

import threading

import pytest

from malmoi.data.prefetch import prefetched


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_results_come_in_order_and_the_thread_ends():
    assert list(prefetched(lambda number: number * 10, range(5), ahead=2)) == [0, 10, 20, 30, 40]
    assert not running()


def test_no_more_is_made_than_asked_for():
    made = []
    ready = threading.Semaphore(0)

    def make(number):
        made.append(number)
        ready.release()
        return number

    results = prefetched(make, range(10), ahead=2)
    next(results)
    for _ in range(3):
        ready.acquire(timeout=5)
    assert made == [0, 1, 2], "the one in use and two more"
    results.close()
    assert not running()


def test_the_next_is_made_while_the_first_is_used():
    second = threading.Event()
    results = prefetched(lambda number: second.set() if number else None, range(2), ahead=1)
    next(results)
    assert second.wait(5)
    results.close()


def test_an_error_is_raised_where_its_result_is_due():
    results = prefetched(lambda number: 6 // number, (3, 2, 0, 1), ahead=4)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not running()


def test_closed_before_it_began_it_makes_nothing():
    made = []
    prefetched(made.append, range(3), ahead=2).close()
    assert not made
