"""celeriac: a distributed task queue with Celery's API on a Rust core."""
