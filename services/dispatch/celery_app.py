"""How Celery is used: one app per tenant's broker, the same options for publishers and workers.

A message carries nothing: it is a token worth one image of its tenant (whose broker it is) and
model (whose queue it lies in). PostgreSQL knows which image; a lost or doubled token costs nothing.
"""

from functools import lru_cache
from typing import Final

from celery import Celery

from services.transport.broker_places import BrokerPlace

# The name on the wire; the code behind it may move, messages in flight keep the name.
RENDER_IMAGE: Final = "atelier.render_image"
# Redis' highest; send_task ignores task_default_priority, so it is passed with every message.
TOKEN_PRIORITY: Final = 0

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
        # A token is given back to the queue by a worker that stops before it has spent it.
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
            "socket_timeout": _ANSWER_SECONDS,
            # One list for each queue, and no notes of what is not acknowledged yet: those keys are
            # in the tenant's hands too, and a wrong one ended the worker. The housekeeper replaces
            # the token of a worker that died within two sweeps.
            "priority_steps": [TOKEN_PRIORITY],
            "ack_emulation": False,
        },
    )
    return app


@lru_cache(maxsize=1024)
def shared_app(broker: BrokerPlace) -> Celery:
    """Return the one app for a broker in this process, so that publishers share its connections."""
    return tenant_app(broker)
