"""Actors whose thread owns one asyncio event loop, and every task in it.

The hooks are coroutines and run one at a time, in the loop of the actor's own thread; control still goes before
data. Tasks are made with `spawn`: one that fails crashes the actor, and all are cancelled and awaited before `on_exit`
ends, so none outlives its owner. A coroutine must not call `Ref.put` on a mailbox that blocks, nor `Ref.ask`: use
`put_async`, `offer` and `ask_async`, which do not hold up the loop.

Told to stop now, whatever the main coroutine awaits is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tickloom.supervision.actor import ActorBase, Next
from tickloom.supervision.context import ActorContext
from tickloom.supervision.envelopes import Batch, CatchUp, Control, Status
from tickloom.supervision.exits import Exit

T = TypeVar("T")


class AsyncActor(ActorBase):
    """Base of actors with asynchronous hooks. Made by `ChildSpec.start(context)`, as `Actor` is."""

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._task_error: BaseException | None = None

    # --- to override ---

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Set up. Raising is a failed start; raising `Declined` declines."""

    async def on_batch(self, messages: list[Any]) -> None:
        """Handle what has gathered on the data lane: 1 to `max_batch` messages, in order. Do not change the list."""
        for message, sender in zip(messages, self.senders, strict=True):
            self.unhandled(message, sender)

    async def on_control(self, message: Any) -> Any:
        """Handle a control message. When it was an ask, the value returned is the reply, and an exception is too.

        An exception crashes the actor as well, unless it is an `AskRefused`, which is an answer.
        """
        return self.unhandled(message, self.sender)

    async def on_catch_up(self, first_missed: Any) -> None:
        """Learn, before any later message, what was the first to go missing while the breaker was open."""

    async def on_exit(self, reason: Exit) -> None:
        """Clean up. Called once however the actor ends, after its tasks are gone, in its own thread and loop."""

    def holds(self) -> dict[str, int]:
        """Return its tasks, those that libraries began in its loop among them. Override with `super().holds() | …`."""
        loop = self._loop
        return {"tasks": 0 if loop is None or loop.is_closed() else len(asyncio.all_tasks(loop))}

    # --- to use ---

    def spawn(self, work: Coroutine[Any, Any, T], name: str = "task") -> asyncio.Task[T]:
        """Run a coroutine as a task of this actor, beside its hooks. If it raises, the actor crashes."""
        assert self._loop is not None
        task = self._loop.create_task(work, name=f"{self.path}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    async def sleep(self, seconds: float) -> None:
        """Sleep by the tree's clock, which in tests is moved by hand."""
        assert self._loop is not None
        loop, over = self._loop, self._loop.create_future()

        def resolve() -> None:
            if not over.done():
                over.set_result(None)

        def due() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve)

        cancel = self._place.services.call_later(seconds, due)
        try:
            await over
        finally:
            cancel()

    # --- the loop ---

    def _actor_loop(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        main = loop.create_task(self._main(), name=f"{self.path}:main")
        life = self._life
        life.main_task = main
        life.break_off = lambda: self._call_soon(main.cancel)
        if life.must_leave():
            life.interrupt()
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            if self._task_error is None and not life.must_leave():
                raise
        finally:
            life.break_off = None
            life.main_task = None
        if self._task_error is not None:
            self._phase = "task"
            raise self._task_error

    async def _main(self) -> None:
        self._check("start")
        await self.on_start()
        self._on_up()
        while True:
            following = await self._turn()
            if following is Next.LEAVE:
                return
            if following is Next.IDLE:
                await self._event.wait()
                self._event.clear()

    async def _turn(self) -> Next:
        life = self._life
        if self._leaves() or self._task_error is not None:
            return Next.LEAVE
        mailbox = self._place.mailbox
        status, controls, batch = mailbox.poll(life.epoch, self._place.max_batch, self._wake)
        if status is Status.IDLE:
            return Next.IDLE
        if status is not Status.WORK:
            return Next.LEAVE
        for i, control in enumerate(controls):
            life.in_hand = (controls, i)
            try:
                await self._control(control)
            except BaseException:
                life.hand_back()
                raise
            if self._leaves():
                life.hand_back()
                return Next.LEAVE
        life.in_hand = None
        if batch is not None:
            await self._batch(batch)
        return Next.AGAIN

    async def _control(self, control: Control) -> None:
        answer, message = control.answer, control.message
        if answer is not None and answer.settled:
            return
        self._sender = control.sender
        try:
            self._phase = "turn"
            self._check("on_control")
            self._phase = "control" if answer is None else "ask"
            if type(message) is CatchUp:
                self._phase = "catch_up"
                await self.on_catch_up(message.first_missed)
                self._place.mailbox.caught_up(self._life.epoch)
            elif self._is_pykka(message):
                self._answer(control, self._dispatch_pykka(message))
            else:
                self._answer(control, await self.on_control(message))
        except BaseException as error:
            if not self._trouble(control, error):
                raise
        self._phase = "batch"

    async def _batch(self, batch: Batch) -> None:
        if not self._admit(batch):
            return
        place, clock = self._place, self._place.services.clock
        count, first = len(batch.messages), batch.first
        self._check("before_batch", first, count)
        began = clock.monotonic_ns()
        await self.on_batch(batch.messages)
        self._check("after_batch", first, count)
        self._settle()
        place.done(count, began, clock.monotonic_ns())
        self._worked()

    def _wake(self) -> None:
        """Called by whoever brings something, from any thread, once for each time the actor went idle."""
        self._call_soon(self._event.set)

    def _call_soon(self, call: Any) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError:  # closed in the meantime: the actor is over, and there is nobody to wake
            return

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self._task_error is None:
            self._task_error = error
            main = self._life.main_task
            if main is not None:
                main.cancel()

    # --- the end ---

    def _clean_up(self, exit_: Exit) -> None:
        loop = self._loop
        if loop is None:
            self._loop = loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._end_tasks())
            loop.run_until_complete(self.on_exit(exit_))
            loop.run_until_complete(self._end_tasks())
        finally:
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()

    async def _end_tasks(self) -> None:
        """Cancel and await every task of the loop but this one."""
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
