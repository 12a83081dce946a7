import time
from decimal import Decimal

from celery import shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from newsroom import ledger
from newsroom.base import Connected
from newsroom.celery import app

logger = get_task_logger(__name__)


class FeedError(Exception):
    def __init__(self, feed, status):
        super().__init__(feed, status)
        self.feed = feed
        self.status = status


@shared_task
def count_words(text):
    logger.info("counting %d characters", len(text))
    return len(text.split())


@shared_task(name="articles.publish", bind=True, reports=True)
def publish(self, slug, *, day="today"):
    return {"slug": slug, "day": day, "queue": self.request.delivery_info["routing_key"], "task": self.name}


@app.task(bind=True, base=Connected)
def archive(self, slug):
    self.archive[slug] = self.request.id
    return self.archive["opened"]


@app.task(bind=True, max_retries=3, default_retry_delay=0.05, reports=True)
def fetch(self, feed, until):
    """Fails until its `until`-th attempt."""
    ledger.write("fetch", feed, self.request.retries)
    try:
        if self.request.retries < until:
            raise FeedError(feed, 503)
    except FeedError as exc:
        raise self.retry(exc=exc)
    return f"{feed} after {self.request.retries}"


@app.task(autoretry_for=(FeedError,), retry_kwargs={"max_retries": 2}, retry_backoff=True, retry_backoff_max=1,
          retry_jitter=False, bind=True)  # fmt: skip
def poll(self, feed):
    ledger.write("poll", feed, self.request.retries)
    raise FeedError(feed, 500)


@app.task(bind=True)
def tag(self, slug):
    """`max_retries` comes from the annotations."""
    ledger.write("tag", slug, self.request.retries, self.max_retries)
    raise self.retry(countdown=0.05)


@app.task(bind=True)
def translate(self, words):
    for done in range(0, 101, 50):
        self.update_state(state="TRANSLATING", meta={"done": done})
    return len(words)


@app.task(bind=True, ignore_result=False)
def skip(self):
    self.update_state(state="SKIPPED", meta={"why": "old"})
    raise Ignore


@app.task(acks_late=True)
def refuse():
    ledger.write("refuse")
    raise Reject("not for us", requeue=False)


@app.task(soft_time_limit=0.3)
def slow(seconds):
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "gave up"
    return "done"


@app.task(time_limit=1, soft_time_limit=0.5)
def stuck():
    """Does not listen."""
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        time.sleep(30)


@app.task(serializer="pickle")
def price(amount):
    return str(amount * Decimal("1.19"))


@app.task
def note(line):
    ledger.write("note", line)
    return line


@app.task
def noted_failure(request, exc, traceback):
    ledger.write("errback", type(exc).__name__, *exc.args)


@app.task(typing=False)
def untyped(*args, **kwargs):
    return [list(args), kwargs]
