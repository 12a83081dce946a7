"""Sends one of everything and prints, as JSON, what a user sees of it. Ids and times are left out."""

import json
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from celery.result import AsyncResult

from newsroom.accounts.tasks import audited, welcome
from newsroom.articles import tasks as articles
from newsroom.celery import app, configured
from newsroom.media.tasks import Transcode, resize

TIMEOUT = 30


def failure(result):
    value = result.get(timeout=TIMEOUT, propagate=False)
    args = [str(arg).replace(result.id, "<id>") for arg in value.args]
    return [result.state, type(value).__name__, args, result.failed(), bool(result.traceback)]


def wait_for(probe):
    deadline = time.monotonic() + TIMEOUT
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def ledger_has(text, count=1):
    with open(os.environ["NEWSROOM_LEDGER"]) as lines:
        return sum(text in line for line in lines) >= count


def main():
    seen = {}
    seen["names"] = sorted(name for name in app.tasks if not name.startswith(("celery.", "celeriac.")))

    seen["words"] = articles.count_words.delay("one two three").get(timeout=TIMEOUT)
    published = articles.publish.apply_async(args=["hello"], kwargs={"day": "monday"})
    seen["published"] = published.get(timeout=TIMEOUT)
    seen["published again"] = AsyncResult(published.id, app=app).result
    seen["extended"] = [published.name, published.args, published.kwargs, published.queue, published.retries]
    seen["states"] = [published.state, published.ready(), published.successful(), published.failed()]
    published.forget()
    seen["forgotten"] = AsyncResult(published.id, app=app).state
    seen["archive"] = articles.archive.delay("a").get(timeout=TIMEOUT)

    seen["fetched"] = articles.fetch.delay("feed", 2).get(timeout=TIMEOUT)
    seen["fetch failed"] = failure(articles.fetch.delay("dead", 9))
    seen["poll failed"] = failure(articles.poll.delay("dead"))
    seen["tag failed"] = failure(articles.tag.delay("slug"))
    seen["translated"] = articles.translate.delay(["a", "b"]).get(timeout=TIMEOUT)
    skipped = articles.skip.delay()
    wait_for(lambda: skipped.state == "SKIPPED")
    seen["skipped"] = skipped.info
    articles.refuse.delay()
    wait_for(lambda: ledger_has("refuse"))

    seen["soft limit"] = articles.slow.delay(10).get(timeout=TIMEOUT)
    seen["hard limit"] = failure(articles.stuck.delay())
    seen["pickled"] = articles.price.delay(Decimal("10.00")).get(timeout=TIMEOUT)
    seen["untyped"] = articles.untyped.delay(1, a=2).get(timeout=TIMEOUT)
    try:
        articles.count_words.delay()
    except TypeError as exc:
        seen["wrong call"] = str(exc)

    seen["resized"] = [
        resize.delay("a.png").get(timeout=TIMEOUT),
        resize.delay("b.png", width=2000).get(timeout=TIMEOUT),
        resize.apply_async(["c.png"], queue="newsroom").get(timeout=TIMEOUT),
    ]
    seen["transcoded"] = Transcode.delay("film").get(timeout=TIMEOUT)
    seen["not transcoded"] = failure(Transcode.delay("film", codec="none"))

    sent = welcome.delay("ann")
    greeted = sent.get(timeout=TIMEOUT)
    mailed = AsyncResult(greeted.pop("child"), app=app).get(timeout=TIMEOUT)
    seen["welcomed"] = [greeted.pop("parent") == sent.id, greeted.pop("root") == sent.id, greeted]
    seen["mailed"] = [mailed.pop("root") == sent.id, mailed.pop("parent") == sent.id, mailed]
    seen["children"] = [child.id == AsyncResult(child.id).id for child in sent.children]
    seen["audited"] = audited.delay().get(timeout=TIMEOUT)
    seen["not audited"] = failure(audited.delay(fail=True))

    later = articles.note.apply_async(["later"], eta=datetime.now(timezone.utc) + timedelta(seconds=1))
    articles.note.apply_async(["soon"], countdown=0.3)
    expired = articles.note.apply_async(["never"], countdown=1.5, expires=0.5)
    seen["later"] = later.get(timeout=TIMEOUT)
    seen["expired"] = failure(expired)
    articles.note.apply_async(["linking"], link=articles.note.si("linked"))
    articles.poll.apply_async(["dead"], link_error=articles.noted_failure.s())
    wait_for(lambda: ledger_has("note linked") and ledger_has("errback FeedError"))
    seen["eager"] = articles.count_words.apply(args=["a b"]).get()
    seen["signature"] = articles.count_words.s("x y z")()
    seen["by name"] = app.send_task("articles.publish", args=["named"], queue="newsroom").get(timeout=TIMEOUT)["slug"]
    seen["no result"] = articles.note.apply_async(["quiet"], ignore_result=True).id is not None
    wait_for(lambda: ledger_has("note quiet"))
    seen["configured"] = configured
    json.dump(seen, sys.stdout, default=str)


if __name__ == "__main__":
    main()
