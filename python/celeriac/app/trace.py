"""Runs one attempt of a task and says what became of it: the body, and everything that goes around it, in order.

A worker's child gives `Tracer.execute` the jobs of its port; `Task.apply` uses `Tracer.run_eager`. Both take the same
steps: prerun, STARTED, before_start, body, callbacks, result, handlers and signals, postrun, log.
In a worker nothing is published or stored on the way: callbacks, retry message and result leave with `Job.finish`, so
that the hub can store them and settle the message in one step.
"""

from __future__ import annotations

import logging
import os
import time
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import states
from celeriac._bridge import codec, hub
from celeriac.app import _links, _loop
from celeriac.app._einfo import ExceptionInfo, safe_text
from celeriac.app._end import End
from celeriac.app._plan import Plan
from celeriac.app._refusing import Refusing
from celeriac.app.context import Context, pop_request, push_request
from celeriac.exceptions import (
    Ignore,
    InvalidTaskError,
    NotRegistered,
    Reject,
    Retry,
    WorkerLostError,
    WorkerTerminate,
)
from celeriac.signals import (
    task_internal_error,
    task_postrun,
    task_prerun,
    task_retry,
    task_success,
)

if TYPE_CHECKING:
    from celeriac._bridge.hub import Job

__all__ = ["EagerOutcome", "Tracer"]

logger = logging.getLogger("celeriac.app.trace")

LOG_RECEIVED = "Task %(name)s[%(id)s] received"
LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
LOG_FAILURE = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_IGNORED = "Task %(name)s[%(id)s] %(description)s"
LOG_REJECTED = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY = "Task %(name)s[%(id)s] retry: %(exc)s"

_INFO = logging.INFO


class EagerOutcome(NamedTuple):
    """What became of a task that ran in its caller's process."""

    state: str
    retval: Any
    """Return value, or the exception."""
    einfo: ExceptionInfo | None
    runtime: float
    """Seconds."""

    @property
    def traceback(self) -> str | None:
        """The traceback's text."""
        return self.einfo.traceback if self.einfo is not None else None


