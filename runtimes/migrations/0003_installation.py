from django.db import migrations, models

# The row exists from the first moment on; nothing but its columns ever changes.
CREATE_ROW = "INSERT INTO runtimes_installation (id, state_root_id) VALUES (1, '') ON CONFLICT DO NOTHING"


class Migration(migrations.Migration):

    dependencies = [
        ('runtimes', '0002_console_permissions'),
    ]

    operations = [
        migrations.CreateModel(
            name='Installation',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('state_root_id', models.TextField(blank=True, default='')),
                ('restored_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='installation_only_one')],
            },
        ),
        migrations.RunSQL(CREATE_ROW, migrations.RunSQL.noop),
    ]
