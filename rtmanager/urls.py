"""All URLs of the service."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from rtmanager.api.views import DoctorView, HealthzView, MetricsView, ReadyzView
from rtmanager.console import views
from rtmanager.console.sign_in import SignInForm

admin.autodiscover()
admin.site.site_header = admin.site.site_title = "Runtime Manager"
admin.site.site_url = "/api/docs/"
admin.site.login_form = SignInForm
admin.site.index_title = "Games and what was done to them"

urlpatterns = [
    path("", views.root, name="root"),
    path("healthz", HealthzView.as_view(), name="healthz"),
    path("readyz", ReadyzView.as_view(), name="readyz"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("api/v1/internal/", include("runtimes.api.urls")),
    path("api/v1/internal/", include("operations.api.urls")),
    path("api/v1/internal/doctor", DoctorView.as_view(), name="doctor"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/", include("rtmanager.console.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "rtmanager.http.error_handlers.bad_request"
handler403 = "rtmanager.http.error_handlers.permission_denied"
handler404 = "rtmanager.http.error_handlers.page_not_found"
handler500 = "rtmanager.http.error_handlers.server_error"
