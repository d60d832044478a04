"""How Celery is used: one app per tenant's broker, the same options for publishers and workers.

A message carries nothing: it is a token worth one image of its tenant (whose broker it is) and
model (whose queue it lies in). PostgreSQL knows which image; a lost or doubled token costs nothing.
"""

from typing import Final

from celery import Celery

from services.transport.broker_places import BrokerPlace

# The name on the wire; the code behind it may move, messages in flight keep the name.
RENDER_IMAGE: Final = "atelier.render_image"
# Redis' highest; send_task ignores task_default_priority, so it is passed with every message.
TOKEN_PRIORITY: Final = 0

# Above the longest image: a shorter one makes the broker hand a token out again while its image is
# drawn. Nothing relies upon it, because the housekeeper replaces lost tokens by itself.
_VISIBILITY_TIMEOUT_SECONDS: Final = 6 * 3600
# A broker on the same machine answers within milliseconds; a frozen one must not hold a caller.
_ANSWER_SECONDS: Final = 2.0


def tenant_app(broker: BrokerPlace) -> Celery:
    """Make the Celery app that speaks through one tenant's broker; connects when used."""
    app = Celery("atelier", broker=broker.url, set_as_current=False)
    app.conf.update(
        broker_use_ssl=broker.tls_options,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # A token is given back to the queue when its worker dies, not when it is fetched.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        # With it and late acks, losing the broker during a task kills the worker. Cancel wishes
        # travel through the recorder instead, and nobody asks workers through the broker.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": _VISIBILITY_TIMEOUT_SECONDS,
            "socket_timeout": _ANSWER_SECONDS,
        },
    )
    return app
