"""The platform of the download bench: nginx with TLS 1.3 on loopback, serving what the simulator's routes serve, from
files; and the proxy that makes the way there long."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
import typing
import urllib.parse

EXPORT = "/data/foundation/export"
PAGE = 100
# What files are made of; random numbers for all of them would take longer than to download them.
BLOCK = os.urandom(16 << 20)

CONFIG = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes auto;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/octet-stream;
  types {{ application/json json; }}
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/tmp;
  proxy_temp_path {folder}/tmp;
  fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp;
  scgi_temp_path {folder}/tmp;
  map "$arg_path|$arg_start" $entry {{
    "~^(?<name>[^|]+)" data/$name;
    "~^.(?<start>.+)" pages/$start.json;
    default pages/first.json;
  }}
  # All requests count together.
  limit_conn_zone $server_port zone=requests:1m;
  limit_conn_status 429;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=1024;
    include {folder}/routes.conf;
  }}
  server {{
    # A request counts until the last of its bytes is about to leave.
    listen 127.0.0.1:{throttled_port} ssl http2 backlog=1024 sndbuf=64k;
    limit_conn requests {most_requests};
    include {folder}/routes.conf;
  }}
}}
"""

ROUTES = """
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.3;
    root {root};
    location = /data/foundation/catalog/batches {{ try_files /catalog/$arg_dataSet.json =404; }}
    location ~ ^/data/foundation/export/batches/(?<batch>[A-Za-z0-9-]+)/files$ {{ try_files /batches/$batch.json =404; }}
    location ~ ^/data/foundation/export/files/(?<directory>[A-Za-z0-9-]+)$ {{ try_files /files/$directory/$entry =404; }}
    # The same files for those who want a folder.
    location /plain/ {{ alias {root}/files/; autoindex on; }}
"""

# Of the server that throttles.
MOST_REQUESTS = 12

CERTIFICATES = """
set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=caiexport bench CA'
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=127.0.0.1'
printf 'subjectAltName=IP:127.0.0.1' > san
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem
"""


class Way(typing.NamedTuple):
    """From the server to the programs."""
    latency_ms: float = 0  # each way
    rate: float = 0        # MB/s of a connection; 0: as fast as it goes
    total: float = 0       # of all together
    most_requests: int = 0  # at a time; 0: any number

    def limit(self, size_bytes):
        """Seconds that no program can go below that has to ask what there is: the bytes at the link's rate, and before
        the first of them five round trips, for TLS, the batch, its files, their list, and the file. None: unknown."""
        if not self.total:
            return None
        rate = min(self.total, self.rate * self.most_requests) if self.most_requests else self.total
        return size_bytes / (rate * 1e6) + 5 * 2 * self.latency_ms / 1000