class Tracer(Refusing):
    """Runs tasks of one app.

    One serves all children of a process; what a child needs for itself lives in its thread. Tasks that are declared
    later are planned at their first message.
    """

    def __init__(self, app: Any, hostname: str | None = None) -> None:
        from celeriac.loaders.base import BaseLoader

        self.app = app
        self.hostname = hostname
        self._plans: dict[str, Plan] = {}
        self._eager_plans: dict[int, Plan] = {}
        self._accepted: Any = codec.accept_types(app.conf.accept_content)
        loader: Any = app.loader
        own, base = type(loader), BaseLoader
        self._on_task_init: Any = loader.on_task_init if own.on_task_init is not base.on_task_init else None
        cleanup = own.on_process_cleanup is not base.on_process_cleanup
        self._on_process_cleanup: Any = loader.on_process_cleanup if cleanup else None

    def __reduce__(self) -> Any:
        # For a process that is not forked: plans and hooks are made anew from its own app.
        return type(self), (self.app, self.hostname)

    # --- in a worker -------------------------------------------------------------------------------------------

    def execute(self, job: Job) -> None:
        """Runs a job and finishes it. Nothing that a task or a message does makes this raise.

        Raises:
            WorkerTerminate: a cold stop interrupted the task; the job is not finished, so its message goes back.
        """
        message = job.message
        if job.verdict is not None:
            self._carry_out(job, message, job.verdict)
            return
        plan = self._plans.get(message.task)
        if plan is None:
            try:
                plan = self._plans[message.task] = Plan(self.app, self.app.tasks[message.task])
            except NotRegistered:
                self._carry_out(job, message, "unknown")
                return
            except Exception as exc:
                self._unusable(job, message, exc)
                return
        try:
            args, kwargs, embed = codec.payload(message, self._accepted)
        except Exception as exc:
            self._undecodable(job, message, plan, exc)
            return
        if not job.start():
            return
        outbox: list[Any] = []
        request = Context.for_message(message, args, kwargs, embed, self.hostname, job, outbox)
        task_id = message.id
        end = End()
        # Senders write all four links into every message, mostly null.
        end.linked = bool(embed) and (type(embed) is not dict or any(embed.values()))
        try:
            ignore = message.ignore_result
            if ignore is None:
                ignore = plan.ignore_result
            self._attempt(plan, request, end, task_id, args, kwargs, ignore, job, False)
        except WorkerTerminate:
            raise
        except BaseException as exc:
            self._internal_error(plan, request, end, task_id, exc, job)
        job.finish(end.outcome, end.writes, outbox, end.detail)
        # Exception and traceback lead back here: without the circle, what the task's frames hold is freed at once.
        end.retval = end.einfo = None

    def close(self) -> None:
        """Ends what a child keeps from task to task: its event loop. Called by the child's own thread."""
        _loop.close()

    # --- both --------------------------------------------------------------------------------------------------

    def run_eager(self, task: Any, args: Any, kwargs: Any, request: Context, *, throw: bool = False) -> EagerOutcome:
        """Runs `task` here and now. `request.is_eager` should be True.

        Raises:
            Exception: what the task raised, with `throw`; then neither `on_failure` nor `task_failure` see it.
        """
        plan = self._eager_plans.get(id(task))
        if plan is None or plan.task is not task:
            plan = self._eager_plans[id(task)] = Plan(self.app, task)
        ignore = plan.ignore_result if request.ignore_result is None else request.ignore_result
        began = time.monotonic()
        task_id = request.id or ""
        end = End()
        end.linked = True
        try:
            self._attempt(plan, request, end, task_id, args, kwargs, bool(ignore), None, throw)
        except Exception as exc:
            if throw:
                raise
            self._internal_error(plan, request, end, task_id, exc, None)
        return EagerOutcome(end.state, end.retval, end.einfo, time.monotonic() - began)

    def _attempt(  # noqa: C901 - the steps in their order; a function for each would cost every task 0.1 µs apiece
        self,
        plan: Plan,
        request: Context,
        end: End,
        task_id: str,
        args: Any,
        kwargs: Any,
        ignore: bool,
        job: Job | None,
        throw: bool,
    ) -> None:
        task = plan.task
        keep = (not ignore) if job is not None else (plan.store_eager and not ignore)
        token = push_request(task, request)
        try:
            if task_prerun.receivers:
                task_prerun.send(sender=task, task_id=task_id, task=task, args=args, kwargs=kwargs)
            if self._on_task_init is not None:
                self._on_task_init(task_id, task)
            if (
                job is not None
                and plan.deduplicate
                and job.redelivered
                and self._succeeded_before(plan, request, task_id)
            ):
                return
            if plan.track_started and keep:
                meta = {"pid": os.getpid(), "hostname": self.hostname}
                self._store(plan, request, job, task_id, states.STARTED, meta)
            began = time.monotonic()
            try:
                if type(kwargs) is not dict:
                    raise InvalidTaskError(f"Task keyword arguments must be a mapping, got {type(kwargs).__name__}")
                if plan.before_start is not None:
                    plan.before_start(task_id, args, kwargs)
                if plan.custom_call:
                    request._entering = True
                retval = plan.call(*args, **kwargs)
                if type(retval) is CoroutineType:
                    retval = _loop.run(retval)
                if end.linked:
                    end.sent_from = len(request._outbox) if request._outbox is not None else None
                    _links.follow(self.app, request, retval, inherit_priority=plan.inherit_priority)
                if keep:
                    if plan.fast_record is not None and job is not None and plan.via_hub and not request._children:
                        message, now_ns = job.message, time.time_ns()
                        value = plan.fast_record(task_id, retval, now_ns, message.group, message.parent_id)
                        expires_ms = now_ns // 1_000_000 + plan.expires_ms if plan.expires_ms else None
                        end.writes.append((plan.keyprefix + task_id, value, expires_ms, True))
                    else:
                        self._save(plan, request, job, end, task_id, states.SUCCESS, retval)
            except Exception as exc:
                if throw and not isinstance(exc, (Ignore, Reject, Retry)):
                    end.state, end.retval = states.FAILURE, exc
                    raise
                self._not_successful(plan, request, job, end, task_id, args, kwargs, keep, exc)
            except BaseException as exc:
                if job is None or isinstance(exc, WorkerTerminate):
                    end.state, end.retval = states.FAILURE, exc
                    raise
                # The pool's thread outlives a task that wants to end the process; in Celery the process ends.
                lost = WorkerLostError(f"Task raised {type(exc).__name__}: {safe_text(exc)}")
                lost.__cause__, lost.__traceback__ = exc, exc.__traceback__
                self._failed(plan, request, job, end, task_id, args, kwargs, keep, lost)
                del lost
            else:
                runtime = time.monotonic() - began
                end.retval = retval
                end.decided = True
                if end.linked and request.chord:
                    plan.backend.on_chord_part_return(request, states.SUCCESS, retval)
                if plan.on_success is not None:
                    plan.on_success(retval, task_id, args, kwargs)
                if task_success.receivers:
                    task_success.send(sender=task, result=retval)
                if logger.isEnabledFor(_INFO):
                    self._log_success(plan, request, task_id, args, kwargs, retval, runtime)
            if plan.after_return is not None and end.state in states.READY_STATES:
                plan.after_return(end.state, end.retval, task_id, args, kwargs, None)
        finally:
            try:
                if task_postrun.receivers:
                    task_postrun.send(
                        sender=task,
                        task_id=task_id,
                        task=task,
                        args=args,
                        kwargs=kwargs,
                        retval=end.retval,
                        state=end.state,
                    )
            finally:
                pop_request(token)
                if job is not None:
                    if not plan.via_hub:
                        plan.backend.process_cleanup()
                    if self._on_process_cleanup is not None:
                        self._on_process_cleanup()

    def _succeeded_before(self, plan: Plan, request: Context, task_id: str) -> bool:
        """True if a redelivered message's task has succeeded already; its continuations are sent if they never were."""
        meta = plan.backend.get_task_meta(task_id, cache=False)
        if meta["status"] != states.SUCCESS:
            return False
        if not meta.get("children"):
            _links.follow(self.app, request, meta.get("result"), inherit_priority=plan.inherit_priority)
        return True

    # --- ends other than success -------------------------------------------------------------------------------

    def _not_successful(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        args: Any,
        kwargs: Any,
        keep: bool,
        exc: Exception,
    ) -> None:
        if isinstance(exc, Retry):
            self._will_run_again(plan, request, job, end, task_id, args, kwargs, keep, exc)
        elif isinstance(exc, Ignore):
            end.state, end.retval, end.outcome = states.IGNORED, exc, hub.OUTCOME_IGNORE
            end.decided = True
            if job is None:  # shown by the eager result; nobody sees it in a worker
                end.einfo = ExceptionInfo(exc)
            self._log(logging.INFO, LOG_IGNORED, "ignored", plan, request, task_id, args, kwargs, exc)
        elif isinstance(exc, Reject):
            self._rejected(plan, request, job, end, task_id, args, kwargs, keep, exc)
        else:
            self._failed(plan, request, job, end, task_id, args, kwargs, keep, exc)

    def _will_run_again(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        args: Any,
        kwargs: Any,
        keep: bool,
        retry: Retry,
    ) -> None:
        end.state, end.retval, end.outcome = states.RETRY, retry, hub.OUTCOME_RETRY
        einfo = end.einfo = ExceptionInfo(retry)
        if keep:
            self._save(plan, request, job, end, task_id, states.RETRY, retry.exc, einfo.traceback)
        end.decided = True
        if plan.on_retry is not None:
            plan.on_retry(retry.exc, task_id, args, kwargs, einfo)
        if task_retry.receivers:
            task_retry.send(sender=plan.task, request=request, reason=retry, einfo=einfo)
        self._log(logging.INFO, LOG_RETRY, "retry", plan, request, task_id, args, kwargs, retry, text=str(retry))

    def _rejected(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        args: Any,
        kwargs: Any,
        keep: bool,
        reject: Reject,
    ) -> None:
        end.state, end.retval = states.REJECTED, reject
        end.outcome = hub.OUTCOME_REQUEUE if reject.requeue else hub.OUTCOME_REJECT
        end.detail = safe_text(reject)
        if job is None:
            end.einfo = ExceptionInfo(reject)
        elif not reject.requeue:
            einfo = end.einfo = ExceptionInfo(reject)
            self._save_failure(plan, request, job, end, task_id, reject, None, keep or plan.store_errors)
            end.decided = True
            self._send_failure(plan, task_id, args, kwargs, reject, einfo)
        self._log(logging.WARNING, LOG_REJECTED, "rejected", plan, request, task_id, args, kwargs, reject)

    def _failed(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        args: Any,
        kwargs: Any,
        keep: bool,
        exc: BaseException,
    ) -> None:
        end.state, end.retval, end.outcome = states.FAILURE, exc, hub.OUTCOME_FAILURE
        einfo = end.einfo = ExceptionInfo(exc)
        end.detail = safe_text(exc)
        _unsend(request, end)
        store = keep or (plan.store_errors and (job is not None or plan.store_eager))
        self._save_failure(plan, request, job, end, task_id, exc, einfo.traceback, store)
        end.decided = True
        if plan.on_failure is not None:
            plan.on_failure(exc, task_id, args, kwargs, einfo)
        self._send_failure(plan, task_id, args, kwargs, exc, einfo)
        expected = isinstance(exc, plan.throws)
        level = logging.INFO if expected else logging.ERROR
        description = "raised expected" if expected else "raised unexpected"
        self._log(
            level, LOG_FAILURE, description, plan, request, task_id, args, kwargs, exc, None if expected else einfo
        )

    def _internal_error(
        self, plan: Plan, request: Context, end: End, task_id: str, exc: BaseException, job: Job | None
    ) -> None:
        """A handler, a hook or a store failed. The task counts as failed, unless its end was decided before."""
        einfo = ExceptionInfo(exc, internal=True)
        args, kwargs = request.args, request.kwargs
        try:
            if not end.decided:
                end.state, end.retval, end.outcome = states.FAILURE, exc, hub.OUTCOME_FAILURE
                end.einfo, end.detail = einfo, safe_text(exc)
                end.writes.clear()
                _unsend(request, end)
                ignored = plan.ignore_result if request.ignore_result is None else request.ignore_result
                if job is not None and not (ignored and not plan.store_errors):
                    self._save_failure(plan, request, job, end, task_id, exc, einfo.traceback, True)
            task_internal_error.send(
                sender=plan.task,
                task_id=task_id,
                args=args,
                kwargs=kwargs,
                request=dict(request._whole()),
                exception=exc,
                traceback=einfo.tb,
                einfo=einfo,
            )
        except Exception:
            logger.exception("Task %s[%s]: its internal error could not be recorded", plan.name, task_id)
        self._log(
            logging.CRITICAL, LOG_INTERNAL_ERROR, "INTERNAL ERROR", plan, request, task_id, args, kwargs, exc, einfo
        )

    # --- storing -----------------------------------------------------------------------------------------------

    def _save(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        state: str,
        result: Any,
        traceback: str | None = None,
    ) -> None:
        """Adds a state to what leaves with the end of the task, or stores it where the hub cannot write."""
        if job is not None and plan.via_hub:
            end.writes.append(plan.backend.encode_write(task_id, state, result, request, traceback))
        else:
            plan.backend.store_result(task_id, result, state, traceback=traceback, request=request)

    def _save_failure(
        self,
        plan: Plan,
        request: Context,
        job: Job | None,
        end: End,
        task_id: str,
        exc: BaseException,
        traceback: str | None,
        store: bool,
    ) -> None:
        """As `Backend.mark_as_failure`, with the writes left to the hub where it can write."""
        if job is None or not plan.via_hub:
            plan.backend.mark_as_failure(task_id, exc, traceback, request, store)
            return
        if store:
            end.writes.append(plan.backend.encode_write(task_id, states.FAILURE, exc, request, traceback))
        if not request._embed:
            return
        if request.chord:
            plan.backend.on_chord_part_return(request, states.FAILURE, exc)
        for step in _links.chain_steps(request):
            if step.id and store:
                end.writes.append(plan.backend.encode_write(step.id, states.FAILURE, exc, step, traceback))
            if step.chord:
                plan.backend.on_chord_part_return(step, states.FAILURE, exc)
        if request.errbacks:
            _links.call_errbacks(self.app, request, exc, traceback)

    @staticmethod
    def _store(plan: Plan, request: Context, job: Job | None, task_id: str, state: str, result: Any) -> None:
        """Stores a state of a task that goes on."""
        if job is not None and plan.via_hub:
            job.progress([plan.backend.encode_write(task_id, state, result, request)])
        else:
            plan.backend.store_result(task_id, result, state, request=request)

    # --- log ---------------------------------------------------------------------------------------------------

    def _log_success(
        self, plan: Plan, request: Context, task_id: str, args: Any, kwargs: Any, retval: Any, runtime: float
    ) -> None:
        context = {
            "id": task_id,
            "name": plan.name,
            "hostname": self.hostname,
            "return_value": codec.bounded_repr(retval, plan.repr_max),
            "runtime": runtime,
            "args": args,
            "kwargs": kwargs,
        }
        logger.info(LOG_SUCCESS, context, extra={"data": context})

    def _log(
        self,
        level: int,
        text_format: str,
        description: str,
        plan: Plan,
        request: Context,
        task_id: str,
        args: Any,
        kwargs: Any,
        exc: BaseException,
        einfo: ExceptionInfo | None = None,
        text: str | None = None,
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        context = {
            "id": task_id,
            "name": plan.name,
            "hostname": self.hostname,
            "description": description,
            "exc": text if text is not None else safe_text(exc),
            "traceback": einfo.traceback if einfo is not None else "",
            "args": args,
            "kwargs": kwargs,
            "internal": einfo is not None and einfo.internal,
        }
        exc_info = einfo.exc_info if einfo is not None else None
        logger.log(level, text_format, context, exc_info=exc_info, extra={"data": context})


def _unsend(request: Context, end: End) -> None:
    """Takes back the continuations of a success that turned into a failure: they have not left yet."""
    if end.sent_from is not None and request._outbox is not None:
        del request._outbox[end.sent_from :]
        end.sent_from = None
