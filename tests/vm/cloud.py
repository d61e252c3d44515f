"""A cloud on one machine, for its first boot: runs inside the virtual machine, as root.

A metadata service at its own address; SeaweedFS, which checks the signature of each request; moto
for Systems Manager, STS, CloudWatch and the rest; both under the names that AWS has.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path("/opt/cloud")
READY = Path("/run/cloud-ready")
STATE = Path("/var/lib/cloud-of-the-test")
METADATA = "169.254.169.254"
DUTY, VOLUME = "db", "vol-0123456789abcdef0"
ACCESS, SECRET = "AKIDOFTHEMACHINE", "the-secret-of-the-machine"
SERVICES = ("ssm", "secretsmanager", "ec2", "sts", "monitoring", "rds")
_MOTO, _S3 = 5000, 8333
_HOP = ("connection", "transfer-encoding", "keep-alive")


class Metadata(http.server.BaseHTTPRequestHandler):
    """Answers as version 2 of the metadata service does."""

    facts: dict[str, Any]

    def do_PUT(self) -> None:
        self._answer("the-token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        role = "/latest/meta-data/iam/security-credentials/"
        credentials = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": ACCESS,
            "SecretAccessKey": SECRET,
            "Token": "",  # SeaweedFS knows no sessions
            "Expiration": "2199-01-01T00:00:00Z",
        }
        answers = {
            role: self.facts["role"],
            role + self.facts["role"]: json.dumps(credentials),
            "/latest/meta-data/instance-id": "i-0123456789abcdef0",
            "/latest/meta-data/placement/availability-zone": f"{self.facts['region']}a",
        }
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "the-token"
        self._answer(answers.get(self.path) if allowed else None)

    def _answer(self, text: str | None) -> None:
        data = (text or "").encode()
        self.send_response(200 if text is not None else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Front(http.server.BaseHTTPRequestHandler):
    """Passes requests on by their host: buckets to SeaweedFS, everything else to moto."""

    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        host = self.headers.get("Host", "")
        port = _S3 if host.partition(".s3.")[2] or host.startswith("s3.") else _MOTO
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in (*_HOP, "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "content-length"):
                self.send_header(name, value)
        told = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(told or 0))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        connection.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        pass


def names(facts: dict[str, Any]) -> list[str]:
    """Return the names of AWS' that lead to this machine."""
    region = facts["region"]
    own = [f"{name}.{region}.amazonaws.com" for name in (*SERVICES, "s3")]
    return own + [f"{facts[one]}.s3.{region}.amazonaws.com" for one in ("artifacts", "backups")]


def _serve(address: tuple[str, int], handler: type, context: ssl.SSLContext | None) -> None:
    server = http.server.ThreadingHTTPServer(address, handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _start(facts: dict[str, Any]) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", f"{METADATA}/32", "dev", "lo"], check=True)
    STATE.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "machine",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin"],
    }
    (STATE / "identities.json").write_text(json.dumps({"identities": [identity]}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(STATE)}
    with (STATE / "log").open("wb") as log:
        subprocess.Popen(
            [
                *(str(HERE / "weed"), "server", f"-dir={STATE}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
                *("-master.volumeSizeLimitMB=64", "-volume.max=50", "-s3"),
                *(f"-s3.port={_S3}", f"-s3.config={STATE}/identities.json"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                f"-s3.domainName=s3.{facts['region']}.amazonaws.com",
            ],
            env=environment,
            cwd=STATE,
            stdout=log,
            stderr=log,
        )
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p5000"],
            env={**environment, "PYTHONPATH": str(HERE / "python")},
            stdout=log,
            stderr=log,
        )


def client(service: str, facts: dict[str, Any]) -> Any:
    """Return the SDK's client for a service of this cloud."""
    sys.path.insert(0, str(HERE / "python"))
    import boto3
    from botocore.config import Config

    factory: Any = boto3.client
    return factory(
        service,
        region_name=facts["region"],
        endpoint_url=f"http://127.0.0.1:{_S3 if service == 's3' else _MOTO}",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def _patiently(call: Callable[..., Any], **more: Any) -> None:
    """Call a service that may still be starting."""
    limit = time.monotonic() + 300
    while True:
        try:
            call(**more)
            return
        except Exception as error:
            if "BucketAlready" in str(error):
                return
            if time.monotonic() > limit:
                raise
            time.sleep(1)


def _fill(facts: dict[str, Any]) -> None:
    s3 = client("s3", facts)
    for name in ("artifacts", "backups"):
        _patiently(s3.create_bucket, Bucket=facts[name])
        _patiently(s3.put_object, Bucket=facts[name], Key="ready", Body=b"x")
    put = client("ssm", facts).put_parameter
    _patiently(put, Name=facts["parameter"], Value=facts["release"], Type="String", Overwrite=True)
    objects = HERE / "objects"
    for path in sorted(objects.rglob("*")):
        if path.is_file():
            key = str(path.relative_to(objects))
            s3.put_object(Bucket=facts["artifacts"], Key=key, Body=path.read_bytes())


def main() -> None:
    facts = json.loads((HERE / "facts.json").read_text())
    _start(facts)
    Metadata.facts = facts
    _serve((METADATA, 80), Metadata, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HERE / "server.pem")
    _serve(("127.0.0.1", 443), Front, context)
    disk = Path("/dev/nvme0n1")
    if disk.exists():
        place = Path("/dev/disk/by-id")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '', 1)}").symlink_to(disk)
    _fill(facts)
    READY.touch()
    threading.Event().wait()


if __name__ == "__main__":
    main()
