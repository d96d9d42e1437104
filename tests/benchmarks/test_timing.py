"""Times of calls that take turns."""

import time

from benchmarks import timing


def test_calls_take_turns_and_the_first_ones_do_not_count():
    made = []
    slow = iter([0.1, 0.1, 0.005, 0.005, 0.005])

    def call():
        made.append("slow")
        time.sleep(next(slow))

    found = timing.median_seconds({"slow": call, "fast": lambda: made.append("fast")}, 3)
    assert made == ["slow", "fast"] * (timing.UNCOUNTED + 3)
    assert 0.005 <= found["slow"] < 0.1 and found["fast"] < found["slow"]


def test_wall_time_and_cpu_time_are_apart():
    wall, cpu = timing.mean_seconds(lambda: time.sleep(0.02), 0.1)
    assert wall >= 0.02 > cpu >= 0
