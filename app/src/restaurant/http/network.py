"""What pages need to live with a network that fails: a pulse, the service worker, and the page shown without either."""

from __future__ import annotations

from flask import Blueprint, render_template, send_from_directory
from werkzeug.wrappers import Response

from restaurant.http.assets import STATIC

network = Blueprint("network", __name__)


@network.get("/pouls")
def pulse() -> Response:
    """Tell a page that the service is within reach."""
    return Response(status=204)


@network.get("/sw.js")
def worker() -> Response:
    """The service worker, which may serve pages of the directory that it is in."""
    response = send_from_directory(STATIC, "worker.js", max_age=0)
    response.headers["Cache-Control"] = "no-cache"
    return response


@network.get("/hors-ligne")
def offline_page() -> str:
    """What is shown instead of a page that was not seen before the connection was lost."""
    return render_template("offline.html")
