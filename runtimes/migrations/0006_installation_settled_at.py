from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runtimes', '0005_one_container_per_host_name'),
    ]

    operations = [
        migrations.AddField(
            model_name='installation',
            name='settled_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
