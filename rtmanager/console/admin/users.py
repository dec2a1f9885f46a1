"""The admin's users and groups. A user manages only accounts and groups whose rights are among its own."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from rtmanager.console.admin.base import ConsoleAdmin

admin.site.unregister([User, Group])


def permissions_of(user: User) -> QuerySet[Permission]:
    """The permissions that the account holds or, while it is inactive, would hold."""
    if user.is_superuser:
        return Permission.objects.all()
    return Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct()


def grantable_groups(user: User) -> QuerySet[Group]:
    """The groups with no permission beyond those of the user."""
    beyond = Permission.objects.exclude(pk__in=permissions_of(user).values("pk"))
    return Group.objects.exclude(permissions__in=beyond)


def may_manage_account(user: User, account: User) -> bool:
    """Return whether the rights of the account are among those of the user."""
    if user.is_superuser:
        return True
    return not account.is_superuser and _ids(permissions_of(account)) <= _ids(permissions_of(user))


def may_manage_group(user: User, group: Group) -> bool:
    """Return whether the permissions of the group are among those of the user."""
    return user.is_superuser or _ids(group.permissions.all()) <= _ids(permissions_of(user))


def _ids(permissions: QuerySet[Permission]) -> set[int]:
    return set(permissions.values_list("pk", flat=True))


class _GrantsOwnRights:
    """Offers and accepts only groups and permissions that the signed-in user could not gain by granting them."""

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        user: Any = request.user
        if db_field.related_model is Permission:
            options["queryset"] = permissions_of(user).select_related("content_type")
        elif db_field.related_model is Group:
            options["queryset"] = grantable_groups(user)
        return super().formfield_for_manytomany(db_field, request, **options)  # type: ignore[misc]  # of the admin class


@admin.register(User)
class UserAdmin(_GrantsOwnRights, auth_admin.UserAdmin, ConsoleAdmin):  # type: ignore[misc,type-arg]  # django-unfold brings no types
    """Users who sign in. The groups viewer, operator and admin give them permissions."""

    # Select boxes: the double lists of Django are wider than a phone, and screen readers cannot use them.
    filter_horizontal = ()
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Django checks this for the password form too."""
        return super().has_change_permission(request, obj) and _allows(may_manage_account, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Django checks this for each account of a list action too."""
        return super().has_delete_permission(request, obj) and _allows(may_manage_account, request, obj)


@admin.register(Group)
class GroupAdmin(_GrantsOwnRights, auth_admin.GroupAdmin, ConsoleAdmin):  # type: ignore[misc]  # unfold's and Django's methods differ
    """Groups, for installations that need others."""

    filter_horizontal = ()

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and _allows(may_manage_group, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _allows(may_manage_group, request, obj)


def _allows(rule: Any, request: HttpRequest, obj: Any) -> bool:
    return obj is None or rule(request.user, obj)
