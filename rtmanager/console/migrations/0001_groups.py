"""The three groups of people in the console. Installations may change them afterwards; nothing puts them back."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

_VIEW = [
    ("runtimes", "view_runtime"),
    ("runtimes", "view_healthsnapshot"),
    ("operations", "view_operation"),
    ("operations", "view_outboxevent"),
    ("operations", "view_deadletter"),
    ("operations", "view_blackbox"),
]
_OPERATE = [
    *_VIEW,
    ("runtimes", "start_runtime"),
    ("runtimes", "stop_runtime"),
    ("runtimes", "restart_runtime"),
    ("runtimes", "patch_runtime"),
    ("runtimes", "cleanup_runtime"),
    ("operations", "change_deadletter"),
    ("admin", "view_logentry"),
]
_ADMINISTER = [
    *_OPERATE,
    ("runtimes", "view_apitoken"),
    ("runtimes", "add_apitoken"),
    ("runtimes", "change_apitoken"),
    ("auth", "view_user"),
    ("auth", "add_user"),
    ("auth", "change_user"),
    ("auth", "view_group"),
]
GROUPS = {"viewer": _VIEW, "operator": _OPERATE, "admin": _ADMINISTER}


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Make each group unless there is one of its name."""
    for label in ("runtimes", "operations", "admin", "auth"):
        # Django makes permissions after all migrations have run; here they are needed before.
        config = apps.get_app_config(label)
        # Django skips apps without a module of models, which those of a migration never have.
        module = getattr(config, "models_module", None)
        config.models_module = module or True
        create_permissions(config, apps=apps, verbosity=0, using=schema_editor.connection.alias)
        config.models_module = module
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    for name, wanted in GROUPS.items():
        group, is_new = group_model.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set(
                permission_model.objects.get(content_type__app_label=label, codename=codename)
                for label, codename in wanted
            )


class Migration(migrations.Migration):
    """Data only; going back leaves the groups, for people are in them."""

    dependencies = [
        ("operations", "0004_black_boxes"),
        ("runtimes", "0002_console_permissions"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
