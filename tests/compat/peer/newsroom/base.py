from celery import Task

from newsroom import ledger


class ReportingTask(Task):
    """Every task of the application writes its ends into the ledger."""

    abstract = True
    reports = False

    def before_start(self, task_id, args, kwargs):
        if self.reports:
            ledger.write("before", self.name)

    def on_success(self, retval, task_id, args, kwargs):
        if self.reports:
            ledger.write("success", self.name, retval)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        if self.reports:
            ledger.write("failure", self.name, type(exc).__name__, bool(einfo.traceback))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        if self.reports:
            ledger.write("retry", self.name, type(exc).__name__, self.request.retries)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        if self.reports:
            ledger.write("after", self.name, status)


class Connected(ReportingTask):
    """Keeps something open for the life of the process, as the documentation advises."""

    abstract = True
    _archive = None

    @property
    def archive(self):
        if self._archive is None:
            self._archive = {"opened": 0}
            self._archive["opened"] += 1
        return self._archive
