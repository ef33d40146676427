"""An actor of your own in the tree: fed with bars, asked from outside, crashed on purpose, and back with its state.

What it commits belongs to its place, so the next incarnation goes on from there. Its mailbox and its breaker are its
own: nothing it does reaches the session.
"""

from __future__ import annotations

import time
from typing import Any

from emulated import arguments, session_for

import tickloom
from tickloom.supervision import NOTHING, Actor, ChildSpec, Failure, MailboxSpec, Policy


class Profile(Actor):
    """Volume by price: what the market has traded where. Prices in ticks."""

    def on_start(self) -> None:
        """Begin with what the incarnation before had committed."""
        kept = self.context.recall()
        self._volume: dict[int, int] = {} if kept is NOTHING else dict(kept)

    def on_batch(self, messages: list[Any]) -> None:
        """Add the bars, and commit. The batch comes again if this raises."""
        for bar in messages:
            if isinstance(bar, tickloom.Bar):
                self._volume[bar.close] = self._volume.get(bar.close, 0) + bar.volume
        self.context.commit(dict(self._volume))

    def on_control(self, message: Any) -> Any:
        """Answer what is asked; crash when told to."""
        match message:
            case "busiest":
                return max(self._volume.items(), key=lambda item: item[1], default=None)
            case "volume":
                return sum(self._volume.values())
            case "crash":
                raise RuntimeError("as you wish")
        return self.unhandled(message)


def main() -> None:
    """Let it work, crash it, and ask it again."""
    given = arguments(__doc__.splitlines()[0]).parse_args()
    with session_for(given.contract, ("1s",), live=given.live) as session:
        box = MailboxSpec(capacity=1000, policy=Policy.DROP_OLDEST)
        path = session.add_actor(ChildSpec(id="profile", start=Profile, mailbox=box))
        session.deliver(path, given.contract, "1s")
        with session:
            session.events(lambda event: print(f"told: {event.path} failed") if isinstance(event, Failure) else None)
            time.sleep(given.seconds / 2)
            profile = session.ref(path)
            before = profile.ask("volume")
            profile.tell("crash")
            after = profile.ask("volume")  # waits for the next incarnation
            ticks, volume = profile.ask("busiest")
            price = session.instruments[given.contract].to_price(ticks)
            print(f"volume {before} before and {after} after the crash; most at {price}: {volume}")
            time.sleep(given.seconds / 2)
            view = session.tree().find(path)
            print(f"{view.path}: {view.state}, {view.restarts} restart, breaker {view.breaker}, {view.handled} bars")


if __name__ == "__main__":
    main()
