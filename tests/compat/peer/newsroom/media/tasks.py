from celery import shared_task

from newsroom.celery import app


@shared_task(bind=True)
def resize(self, name, width=100):
    return f"{name}@{width} in {self.request.delivery_info['routing_key']}"


class Transcode(app.Task):
    """A class-based task."""

    name = "media.transcode"
    throws = (ValueError,)

    def run(self, name, codec="av1"):
        if codec == "none":
            raise ValueError(f"no codec for {name}")
        return f"{name}.{codec}"


Transcode = app.register_task(Transcode())
