from celery import current_app, current_task, shared_task
from celery.signals import before_task_publish, task_failure, task_postrun, task_prerun, task_success

from newsroom import ledger


@shared_task(name="accounts.welcome")
def welcome(user):
    request = current_task.request
    child = current_app.send_task("accounts.mail", args=(user,), headers={"tone": "warm"})
    return {
        "child": child.id,
        "parent": request.id,
        "root": request.root_id,
        "priority": request.delivery_info["priority"],
    }


@shared_task(name="accounts.mail", bind=True)
def mail(self, user):
    return {"to": user, "tone": self.request.headers.get("tone") if self.request.headers else self.request.get("tone"),
            "root": self.request.root_id, "parent": self.request.parent_id}  # fmt: skip


@shared_task(name="accounts.audited")
def audited(fail=False):
    if fail:
        raise PermissionError("not yours")
    return "fine"


@before_task_publish.connect(sender="accounts.audited")
def stamp(sender=None, headers=None, body=None, **kwargs):
    headers["audited_by"] = "signal"


@task_prerun.connect
def starting(sender=None, task_id=None, task=None, args=None, kwargs=None, **rest):
    if task.name == "accounts.audited":
        ledger.write("prerun", task.name, task.request.get("audited_by"))


@task_postrun.connect
def ended(sender=None, task_id=None, task=None, retval=None, state=None, **rest):
    if task.name == "accounts.audited":
        ledger.write("postrun", task.name, state)


@task_success.connect
def succeeded(sender=None, result=None, **kwargs):
    if sender.name == "accounts.audited":
        ledger.write("signalled-success", result)


@task_failure.connect
def failed(sender=None, task_id=None, exception=None, einfo=None, **kwargs):
    if sender.name == "accounts.audited":
        ledger.write("signalled-failure", type(exception).__name__)
