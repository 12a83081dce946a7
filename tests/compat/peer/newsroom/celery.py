import os

from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready

app = Celery("newsroom", task_cls="newsroom.base:ReportingTask")
app.config_from_object("newsroom.celeryconfig")
app.conf.update(
    broker_url=os.environ["NEWSROOM_BROKER"],
    result_backend=os.environ["NEWSROOM_BACKEND"],
)
app.autodiscover_tasks(["newsroom.articles", "newsroom.media", "newsroom.accounts"])
configured = []


@app.on_after_configure.connect
def remember(sender, **kwargs):
    configured.append(sender.main)


@celeryd_after_setup.connect
def own_queue(sender, instance, **kwargs):
    instance.app.amqp.queues.select_add(f"{sender}.private")


@worker_ready.connect
def tell_ready(sender, **kwargs):
    if path := os.environ.get("T_READY"):
        with open(path, "a") as out:
            out.write("ready\n")
