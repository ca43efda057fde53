"""The few pages that need no console: the login, and what is where."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem;color:#223}"
    "input,button{font:inherit;padding:.4rem .6rem}input{width:24rem;max-width:100%}li{margin:.3rem 0}"
    "code{background:#eef;padding:.1rem .3rem}.wrong{color:#a00}"
)
# MLflow's client prints links to a run as `<server>/#/experiments/...`: they land here and go on to its UI.
_ONWARD = "if(location.hash.startsWith('#/'))location.replace('/mlflow/'+location.hash)"


def login_page(to: str, *, wrong: bool = False) -> HTMLResponse:
    """The form that takes the token, status 401 where the one given was wrong; `to` is the path to go to then."""
    note = '<p class="wrong" role="alert">That is not the token of this home.</p>' if wrong else ""
    body = (
        f'<h1>Millrace</h1>{note}<form method="post" action="/login?next={escape(to, quote=True)}">'
        '<p><label for="token">Token</label></p>'
        '<p><input id="token" name="token" type="password" autocomplete="current-password" autofocus required> '
        "<button>Log in</button></p></form>"
        "<p>The token is in the file <code>token</code> in the home directory (by default <code>.millrace</code>).</p>"
    )
    return _page("Log in", body, 401 if wrong else 200)


def start_page(endpoints: list[tuple[str, str]]) -> HTMLResponse:
    """What this server has: links, and each endpoint with its state, as `(name, state)`."""
    rows = "".join(
        f'<li><a href="/api/2.0/serving-endpoints/{escape(name, quote=True)}">{escape(name)}</a>: {escape(state)}</li>'
        for name, state in endpoints
    )
    body = (
        f"<h1>Millrace</h1><script>{_ONWARD}</script><ul>"
        '<li><a href="/mlflow/">MLflow: experiments, runs, models</a></li>'
        '<li><a href="/api/millrace/status">Status</a> and <a href="/health/ready">health</a></li></ul>'
        f"<h2>Endpoints</h2><ul>{rows or '<li>none yet</li>'}</ul>"
        '<form method="post" action="/logout"><button>Log out</button></form>'
    )
    return _page("Millrace", body, 200)


def _page(title: str, body: str, status: int) -> HTMLResponse:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>', status
    )
