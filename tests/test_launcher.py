"""The server in front of a model goes on serving, whatever its callers do with their connections."""

from unittest.mock import MagicMock

from hallmark.serve import launcher


def test_callers_who_all_hang_up_while_the_cache_is_full_do_not_end_serving() -> None:
    from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING

    kept = dict(SCHEDULER_MAPPING)
    try:
        launcher.unblock_schedulers()
        scheduler = SCHEDULER_MAPPING["fifo"](MagicMock(), None, 4)
    finally:
        SCHEDULER_MAPPING.update(kept)
    scheduler.active_requests = {"a": MagicMock(), "b": MagicMock()}
    scheduler.block_new_requests = True  # as after a request was moved out of a full cache
    scheduler.set_request_cancellation("a")
    scheduler.clear_cancelled_requests()
    assert scheduler.block_new_requests  # the other one will end and let them in
    scheduler.set_request_cancellation("b")
    scheduler.clear_cancelled_requests()
    assert not scheduler.block_new_requests
