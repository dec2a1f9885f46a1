"""How the admin looks and what its side bar leads to: the settings of django-unfold."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _stylesheet(_request: HttpRequest) -> str:
    return static("console/console.css")


def _script(_request: HttpRequest) -> str:
    return static("console/console.js")


def _icon(_request: HttpRequest) -> str:
    return static("console/icon.svg")


def _entry(title: str, icon: str, view: str, permission: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{view}"),
        "permission": lambda request: request.user.has_perm(permission),
    }


# The blue of the console's own style sheet, from lightest to darkest.
_BLUE = {
    "50": "oklch(97% .014 254)", "100": "oklch(93.2% .032 256)", "200": "oklch(88.2% .059 254)",
    "300": "oklch(80.9% .105 252)", "400": "oklch(70.7% .130 255)", "500": "oklch(58% .150 259)",
    "600": "oklch(46% .140 262)", "700": "oklch(42% .130 264)", "800": "oklch(37% .110 265)",
    "900": "oklch(32% .090 266)", "950": "oklch(24% .070 267)",
}  # fmt: skip

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Runtime Manager",
    "SITE_HEADER": "Runtime Manager",
    "SITE_SUBHEADER": "games and what is done to them",
    "SITE_URL": "/api/docs/",
    "SITE_SYMBOL": "stadia_controller",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "COLORS": {"primary": _BLUE},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [_stylesheet],
    "SCRIPTS": [_script],
    "DASHBOARD_CALLBACK": "rtmanager.console.dashboard.fill",
    "COMMAND": {"search_models": False},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {"title": "Dashboard", "icon": "dashboard", "link": reverse_lazy("admin:index")},
                    _entry("Games", "stadia_controller", "runtimes_runtime_changelist", "runtimes.view_runtime"),
                    _entry(
                        "Operations", "receipt_long", "operations_operation_changelist", "operations.view_operation"
                    ),
                    _entry("Black boxes", "flight", "operations_blackbox_changelist", "operations.view_blackbox"),
                ],
            },
            {
                "title": "Messages",
                "items": [
                    _entry(
                        "Dead letters", "mark_email_unread", "operations_deadletter_changelist",
                        "operations.view_deadletter",
                    ),
                    _entry("Outbox", "outbox", "operations_outboxevent_changelist", "operations.view_outboxevent"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _entry("API tokens", "key", "runtimes_apitoken_changelist", "runtimes.view_apitoken"),
                    _entry("People", "group", "auth_user_changelist", "auth.view_user"),
                    _entry("Audit", "policy", "admin_logentry_changelist", "admin.view_logentry"),
                ],
            },
        ],
    },
}  # fmt: skip
