"""The settings table: every setting's name, old name, type, default, group and meaning, once.

Defaults, `celeriac.app.defaults`, casts of the command line, checks of names and docs/reference/settings.md are made
from it. Order is that of the documentation. A setting that Celery does not have says ``ours``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

__all__ = ["OLD_TO_NEW", "SETTINGS", "Setting"]


class Setting(NamedTuple):
    """One row."""

    name: str
    type: str
    """One of the casts of `celeriac.app.defaults`: any, bool, dict, float, int, list, seconds, string, tuple."""
    default: Any
    meaning: str
    section: str
    old: tuple[str, ...]
    """Upper-case names that mean the same."""
    ours: bool
    """Not in Celery."""


# How the upper-case name of a setting is made from its prefix, unless the row names it.
_OLD_PREFIX = {
    "beat": "CELERYBEAT_",
    "broker": "BROKER_",
    "control": "CELERY_CONTROL_",
    "database": "CELERY_RESULT_DB_",
    "event": "CELERY_EVENT_",
    "redis": "CELERY_REDIS_",
    "result": "CELERY_RESULT_",
    "security": "CELERY_SECURITY_",
    "task": "CELERY_",
    "worker": "CELERYD_",
}

_section = ""
_rows: list[Setting] = []


def _s(name: str, type_: str, default: Any, meaning: str, old: str | None = None, *, ours: bool = False) -> None:
    if old is None:
        prefix, _, rest = name.partition("_")
        old = _OLD_PREFIX[prefix] + rest.upper() if prefix in _OLD_PREFIX and rest else name.upper()
    names = () if ours else tuple(old.split())
    _rows.append(Setting(name, type_, default, meaning, _section, names, ours))


_section = "General and time"
_s(
    "accept_content",
    "list",
    ("json",),
    "serializers (names or content types) that consumers accept",
    "CELERY_ACCEPT_CONTENT",
)
_s("result_accept_content", "list", None, "the same for results; None: `accept_content`")
_s("enable_utc", "bool", True, "dates in messages are in UTC", "CELERY_ENABLE_UTC ENABLE_UTC")
_s(
    "timezone",
    "string",
    None,
    "zone of schedules and `app.now()`; None: UTC, or local without `enable_utc`",
    "CELERY_TIMEZONE",
)
_s("imports", "tuple", (), "modules that a worker imports at its start, in order", "CELERY_IMPORTS")
_s("include", "tuple", (), "more of them, imported after `imports`", "CELERY_INCLUDE")
_s("override_backends", "dict", None, "alias -> class that takes the place of a result backend")
_s("publish_timeout", "float", 10.0, "longest wait of a publication for the broker, seconds", ours=True)

_section = "Tasks"
_s("task_annotations", "any", None, "changes to attributes of tasks, by name", "CELERY_ANNOTATIONS")
_s("task_compression", "string", None, "compression of messages: gzip, bzip2, zstd…", "CELERY_MESSAGE_COMPRESSION")
_s("task_protocol", "int", 2, "version of task messages; 2 is the only one that is written", "CELERY_TASK_PROTOCOL")
_s("task_serializer", "string", "json", "serializer of messages", "CELERY_TASK_SERIALIZER")
_s("task_publish_retry", "bool", True, "publish again after a connection error", "CELERY_TASK_PUBLISH_RETRY")
_s(
    "task_publish_retry_policy",
    "dict",
    {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
    "how often and with which pauses, seconds",
    "CELERY_TASK_PUBLISH_RETRY_POLICY",
)
_s("task_always_eager", "bool", False, "run tasks in the caller's process", "CELERY_ALWAYS_EAGER")
_s(
    "task_eager_propagates",
    "bool",
    False,
    "eager tasks raise their exceptions",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS CELERY_EAGER_PROPAGATES",
)
_s("task_store_eager_result", "bool", False, "eager tasks store their results")
_s("task_remote_tracebacks", "bool", False, "re-raised exceptions carry the worker's traceback (needs tblib)")
_s("task_ignore_result", "bool", False, "store no results")
_s("task_store_errors_even_if_ignored", "bool", False, "store failures even so")
_s("task_track_started", "bool", False, "store STARTED")
_s("task_time_limit", "float", None, "hard limit of a task's run, seconds", "CELERYD_TASK_TIME_LIMIT")
_s("task_soft_time_limit", "float", None, "soft limit, seconds", "CELERYD_TASK_SOFT_TIME_LIMIT")
_s("task_allow_error_cb_on_chord_header", "bool", False, "error callbacks of a chord run for its members, too")
_s("task_acks_late", "bool", False, "acknowledge after the run, not before it")
_s("task_acks_on_failure_or_timeout", "bool", True, "late ack: acknowledge failures and timeouts (the two below)")
_s("task_acks_on_failure", "bool", None, "late ack: acknowledge failures; if off they are rejected")
_s("task_acks_on_timeout", "bool", None, "late ack: acknowledge hard timeouts; if off they are put back")
_s("task_reject_on_worker_lost", "bool", None, "late ack: put back when the process vanished")
_s("task_max_crashes", "int", 3, "a message that took its process down this often is a dead letter", ours=True)
_s("task_default_rate_limit", "string", None, "rate limit of tasks that have none: `10/s`, `100/m`, `5/h`")
_s("task_default_priority", "int", None, "priority of tasks that have none")
_s("task_inherit_parent_priority", "bool", False, "a task's children get the priority of its message")
_s("task_send_sent_event", "bool", False, "producers send task-sent events", "CELERY_SEND_TASK_SENT_EVENT")

_section = "Queues and routing"
_s("task_queues", "any", None, "the queues: a list of `Queue`, or name -> options")
_s("task_routes", "any", None, "routers, in order")
_s("task_create_missing_queues", "bool", True, "a queue that `task_queues` lacks is made when it is named")
_s("task_create_missing_queue_type", "string", "classic", "its type: classic or quorum")
_s("task_create_missing_queue_exchange_type", "string", None, "type of its exchange; None: the default one")
_s("task_default_queue", "string", "celery", "queue of tasks without a route")
_s("task_default_queue_type", "string", "classic", "its type: classic or quorum")
_s("task_default_exchange", "string", None, "its exchange; None: the queue's name")
_s("task_default_exchange_type", "string", "direct", "type of exchanges that name none")
_s("task_default_routing_key", "string", None, "its routing key; None: the queue's name")
_s("task_default_delivery_mode", "string", 2, "1 or transient, 2 or persistent")
_s("task_queue_max_priority", "int", None, "priorities of a queue on RabbitMQ (`x-max-priority`)")
_s("worker_direct", "bool", False, "each worker has a queue of its own, `<node>.dq2`", "CELERY_WORKER_DIRECT")

_section = "Results"
_s(
    "result_backend",
    "string",
    None,
    "URL, alias or class of the result backend. None: no results, but with the default broker its file keeps them",
    "CELERY_RESULT_BACKEND",
)
_s("result_backend_transport_options", "dict", {}, "options of the backend's transport")
_s("result_backend_always_retry", "bool", False, "try again after an error that may pass")
_s("result_backend_max_retries", "float", float("inf"), "how often")
_s("result_backend_base_sleep_between_retries_ms", "int", 10, "first pause, ms; doubles")
_s("result_backend_max_sleep_between_retries_ms", "int", 10_000, "longest pause, ms")
_s("result_backend_thread_safe", "bool", False, "one backend object for all threads")
_s("result_serializer", "string", "json", "serializer of results")
_s("result_compression", "string", None, "accepted; unused, as in Celery")
_s("result_extended", "bool", False, "results keep name, arguments, worker, retries and queue")
_s(
    "result_expires",
    "seconds",
    dt.timedelta(days=1),
    "when results are forgotten: seconds or timedelta; None or 0: never",
    "CELERY_TASK_RESULT_EXPIRES",
)
_s(
    "result_failure_expires",
    "seconds",
    None,
    "the same for failures: seconds or timedelta; None: as result_expires",
)
_s("result_cache_max", "int", -1, "results that a client caches; -1: none", "CELERY_MAX_CACHED_RESULTS")
_s("result_persistent", "bool", None, "result messages survive the broker's restart")
_s("result_exchange", "string", "celeryresults", "exchange of result messages")
_s("result_exchange_type", "string", "direct", "its type")
_s("result_chord_retry_interval", "float", 1.0, "pause between looks at a chord, seconds")
_s("result_chord_join_timeout", "float", 3.0, "longest wait for a chord's results, seconds")

_section = "Result backends"
_s("database_url", "string", None, "SQLAlchemy URL", "CELERY_RESULT_DBURI")
_s(
    "database_engine_options",
    "dict",
    {"pool_pre_ping": True, "pool_recycle": 3600},
    "arguments of create_engine",
    "CELERY_RESULT_ENGINE_OPTIONS",
)
_s("database_engine_callback", "any", None, "called with each new engine")
_s("database_short_lived_sessions", "bool", False, "a session a call")
_s("database_table_schemas", "dict", None, "schemas of the tables `task` and `group`")
_s("database_table_names", "dict", None, "names of the tables `task` and `group`", "CELERY_RESULT_DB_TABLENAMES")
_s("database_create_tables_at_setup", "bool", True, "make the tables at the start, not at first use")
_s("cache_backend", "string", None, "memcached URL", "CELERY_CACHE_BACKEND")
_s("cache_backend_options", "dict", {}, "options of its client", "CELERY_CACHE_BACKEND_OPTIONS")
_s("redis_host", "string", None, "used when the URL lacks it")
_s("redis_port", "int", None, "used when the URL lacks it")
_s("redis_db", "int", None, "used when the URL lacks it")
_s("redis_username", "string", None, "used when the URL lacks it")
_s("redis_password", "string", None, "used when the URL lacks it")
_s("redis_max_connections", "int", None, "size of the pool")
_s("redis_socket_timeout", "float", 120.0, "seconds")
_s("redis_socket_connect_timeout", "float", None, "seconds")
_s("redis_retry_on_timeout", "bool", False, "")
_s("redis_socket_keepalive", "bool", False, "")
_s("redis_backend_use_ssl", "dict", None, "ssl_cert_reqs, ssl_ca_certs, ssl_certfile, ssl_keyfile")
_s("redis_backend_health_check_interval", "int", None, "seconds")
_s("redis_backend_credential_provider", "any", None, "class or instance")
_s("redis_client_name", "string", None, "name of the connections")
_s("mongodb_backend_settings", "dict", None, "", "CELERY_MONGODB_BACKEND_SETTINGS")
_s("couchbase_backend_settings", "dict", None, "", "CELERY_COUCHBASE_BACKEND_SETTINGS")
_s("arangodb_backend_settings", "dict", None, "", "CELERY_ARANGODB_BACKEND_SETTINGS")
_s("elasticsearch_retry_on_timeout", "bool", None, "", "CELERY_ELASTICSEARCH_RETRY_ON_TIMEOUT")
_s("elasticsearch_max_retries", "int", None, "", "CELERY_ELASTICSEARCH_MAX_RETRIES")
_s("elasticsearch_timeout", "float", None, "seconds", "CELERY_ELASTICSEARCH_TIMEOUT")
_s("elasticsearch_save_meta_as_text", "bool", True, "", "CELERY_ELASTICSEARCH_SAVE_META_AS_TEXT")
for _name in ("servers", "secure_bundle_path", "bundle_path", "keyspace", "table", "read_consistency"):
    _s(f"cassandra_{_name}", "list" if _name == "servers" else "string", None, "")
_s("cassandra_write_consistency", "string", None, "")
_s("cassandra_port", "int", None, "")
_s("cassandra_entry_ttl", "float", None, "seconds")
_s("cassandra_auth_provider", "string", None, "")
_s("cassandra_auth_kwargs", "dict", None, "")
_s("cassandra_options", "dict", {}, "")
for _name in ("bucket", "base_path", "region", "endpoint_url", "access_key_id", "secret_access_key"):
    _s(f"s3_{_name}", "string", None, "")
_s("azureblockblob_container_name", "string", "celery", "")
_s("azureblockblob_base_path", "string", "", "")
_s("azureblockblob_retry_initial_backoff_sec", "int", 2, "seconds")
_s("azureblockblob_retry_increment_base", "int", 2, "")
_s("azureblockblob_retry_max_attempts", "int", 3, "")
_s("azureblockblob_connection_timeout", "int", 20, "seconds")
_s("azureblockblob_read_timeout", "int", 120, "seconds")
_s("gcs_bucket", "string", None, "")
_s("gcs_project", "string", None, "")
_s("gcs_base_path", "string", "", "")
_s("gcs_ttl", "float", 0, "seconds")
_s("gcs_threadpool_maxsize", "int", 10, "")
_s("firestore_project", "string", None, "")
_s("cosmosdbsql_database_name", "string", "celerydb", "")
_s("cosmosdbsql_collection_name", "string", "celerycol", "")
_s("cosmosdbsql_consistency_level", "string", "Session", "")
_s("cosmosdbsql_max_retry_attempts", "int", 9, "")
_s("cosmosdbsql_max_retry_wait_time", "int", 30, "seconds")
_s("dynamodb_endpoint_url", "string", None, "")

_section = "Broker"
_s(
    "broker_url",
    "string",
    None,
    "URL of the broker, or several (list, or joined with `;`). None: `sqlite:///celeriac.db` (Celery: RabbitMQ here)",
)
_s("broker_read_url", "string", None, "the consumers' broker; None: `broker_url`")
_s("broker_write_url", "string", None, "the producers' broker; None: `broker_url`")
_s("broker_transport", "string", None, "kind of broker when the URL does not say it")
_s("broker_host", "string", None, "pieces of the URL when there is none")
_s("broker_port", "int", None, "")
_s("broker_user", "string", None, "")
_s("broker_password", "string", None, "")
_s("broker_vhost", "string", None, "")
_s("broker_transport_options", "dict", {}, "options of the transport")
_s("broker_connection_timeout", "float", 4, "longest wait for a connection, seconds")
_s("broker_connection_retry", "bool", True, "connect again after a loss")
_s("broker_connection_retry_on_startup", "bool", None, "also at the start; None: as `broker_connection_retry`")
_s("broker_connection_max_retries", "int", 100, "None: for ever")
_s("broker_channel_error_retry", "bool", False, "errors of a channel count as connection errors")
_s("broker_failover_strategy", "string", None, "order of several servers on RabbitMQ: round-robin (None) or shuffle")
_s("broker_heartbeat", "int", 120, "heartbeat of a worker's connection to RabbitMQ, seconds; 0: none")
_s("broker_heartbeat_checkrate", "float", 3.0, "no effect: heartbeats are looked at as they are due")
_s("broker_login_method", "string", None, "how to log in to RabbitMQ: PLAIN (None), AMQPLAIN, EXTERNAL")
_s("broker_use_ssl", "any", False, "TLS to RabbitMQ or Redis: True, or a dict of ca_certs, certfile, keyfile…")
_s(
    "broker_pool_limit",
    "int",
    10,
    "most connections to RabbitMQ that a producer keeps; 0 or None: the transport's default",
)
_s("broker_pool_acquire_timeout", "float", None, "longest wait for one of them, seconds")
_s(
    "broker_native_delayed_delivery_queue_type",
    "string",
    "quorum",
    "queues in which messages for later wait on RabbitMQ: classic or quorum",
)

_section = "Worker"
_s("worker_pool", "string", "prefork", "prefork, threads, solo…")
_s(
    "worker_pool_start_method",
    "string",
    None,
    "how processes of the pool come about: `fork` (the default on Linux) or `spawn`, fresh interpreters",
    ours=True,
)
_s("worker_concurrency", "int", None, "tasks run at once; None: number of CPUs")
_s("worker_prefetch_multiplier", "int", 4, "deliveries held per slot; 0: no bound")
_s("worker_disable_prefetch", "bool", False, "fetch only when a slot is free")
_s("worker_eta_task_limit", "int", None, "most ETA tasks held")
_s("worker_enable_prefetch_count_reduction", "bool", True, "fewer deliveries after a reconnection")
_s("worker_cancel_long_running_tasks_on_connection_loss", "bool", False, "")
_s("worker_deduplicate_successful_tasks", "bool", False, "a redelivered task that has succeeded does not run again")
_s("worker_detect_quorum_queues", "bool", True, "no effect: prefetch is by consumer for every type of queue")
_s("worker_soft_shutdown_timeout", "float", 0.0, "seconds between a cold shutdown's signal and its start")
_s("worker_enable_soft_shutdown_on_idle", "bool", False, "")
_s("worker_max_tasks_per_child", "int", None, "a process is replaced after so many tasks")
_s("worker_max_memory_per_child", "int", None, "a process is replaced above so much memory, KiB")
_s("worker_lost_wait", "float", 10.0, "wait for the result of a dead process, seconds")
_s("worker_proc_alive_timeout", "float", 4.0, "wait for a new process, seconds; spawned ones get 60 unless it is set")
_s("worker_pool_putlocks", "bool", True, "")
_s("worker_pool_restarts", "bool", False, "allow the command pool_restart")
_s("worker_disable_rate_limits", "bool", False, "", "CELERY_DISABLE_RATE_LIMITS")
_s("worker_enable_remote_control", "bool", True, "listen to commands", "CELERY_ENABLE_REMOTE_CONTROL")
_s("worker_send_task_events", "bool", False, "send events of tasks", "CELERY_SEND_EVENTS CELERY_SEND_TASK_EVENTS")
_s("worker_state_db", "string", None, "file that keeps revoked ids")
_s("worker_timer", "string", None, "class of the timer")
_s("worker_timer_precision", "float", 1.0, "seconds")
_s("worker_autoscaler", "string", "celeriac.worker.autoscale:Autoscaler", "class")
_s("worker_consumer", "string", "celeriac.worker.consumer:Consumer", "class")
_s("worker_agent", "string", None, "class")
_s("worker_max_message_bytes", "int", 64 * 1024 * 1024, "a longer message is a dead letter", ours=True)

_section = "Events"
_s("event_exchange", "string", "celeryev", "")
_s("event_queue_prefix", "string", "celeryev", "")
_s("event_queue_ttl", "float", 5.0, "seconds")
_s("event_queue_expires", "float", 60.0, "seconds")
_s("event_queue_exclusive", "bool", True, "")
_s("event_queue_durable", "bool", False, "")
_s("event_serializer", "string", "json", "")

_section = "Remote control"
_s("control_exchange", "string", "celery", "")
_s("control_queue_ttl", "float", 300.0, "seconds")
_s("control_queue_expires", "float", 10.0, "seconds")
_s("control_queue_exclusive", "bool", True, "")
_s("control_queue_durable", "bool", False, "")

_section = "Logging"
_s("worker_hijack_root_logger", "bool", True, "")
_s("worker_log_color", "bool", None, "None: on a terminal")
_s("worker_log_format", "string", "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s", "")
_s(
    "worker_task_log_format",
    "string",
    "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s",
    "",
)
_s("worker_redirect_stdouts", "bool", True, "", "CELERY_REDIRECT_STDOUTS")
_s("worker_redirect_stdouts_level", "string", "WARNING", "", "CELERY_REDIRECT_STDOUTS_LEVEL")

_section = "Security"
_s("security_key", "string", None, "")
_s("security_key_password", "any", None, "bytes")
_s("security_certificate", "string", None, "")
_s("security_cert_store", "string", None, "directory or glob")
_s("security_digest", "string", "sha256", "")

_section = "Beat"
_s("beat_schedule", "dict", {}, "name -> entry")
_s("beat_scheduler", "string", "celeriac.beat:PersistentScheduler", "class")
_s("beat_schedule_filename", "string", "celerybeat-schedule", "")
_s("beat_sync_every", "int", 0, "")
_s("beat_max_loop_interval", "float", 0, "seconds")
_s("beat_cron_starting_deadline", "int", None, "seconds")

_section = "Daemons"
for _program in ("worker", "beat", "events"):
    for _name in ("logfile", "pidfile", "uid", "gid", "umask", "executable"):
        _s(f"{_program}_{_name}", "string", None, f"used without the option `--{_name}`", f"{_program}_{_name}".upper())

SETTINGS: dict[str, Setting] = {row.name: row for row in _rows}
"""Name -> row."""

OLD_TO_NEW: dict[str, str] = {old: row.name for row in _rows for old in row.old}
"""Upper-case name -> name."""
