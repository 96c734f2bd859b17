"""The door of the playground: the page is served to this machine alone, to whoever knows the token
in its address, and fetches nothing from anywhere else.
"""

import os
import secrets
import socket
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from interp.errors import ResourceError

HOST = "127.0.0.1"

HOSTS = (HOST, "localhost")
"""What a request may call this machine. A page elsewhere whose own name was turned to this address
(DNS rebinding) calls it by that name.
"""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Said with every answer: a browser then loads nothing from other hosts, shows the page in no frame
of another, and tells nobody its address.
"""

AT_THE_ROOT = {
    "/manifest.json": ("application/manifest+json", '{"name": "interp"}'),
    "/favicon.ico": ("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"/>'),
}
"""What browsers ask for there, whatever the page's own address: kind and content, the same for
everybody.
"""

GRADIO_ALONE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
}
"""What Gradio is told by its environment before it is imported: it sends nothing, and keeps
nothing.
"""


def check_extra() -> None:
    """Raise `ResourceError` where Gradio is not installed."""
    if find_spec("gradio") is None:
        raise ResourceError(
            "the playground needs the extra `play`: pip install 'emotion-interp[play]'."
        )


def listen(port: int | None) -> socket.socket:
    """A socket of this machine alone, at `port` or a free one. Raises `ResourceError` for a port
    that cannot be had.
    """
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port or 0))
    except OSError as error:
        door.close()
        raise ResourceError(
            f"cannot listen at port {port} ({error.strerror}): name another by --port, or leave "
            "it out for a free one."
        ) from error
    door.listen()
    return door


def serve(
    answers_in: Callable[[Path], Any],
    door: socket.socket,
    *,
    told: Callable[[str], None],
    opened: bool,
) -> None:
    """Serve the page of the answers that `answers_in` makes (of a folder for files, which is gone
    afterwards) until a signal comes. `told` is called with the address; `opened`: a browser, too.
    """
    with TemporaryDirectory() as folder:
        os.environ.update(GRADIO_ALONE, GRADIO_TEMP_DIR=folder)
        from interp.play.page import LOOK, build_page

        token = secrets.token_urlsafe(32)
        app = guarded(build_page(answers_in(Path(folder))), token, **LOOK)
        address = f"http://{HOST}:{door.getsockname()[1]}/{token}/"
        told(address)
        if opened:
            open_browser(address, Path(folder))
        _run(app, door)


def open_browser(address: str, folder: Path) -> None:
    """Open the page in a browser by a file that only this user can read: a command line, which
    anybody on this machine can read, must not hold the token.
    """
    way = folder / "open.html"
    way.write_text(f'<meta http-equiv="refresh" content="0;url={address}">', encoding="utf-8")
    webbrowser.open(way.as_uri())


def guarded(page: Any, token: str, **look: Any) -> Any:
    """An application (ASGI) that shows the page below `/TOKEN/` and nothing elsewhere, to requests
    that call this machine by its own name.
    """
    import gradio as gr
    from starlette.applications import Starlette
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    app = Starlette(routes=[Route(path, _at_the_root) for path in AT_THE_ROOT])
    gr.mount_gradio_app(app, page, path=f"/{token}", server_name=HOST, ssr_mode=False, **look)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*HOSTS], www_redirect=False)
    return with_headers(app)


def _at_the_root(request: Any) -> Any:
    from starlette.responses import Response

    kind, content = AT_THE_ROOT[request.url.path]
    return Response(content, media_type=kind)


def with_headers(app: Any) -> Any:
    """The application, whose answers all say `HEADERS`."""
    said = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def headed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *said]}
            await send(message)

        await app(scope, receive, headed)

    return answer


def _run(app: Any, door: socket.socket) -> None:
    """Answer at the door until a signal comes, which is raised again then."""
    import uvicorn

    how = uvicorn.Config(
        app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    uvicorn.Server(how).run(sockets=[door])
