from datetime import timedelta


def route_by_size(name, args, kwargs, options, task=None, **kw):
    """Big pictures have a queue of their own."""
    if name == "newsroom.media.tasks.resize" and kwargs.get("width", 0) > 1000:
        return {"queue": "large"}
    return None


task_default_queue = "newsroom"
task_routes = (
    route_by_size,
    {
        "newsroom.media.*": {"queue": "media"},
        "accounts.*": {"queue": "accounts", "priority": 3},
    },
)
task_annotations = {"newsroom.articles.tasks.tag": {"max_retries": 1}}
task_serializer = "json"
result_serializer = "json"
accept_content = ["json", "pickle"]
result_accept_content = ["json", "pickle"]
result_expires = timedelta(hours=2)
result_extended = True
task_track_started = True
task_ignore_result = False
task_store_errors_even_if_ignored = True
task_soft_time_limit = 30
task_time_limit = 40
task_publish_retry_policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
task_create_missing_queues = True
worker_hijack_root_logger = False
worker_prefetch_multiplier = 2
worker_max_tasks_per_child = 500
broker_connection_retry_on_startup = True
timezone = "Europe/Berlin"
enable_utc = True
