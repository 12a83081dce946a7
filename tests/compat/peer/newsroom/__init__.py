"""A small application on Celery's documented features, as its users write them. Nothing in it knows celeriac."""

from newsroom.celery import app as celery_app

__all__ = ("celery_app",)
