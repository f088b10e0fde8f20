"""`POST /baseten/webhook`: where Baseten sends the results of asynchronous predictions."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request

from diarist_proxy.endpoint.baseten import read_webhook, verify_signature
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

WEBHOOK = "/baseten/webhook"
SIGNATURE = "x-baseten-signature"


def router(settings: ProxySettings, store: Store) -> APIRouter:
    """The route; without a secret to check signatures with, it is not there."""
    routes = APIRouter(tags=["Baseten"])
    secret = settings.baseten_webhook_secret
    if secret is None:
        return routes

    @routes.post(WEBHOOK)
    async def webhook(request: Request) -> dict[str, str]:
        """Keep a signed result for the job that waits for it."""
        body = await request.body()
        if not verify_signature(body, request.headers.get(SIGNATURE, ""), secret.get_secret_value()):
            raise HTTPException(
                401, "the signature is missing or wrong: DIARIST_BASETEN_WEBHOOK_SECRET must be Baseten's"
            )
        request_id, result = read_webhook(body)
        await anyio.to_thread.run_sync(store.put_result, request_id, result)
        return {"status": "ok"}

    return routes
