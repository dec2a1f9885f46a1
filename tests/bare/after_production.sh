# After the commands of docs/production.md: start a game as an operator does, and print what was seen.
bin=/opt/rtmanager/bin
$bin/python - <<'PYTHON'
import docker
from deploy.local.docker.sample_images import build_engine
build_engine(docker.from_env(), "galaxy-engine:1.0.0")
PYTHON
RTM_TOKEN=$(rtmanager api_token create test --caller admin --scope read --scope operate | grep ^rtm_)
export RTM_TOKEN RTM_URL=http://127.0.0.1:8096
status() { $bin/python -c "
import ssl, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).status)" "$1" 2> /dev/null || true; }
for _ in $(seq 150); do [ "$(status http://127.0.0.1:8096/readyz)" != 200 ] || break; sleep 0.4; done
$bin/rtm start g-1 galaxy-engine:1.0.0
state=/var/lib/rtmanager/games/g-1
for _ in $(seq 50); do [ ! -s $state/turns.log ] || break; sleep 0.2; done
users=$(for process in /proc/[0-9]*; do
    ! tr '\0' ' ' < "$process/cmdline" 2> /dev/null | grep -qE '^/opt/rtmanager/bin/python.* (run_web|run_loops|worker|docker_gateway)' ||
        stat -c %U "$process"
done | sort | uniq -c | tr -s ' \n' ' ')
echo "game: $($bin/rtm show g-1 --json | tr -d ' \n')"
echo "state: $(stat -c '%U:%G %a' $state) $(stat -c %U $state/turns.log)"
echo "users:$users"
echo "tls: $(status https://127.0.0.1/healthz)"
echo "admin: $(rtmanager shell -c 'from django.contrib.auth.models import User
admin = User.objects.get(is_superuser=True)
print(admin, admin.check_password("a long first password"))' | tail -n 1)"
