"""The HTTP API. FastAPI lives only here and in app.py."""

from fastapi import APIRouter

from service.api.admin.aliases import alias_routers
from service.api.admin.audit import audit_router
from service.api.admin.inspection import inspection_router
from service.api.admin.keys import key_router
from service.api.admin.versions import version_routers
from service.api.admin.weights import weight_router
from service.api.operations import health, metrics
from service.api.operations.console import console_routers
from service.api.operations.tasks import task_router
from service.api.predict.many import predict_many_router
from service.api.predict.route import predict_router
from service.api.protocols.classify import classify_router
from service.api.protocols.open_inference import open_inference_routers
from service.api.protocols.tei import tei_router
from service.settings import Settings


def public_routers(settings: Settings) -> list[APIRouter]:
    """What clients use."""
    return [
        predict_router(settings),
        predict_many_router(settings),
        task_router(settings),
        *open_inference_routers(settings),
        tei_router(settings),
        classify_router(settings),
        health.router,
    ]


def admin_routers(settings: Settings) -> list[APIRouter]:
    """What operators use: with ADAKRON_ADMIN_PORT, only on a port of its own."""
    return [
        *version_routers(settings),
        *alias_routers(settings),
        inspection_router(settings),
        weight_router(settings),
        key_router(settings),
        audit_router(settings),
        metrics.router,
        *console_routers(settings),
    ]
