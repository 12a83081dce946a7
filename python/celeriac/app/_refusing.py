"""Messages that do not run: unknown, revoked, expired or unreadable. Whoever waits for their result is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._bridge import codec, hub
from celeriac.app import _links
from celeriac.app._einfo import ExceptionInfo, safe_text
from celeriac.app._end import End
from celeriac.app._plan import Plan
from celeriac.app.context import Context
from celeriac.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from celeriac.signals import task_failure, task_revoked

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac._bridge.hub import Job

__all__ = ["Refusing"]

logger = logging.getLogger("celeriac.app.trace")


def _took_down(job: Job, message: Message) -> str:
    if job.cause is None:  # it came with that many
        return f"Task {message.task}[{message.id}] took down {job.crashes} worker processes"
    count = job.crashes + 1
    return f"Task {message.task}[{message.id}] took down {count} worker processes, the last one: {job.cause}"


class Refusing:
    """The part of the tracer for jobs whose task is never called."""

    app: Any
    hostname: str | None
    _plans: dict[str, Plan]
    _accepted: Any

    def _carry_out(self, job: Job, message: Message, verdict: str) -> None:
        """Stores the end of a message that must not run; what becomes of the message itself the hub knows."""
        exc: BaseException
        state = states.FAILURE
        if verdict == "unknown":
            exc = NotRegistered(message.task)
        elif verdict == "crashed":
            exc = WorkerLostError(_took_down(job, message))
        elif verdict == "lost":
            exc = WorkerLostError(
                f"Worker exited prematurely: {job.cause}." if job.cause else "The worker's child has ended"
            )
        elif verdict == "timelimit":
            limit = job.cause or "0"
            exc = TimeLimitExceeded(float(limit) if "." in limit else int(limit))  # 300, as Celery says, not 300.0
        else:
            exc, state = TaskRevokedError(verdict), states.REVOKED
        outbox: list[Any] = []
        end = End()
        try:
            request = self._request_of(message, job, outbox)
            task = self.app.tasks.get(message.task)
            if task is not None:
                plan = self._plans.get(message.task) or Plan(self.app, task)
                ignored = plan.ignore_result if message.ignore_result is None else message.ignore_result
            else:
                plan, ignored = None, bool(message.ignore_result)
            if state == states.REVOKED:
                if not ignored:
                    self._record(plan, request, end, message.id, state, exc)
                if task is not None and task_revoked.receivers:
                    task_revoked.send(
                        sender=task, request=request, terminated=False, signum=None, expired=verdict == "expired"
                    )
                logger.info("Task %s[%s] %s", message.task, message.id, verdict)
            else:
                if not ignored or (plan is not None and plan.store_errors):
                    self._record(plan, request, end, message.id, state, exc)
                    for step in _links.chain_steps(request):
                        if step.id:
                            self._record(plan, step, end, step.id, state, exc)
                if request.errbacks:
                    _links.call_errbacks(self.app, request, exc, None)
                if plan is not None:
                    self._send_failure(plan, message.id, request.args, request.kwargs, exc, ExceptionInfo(exc))
                if job.verdict not in ("unknown", "timelimit"):  # the worker has said so, with what to do
                    logger.error("Task %s[%s] does not run: %s", message.task, message.id, safe_text(exc))
        except Exception:
            logger.exception("Task %s[%s]: its end (%s) could not be recorded", message.task, message.id, verdict)
        job.finish(hub.OUTCOME_IGNORE, end.writes, outbox, safe_text(exc))

    def _record(
        self, plan: Plan | None, request: Context, end: End, task_id: str, state: str, exc: BaseException
    ) -> None:
        backend: Any = plan.backend if plan is not None else self.app.backend
        via_hub = plan.via_hub if plan is not None else getattr(backend, "hub_url", None) is not None
        if via_hub:
            end.writes.append(backend.encode_write(task_id, state, exc, request))
        else:
            backend.store_result(task_id, exc, state, request=request)

    def _request_of(self, message: Message, job: Job, outbox: list[Any]) -> Context:
        """The request of a message whose body may be unreadable."""
        try:
            args, kwargs, embed = self._payload(message)
        except Exception:
            args, kwargs, embed = None, None, None
        return Context.for_message(message, args, kwargs, embed, self.hostname, job, outbox)

    def _undecodable(self, job: Job, message: Message, plan: Plan, exc: Exception) -> None:
        """The body cannot be read: its caller gets a failure, its bytes go to the dead-letter store."""
        detail = f"{type(exc).__name__}: {exc}"
        end = End()
        try:
            request = Context.for_message(message, None, None, None, self.hostname, job, [])
            ignored = plan.ignore_result if message.ignore_result is None else message.ignore_result
            if not ignored or plan.store_errors:
                self._record(plan, request, end, message.id, states.FAILURE, exc)
        except Exception:
            logger.exception("Task %s[%s]: its failure could not be recorded", plan.name, message.id)
        logger.error("Can't decode message body of task %s[%s]: %s", plan.name, message.id, detail)
        job.finish(hub.OUTCOME_UNDECODABLE, end.writes, [], detail)

    def _unusable(self, job: Job, message: Message, exc: Exception) -> None:
        logger.critical("Task %s cannot be run: %s", message.task, safe_text(exc), exc_info=exc)
        end = End()
        try:
            request = Context.for_message(message, None, None, None, self.hostname, job, [])
            self._record(None, request, end, message.id, states.FAILURE, exc)
        except Exception:
            logger.exception("Task %s[%s]: its failure could not be recorded", message.task, message.id)
        job.finish(hub.OUTCOME_FAILURE, end.writes, [], safe_text(exc))

    @staticmethod
    def _send_failure(
        plan: Plan, task_id: str, args: Any, kwargs: Any, exc: BaseException, einfo: ExceptionInfo
    ) -> None:
        if task_failure.receivers:
            task_failure.send(
                sender=plan.task,
                task_id=task_id,
                exception=exc,
                args=args,
                kwargs=kwargs,
                traceback=einfo.tb,
                einfo=einfo,
            )

    def _payload(self, message: Message) -> tuple[Any, Any, Any]:
        return codec.payload(message, self._accepted)
