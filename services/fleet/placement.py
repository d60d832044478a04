"""Which tenant works on which device: decided from what is wanted and what runs, nothing else.

Every tenant wants one worker. While devices are free everybody gets one, so that a first image
does not wait for a model to load. When all are taken, a tenant with work takes the device of one
without; ending that worker is the price, so a tenant with work never loses its device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one tenant has waiting or in work, in images by model; 0 is left out."""

    tenant_id: str
    create_time: datetime
    # Those it may use, the preferred one first; at least one.
    models: tuple[str, ...]
    backlog: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def image_count(self) -> int:
        return sum(self.backlog.get(model, 0) for model in self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One worker's place: a device draws one model for one tenant."""

    gpu_id: str
    tenant_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What should be: the posts, and the tenants with work for whom no device is left."""

    posts: tuple[Post, ...]
    waiting_tenants: tuple[str, ...]


def place(
    *, gpu_ids: Sequence[str], demands: Sequence[Demand], current: Sequence[Post]
) -> Placement:
    """Return the posts that should be held now; those that may stay as they are do."""
    wanted = {demand.tenant_id: demand for demand in demands}
    posts = _kept(gpu_ids, wanted, current)
    waiting: list[str] = []
    for demand in sorted(_without_post(demands, posts), key=_most_urgent_first):
        gpu_id = _free_device(gpu_ids, posts) or _device_of_idle_tenant(demand, wanted, posts)
        if gpu_id is not None:
            posts[gpu_id] = Post(
                gpu_id=gpu_id, tenant_id=demand.tenant_id, model=_busiest_model(demand)
            )
        elif demand.image_count > 0:
            waiting.append(demand.tenant_id)
    return Placement(posts=tuple(posts.values()), waiting_tenants=tuple(waiting))


def _kept(
    gpu_ids: Sequence[str], wanted: Mapping[str, Demand], current: Sequence[Post]
) -> dict[str, Post]:
    """Keep the posts of tenants that are still there, with the model they need now."""
    return {
        post.gpu_id: Post(
            gpu_id=post.gpu_id,
            tenant_id=post.tenant_id,
            model=_model_to_keep(post.model, wanted[post.tenant_id]),
        )
        for post in current
        if post.gpu_id in gpu_ids and post.tenant_id in wanted
    }


def _model_to_keep(model: str, demand: Demand) -> str:
    """Change the model only when nothing waits for the one that is loaded."""
    if model not in demand.models:
        return _busiest_model(demand)
    if demand.backlog.get(model, 0) > 0 or demand.image_count == 0:
        return model
    return _busiest_model(demand)


def _busiest_model(demand: Demand) -> str:
    return max(demand.models, key=lambda model: demand.backlog.get(model, 0))


def _without_post(demands: Sequence[Demand], posts: Mapping[str, Post]) -> list[Demand]:
    posted = {post.tenant_id for post in posts.values()}
    return [demand for demand in demands if demand.tenant_id not in posted]


def _most_urgent_first(demand: Demand) -> tuple[bool, datetime, str]:
    return (demand.image_count == 0, demand.create_time, demand.tenant_id)


def _free_device(gpu_ids: Sequence[str], posts: Mapping[str, Post]) -> str | None:
    return next((gpu_id for gpu_id in gpu_ids if gpu_id not in posts), None)


def _device_of_idle_tenant(
    demand: Demand, wanted: Mapping[str, Demand], posts: Mapping[str, Post]
) -> str | None:
    if demand.image_count == 0:
        return None
    idle = (post.gpu_id for post in posts.values() if wanted[post.tenant_id].image_count == 0)
    return next(idle, None)