class DataSet:
    """The files of one case, as a batch of a dataset. `make_file` makes one, given its path and number; without it they
    can't be compressed, and no two are alike."""

    def __init__(self, root, letter, count, size_bytes, make_file=None):
        self.letter = letter
        self.count = count
        self.size_bytes = size_bytes
        self.dataset = f"5f000000000000000000be{ord(letter):02x}"
        self.batch = f"01JXBENCH0000000000000000{letter}"
        self.directory = self.batch + "-1"
        self.names = [f"part-{i:05d}-tid-5614298703411200001-d0c6a1f4-8a7e-4b52-9d3b-000000000001-{i}-c000.snappy.parquet"
                      for i in range(count)]
        self._root = root
        self._folder = root / "files" / self.directory
        self._sums = {}
        (self._folder / "data").mkdir(parents=True)
        for i, name in enumerate(self.names):
            (make_file or self._make_file)(self.file(name), i)

    @property
    def total_bytes(self):
        return self.count * self.size_bytes

    def file(self, name):
        return self._folder / "data" / name

    def sha256(self, name):
        if name not in self._sums:
            with open(self.file(name), "rb") as file:
                digest = hashlib.sha256()
                while piece := file.read(1 << 20):
                    digest.update(piece)
            self._sums[name] = digest.hexdigest()
        return self._sums[name]

    def urls(self, origin):
        return [f"{origin}{EXPORT}/files/{self.directory}?path={name}" for name in self.names]

    def plain_url(self, origin):
        return f"{origin}/plain/{self.directory}/data/"

    def list_under(self, origin):
        """Writes the listings; links lead to `origin`, where the platform is to be found."""
        created = 1748746000000
        self._write(f"catalog/{self.dataset}.json", {self.batch: {
            "status": "success", "created": created, "createdClient": "acp_foundation_push",
            "metrics": {"outputRecordCount": 1000, "outputFileCount": self.count, "outputByteSize": self.total_bytes}}})
        self_link = {"self": {"href": f"{origin}{EXPORT}/files/{self.directory}"}}
        self._write(f"batches/{self.batch}.json", {"data": [{
            "dataSetFileId": self.directory, "dataSetViewId": self.directory + "v", "version": "1.0.0",
            "created": str(created), "updated": str(created), "records": "1000", "isValid": False,
            "_links": self_link}], "_page": {"limit": PAGE, "count": 1}})
        urls = self.urls(origin)
        for first in range(0, self.count, PAGE):
            page = range(first, min(first + PAGE, self.count))
            answer = {"data": [{"name": self.names[i], "length": str(self.size_bytes),
                                "_links": {"self": {"href": urls[i]}}} for i in page],
                      "_page": {"limit": PAGE, "count": len(page)}}
            if first + PAGE < self.count:
                query = urllib.parse.urlencode({"start": self.names[first + PAGE], "limit": PAGE})
                answer["_links"] = {"next": {"href": f"{self_link['self']['href']}?{query}"}}
            name = self.names[first] if first > 0 else "first"
            self._write(f"files/{self.directory}/pages/{name}.json", answer)

    def _make_file(self, path, _):
        with open(path, "wb") as file:
            for first in range(0, self.size_bytes, len(BLOCK)):
                unique = os.urandom(64)
                file.write(unique + BLOCK[len(unique):self.size_bytes - first])

    def _write(self, name, value):
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, separators=(",", ":")))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, process, what):
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"{what} did not start: {process.stderr.read().decode(errors='replace') if process.stderr else ''}")


class Server:
    """nginx, and before it a proxy for each way; all end with the object's `with` block."""

    def __init__(self, folder, root, proxy_program):
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._root = root
        self._proxy_program = proxy_program
        self._origins = {}
        self._processes = []

    def __enter__(self):
        try:
            self._make_certificates()
            self._port, self._throttled_port = self._start_nginx()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    @property
    def processes(self):
        return [process.pid for process in self._processes]

    def origin(self, way):
        """Where the platform is to be found at the other end of that way."""
        if way not in self._origins:
            assert way.most_requests in (0, MOST_REQUESTS)
            port = self._throttled_port if way.most_requests else self._port
            if way.latency_ms or way.rate or way.total:
                port = self._start_proxy(way, port)
            self._origins[way] = f"https://127.0.0.1:{port}"
        return self._origins[way]

    def _make_certificates(self):
        done = subprocess.run(["bash", "-c", CERTIFICATES], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise SystemExit("openssl could not make certificates:\n" + done.stdout.decode(errors="replace"))

    def _start_nginx(self):
        port, throttled_port = free_port(), free_port()
        (self.folder / "tmp").mkdir()
        config = CONFIG.format(user="user root;" if os.geteuid() == 0 else "", folder=self.folder,
                               port=port, throttled_port=throttled_port, most_requests=MOST_REQUESTS)
        (self.folder / "routes.conf").write_text(ROUTES.format(folder=self.folder, root=self._root))
        (self.folder / "nginx.conf").write_text(config)
        process = subprocess.Popen(["nginx", "-p", self.folder, "-e", self.folder / "nginx-error.log", "-c",
                                    self.folder / "nginx.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._processes.append(process)
        wait_for(port, process, "nginx")
        return port, throttled_port

    def _start_proxy(self, way, port):
        process = subprocess.Popen([self._proxy_program, "--to", str(port), "--latency", str(way.latency_ms), "--rate",
                                    str(way.rate), "--total", str(way.total)], stdout=subprocess.PIPE)
        self._processes.append(process)
        return int(process.stdout.readline())

    def _stop(self):
        # nginx's workers end with its master, on SIGTERM.
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
        self._processes = []
