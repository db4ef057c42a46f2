"""The HTTP API: its routes by package. FastAPI is used only here, in app.py and in server."""

from fastapi import APIRouter

from service.api.admin.aliases import alias_routers
from service.api.admin.audit import audit_router
from service.api.admin.keys import key_router
from service.api.admin.tasks import task_routers
from service.api.admin.versions import version_routers
from service.api.operations import monitoring
from service.api.operations.console import console_routers
from service.api.operations.tasks import task_router
from service.api.predict.endpoints import describe
from service.api.predict.many_tasks import PREDICT_MANY
from service.api.predict.one_task import PREDICT
from service.api.protocols.classify import CLASSIFY
from service.api.protocols.open_inference import INFER, INFER_VERSION, open_inference_routers
from service.api.protocols.tei import TEI_PREDICT
from service.settings import Settings

PREDICTION_ENDPOINTS = (PREDICT, PREDICT_MANY, INFER, INFER_VERSION, TEI_PREDICT, CLASSIFY)


def public_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for clients."""
    return [
        describe(PREDICTION_ENDPOINTS, settings),
        task_router(settings),
        *open_inference_routers(settings),
        monitoring.health_router,
    ]


def admin_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for operators; with ADAKRON_ADMIN_PORT they are only on that port."""
    return [
        *version_routers(settings),
        *alias_routers(settings),
        *task_routers(settings),
        key_router(settings),
        audit_router(settings),
        monitoring.metrics_router,
        *console_routers(settings),
    ]
