# How gunicorn serves shop. Run it in the app's folder, with the port in PORT:
#   python -m gunicorn --config gunicorn.conf.py
import os

wsgi_app = "shop.main:create()"
bind = "127.0.0.1" + ":" + os.environ.get("PORT", "8000")

worker_class = "asgi"
workers = 3
timeout = 120
graceful_timeout = 30
keepalive = 5
max_requests = 0
max_requests_jitter = 0

# The balancers, whose X-Forwarded-* headers count.
forwarded_allow_ips = "127.0.0.1"

accesslog = "-"
# A heartbeat file on a slow disk makes gunicorn kill workers that are well.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# With it, a reload silently keeps the old code.
preload_app = False
# gunicorn 25.1 and later; its default is one socket for all instances of a user. Older versions ignore the name.
control_socket_disable = True
