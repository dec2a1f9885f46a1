"""Settings of django-unfold: the admin's look, its style sheet and its side bar."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def _entry(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{model}"),
    }


# The blue of the console's style sheet, from lightest to darkest.
_BLUE = {
    "50": "oklch(97% .014 254)", "100": "oklch(93.2% .032 256)", "200": "oklch(88.2% .059 254)",
    "300": "oklch(80.9% .105 252)", "400": "oklch(70.7% .130 255)", "500": "oklch(58% .150 259)",
    "600": "oklch(46% .140 262)", "700": "oklch(42% .130 264)", "800": "oklch(37% .110 265)",
    "900": "oklch(32% .090 266)", "950": "oklch(24% .070 267)",
}  # fmt: skip

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Runtime Manager",
    "SITE_HEADER": "Runtime Manager",
    "SITE_SUBHEADER": "Game containers",
    "SITE_URL": "/api/docs/",
    "SITE_SYMBOL": "stadia_controller",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("console/icon.svg")}],
    "COLORS": {"primary": _BLUE},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda _request: static("console/console.css")],
    "SCRIPTS": [lambda _request: static("console/console.js")],
    "DASHBOARD_CALLBACK": "rtmanager.console.dashboard.dashboard_context",
    "COMMAND": {"search_models": False},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {"title": "Overview", "icon": "dashboard", "link": reverse_lazy("admin:index")},
                    _entry("Games", "stadia_controller", "runtimes", "runtime"),
                    _entry("Operations", "receipt_long", "operations", "operation"),
                    _entry("Exit reports", "flight", "operations", "exitreport"),
                ],
            },
            {
                "title": "Messages",
                "items": [
                    _entry("Dead letters", "mark_email_unread", "operations", "deadletter"),
                    _entry("Outbox", "outbox", "operations", "outboxevent"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _entry("API tokens", "key", "runtimes", "apitoken"),
                    _entry("Users", "group", "auth", "user"),
                    _entry("Audit log", "policy", "admin", "logentry"),
                ],
            },
        ],
    },
}  # fmt: skip
