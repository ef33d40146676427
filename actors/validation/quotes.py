"""Quotes judged: crossed or stale. Pure. No bar is made of a quote, so nothing waits for the verdict.

Quotes are sparse, and the two sides of a book may come one after the other: a bid above the ask that was last heard of
is news of the ask to come, and no error. So a quote is crossed only by what it says itself.
"""

from __future__ import annotations

from typing import Literal

from tickloom.messages.market import Quote

QuoteReason = Literal["quote_crossed", "quote_stale"]

QUOTE_REASONS: dict[QuoteReason, str] = {
    "quote_crossed": "the bid lies above the ask",
    "quote_stale": "the stamp lies further behind the contract's newest quote than the lateness allowed",
}

MOST_QUOTED = 4096
"""Contracts whose newest quote is remembered; when there are more, names are made up, and all are forgotten."""


def judge(quote: Quote, newest_ns: int, lateness_ns: int) -> QuoteReason | None:
    """Return why a quote is rejected, or None. `newest_ns` is the newest stamp of its contract's quotes before it."""
    if quote.ts_ns < newest_ns - lateness_ns:
        return "quote_stale"
    if quote.bid is not None and quote.ask is not None and quote.bid > quote.ask:
        return "quote_crossed"
    return None


def why(reason: QuoteReason, quote: Quote, newest_ns: int, lateness_ns: int) -> str:
    """Return the words that condemn a quote, with what it was held against."""
    if reason == "quote_stale":
        return f"{QUOTE_REASONS[reason]}: newest {newest_ns} ns, allowed {lateness_ns} ns"
    return f"{QUOTE_REASONS[reason]}: bid {quote.bid:g}, ask {quote.ask:g}"
