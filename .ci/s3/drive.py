"""Backups in a bucket of SeaweedFS, looked at by boto3; and what docs/operations.md says of them.
Usage: drive.py BINARY WEED FOLDER"""

import atexit
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import requests
from botocore.config import Config

MANUAL = Path(__file__).parents[2] / "docs/operations.md"
BINARY, WEED, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ADDRESS, METRICS = "127.0.0.1:8461", "127.0.0.1:9461"
STORAGE, PROXY = 8462, 8466
ID, SECRET = "backups", "a-secret-that-is-told-to-nobody"
SETTINGS = {
    "PATH": os.environ["PATH"],
    "POSTROOM_LISTEN": ADDRESS,
    "POSTROOM_METRICS_LISTEN": METRICS,
    "POSTROOM_DISK_RESERVE_MIB": "0",
    "POSTROOM_BACKUP_S3_ENDPOINT": f"http://127.0.0.1:{PROXY}",
    "POSTROOM_BACKUP_S3_SECRET_KEY_FILE": str(FOLDER / "secret"),
    "AWS_ACCESS_KEY_ID": ID,
}
LETTERS = 500


def until(what, holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds} s: {what}\n{log()}"
        time.sleep(0.05)


def log():
    return (FOLDER / "log").read_text()


class Storage:
    """The S3 server. Its parts speak to each other by gRPC, at these ports and 10,000."""

    def __init__(self):
        (FOLDER / "storage").mkdir()
        actions = [f"{action}:mail" for action in ("Read", "Write", "List")]
        actions += [action.replace("mail", "mail-backups") for action in actions]
        keys = {"accessKey": ID, "secretKey": SECRET}
        identities = [{"name": "postroom", "credentials": [keys], "actions": actions}]
        operator = {"accessKey": "operator", "secretKey": "operator"}
        identities.append({"name": "operator", "credentials": [operator], "actions": ["Admin"]})
        (FOLDER / "s3.json").write_text(json.dumps({"identities": identities}))
        self.start()
        atexit.register(self.kill)

    def start(self):
        ports = ["-master.port=8463", "-volume.port=8464", "-filer.port=8465", f"-s3.port={STORAGE}"]
        self.process = subprocess.Popen(
            [WEED, "server", "-dir=storage", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
             "-s3.config=s3.json", "-master.volumeSizeLimitMB=64", "-volume.max=100", *ports],
            cwd=FOLDER, stdout=open(FOLDER / "storage.log", "a"), stderr=subprocess.STDOUT,
        )
        until("the storage answers", self.answers)

    def answers(self):
        try:
            bucket.list_buckets()
            return True
        except Exception:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()


class Proxy(threading.Thread):
    """Passes everything on, but for uploads while it holds: of those the first 9 MiB only."""

    holds = False
    passed = 0

    def run(self):
        with socket.create_server(("127.0.0.1", PROXY)) as listener:
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", STORAGE))
                except OSError:
                    client.close()
                    continue
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pipe, args=ends, daemon=True).start()

    def pipe(self, source, target, is_up):
        try:
            while data := source.recv(65536):
                while is_up and self.holds and self.passed > 9 << 20:
                    time.sleep(0.05)
                self.passed += len(data) if is_up else 0
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()


def command(*arguments, **settings):
    run = subprocess.run([BINARY, *arguments], cwd=FOLDER, env=SETTINGS | settings, text=True, capture_output=True)
    assert SECRET not in run.stdout + run.stderr, "the secret is shown"
    return run


def done(*arguments, **settings):
    run = command(*arguments, **settings)
    assert run.returncode == 0, run.stderr
    return run.stdout


def refused(told, *arguments, **settings):
    run = command(*arguments, **settings)
    assert run.returncode == 1 and run.stdout == "" and told in run.stderr, f"no {told!r}: {run}"


class Server:
    def __init__(self, **settings):
        self.process = subprocess.Popen(
            [BINARY], cwd=FOLDER, env=SETTINGS | settings, stdout=subprocess.DEVNULL, stderr=open(FOLDER / "log", "a")
        )
        atexit.register(self.process.kill)
        until("the server answers", self.answers)

    def answers(self):
        assert self.process.poll() is None, log()
        try:
            return requests.get(f"http://{ADDRESS}/readyz", timeout=5).ok
        except requests.ConnectionError:
            return False

    def figure(self, name):
        text = requests.get(f"http://{METRICS}/metrics", timeout=5).text
        return int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)[1])

    def backups(self, result):
        return self.figure(f'postroom_backups_total{{result="{result}"}}')

    def end(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        self.process.wait()


def keys(prefix):
    return [one["Key"] for one in bucket.list_objects_v2(Bucket="mail", Prefix=prefix).get("Contents", [])]


def unfinished(prefix):
    return bucket.list_multipart_uploads(Bucket="mail", Prefix=prefix).get("Uploads", [])


def body(key):
    return bucket.get_object(Bucket="mail", Key=key)["Body"].read()


def files(folder):
    return {path.name: path.read_bytes() for path in (FOLDER / folder).iterdir()}


def write_letters():
    with open(FOLDER / "letters.jsonl", "w") as out:
        print('{"postroom": 1, "source": "test"}', '{"user": {"username": "ann"}}', sep="\n", file=out)
        for number in range(LETTERS):
            # Random, so that nothing on the way makes it smaller: 30 MB in all, which are several parts.
            letter = {"external_id": str(number), "from": "ann", "to": ["ann"], "body": secrets.token_hex(30_000),
                      "sent_at": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"}
            print(json.dumps({"message": letter}), file=out)


def the_command_stores_lists_and_restores():
    done("migrate")
    done("import", "letters.jsonl")
    Server().end()
    said = done("backup", "s3://mail/a/large.db")
    size = (FOLDER / "postroom-data/postroom.db").stat().st_size
    assert size > 20 << 20, size
    said = re.match(r"s3://mail/a/large.db: (\d+) bytes, checked\n", said)
    large = body("a/large.db")
    assert len(large) == int(said[1])
    assert "-" in bucket.head_object(Bucket="mail", Key="a/large.db")["ETag"], "it was sent in parts"
    assert body("a/large.db.sha256").decode() == f"{hashlib.sha256(large).hexdigest()}  large.db\n"
    named = done("backup", "s3://mail/a/").split(": ")[0]
    assert done("backup", "--list", "s3://mail/a").split("\t")[0] == named
    assert sorted(files("postroom-data")) == ["postroom.db", "secret.key"], "copies are removed"
    refused("is there already", "backup", "s3://mail/a/large.db")

    (FOLDER / "other").mkdir(mode=0o700)
    (FOLDER / "other/secret.key").write_bytes((FOLDER / "postroom-data/secret.key").read_bytes())
    (FOLDER / "other/secret.key").chmod(0o600)
    assert "now holds s3://mail/a/large.db" in done("--data-dir", "other", "restore", "s3://mail/a/large.db")
    done("--data-dir", "other", "check")
    exported = done("--data-dir", "other", "export").splitlines()
    assert sum(line.startswith('{"message"') for line in exported) == LETTERS


def what_is_not_right_is_refused():
    before = files("other")
    restore = ["--data-dir", "other", "restore"]
    refused("it answered 404 (NoSuchKey)", *restore, "s3://mail/a/none.db")
    wrong = bytearray(body("a/large.db"))
    wrong[-1] ^= 1
    bucket.put_object(Bucket="mail", Key="a/wrong.db", Body=bytes(wrong))
    sums = body("a/large.db.sha256").replace(b"large", b"wrong")
    bucket.put_object(Bucket="mail", Key="a/wrong.db.sha256", Body=sums)
    refused("s3://mail/a/wrong.db is not what was saved: its SHA-256 is ", *restore, "s3://mail/a/wrong.db")
    key = {"POSTROOM_SECRET_KEY": secrets.token_hex(16)}
    refused("this is not the secret key", *restore, "s3://mail/a/large.db", **key)
    assert files("other") == before
    refused("it answered 403", "backup", "s3://mail/a/no.db", AWS_ACCESS_KEY_ID="somebody")
    refused("it answered 403", "backup", "s3://mail/a/no.db", AWS_SECRET_ACCESS_KEY=SECRET + "x")
    refused("cannot look into s3://others/a: it answered 403", "backup", "s3://others/a/no.db")


def the_server_makes_them_and_goes_on_when_the_storage_is_back():
    for name in ("b/notes.txt", "b/postroom-2020.db", "b/postroom-20200101T000000Z.db"):
        bucket.put_object(Bucket="mail", Key=name, Body=b"not ours, but for the last")
    server = Server(POSTROOM_BACKUP_EVERY="1s", POSTROOM_BACKUP_KEEP="2", POSTROOM_BACKUP_DIR="s3://mail/b")
    until("three are made", lambda: server.backups("made") >= 3)
    storage.kill()
    until("one fails", lambda: server.backups("failed") > 0)
    assert server.answers()
    last, made = server.figure("postroom_backup_last_seconds"), server.backups("made")
    storage.start()
    until("three more are made", lambda: server.backups("made") >= made + 3)
    assert server.figure("postroom_backup_last_seconds") > last
    server.end()
    there = keys("b/")
    assert there[0] == "b/notes.txt" and "b/postroom-2020.db" in there, there
    ours = [key for key in there if re.fullmatch(r"b/postroom-\d{8}T\d{6}Z\.db(\.sha256)?", key)]
    assert len(ours) == 4 and len(there) == 6, there
    assert all(f"{key}.sha256" in ours for key in ours if key.endswith(".db")), ours
    assert "a backup has failed" in log() and "s3://mail/b" in log()

    server = Server(POSTROOM_BACKUP_EVERY="1s", POSTROOM_BACKUP_DIR="s3://mail/b", AWS_SECRET_ACCESS_KEY=SECRET + "x")
    until("one fails", lambda: server.backups("failed") > 0)
    server.end()
    assert "it answered 403" in log()


def an_upload_that_is_killed_leaves_nothing_to_restore():
    proxy.passed, proxy.holds = 0, True
    server = Server(POSTROOM_BACKUP_EVERY="1s", POSTROOM_BACKUP_DIR="s3://mail/c")
    until("some of it is sent", lambda: proxy.passed > 9 << 20)
    server.end(by=signal.SIGKILL)
    proxy.holds = False
    assert len(unfinished("c/")) == 1
    assert not [key for key in keys("c/") if key.endswith(".db")], keys("c/")
    assert done("backup", "--list", "s3://mail/c") == ""
    killed = unfinished("c/")[0]["Key"]
    refused("it answered 404", "--data-dir", "other", "restore", f"s3://mail/{killed}")
    assert any(name.endswith(".postroom.partial") for name in files("postroom-data"))

    server = Server(POSTROOM_BACKUP_EVERY="1d", POSTROOM_BACKUP_DIR="s3://mail/c")
    until("one is made", lambda: server.backups("made") == 1)
    assert unfinished("c/") == [], "the upload of then was ended"
    assert not any("partial" in name for name in files("postroom-data"))
    assert len(keys("c/")) == 2, "the checksum of then is removed"
    # A stop does not wait for an upload.
    proxy.passed, proxy.holds = 0, True
    server.end()
    server = Server(POSTROOM_BACKUP_EVERY="1s", POSTROOM_BACKUP_DIR="s3://mail/d")
    until("some of it is sent", lambda: proxy.passed > 9 << 20)
    server.end()
    assert server.process.returncode == 0
    proxy.holds = False
    done("check")


def the_manual_is_right():
    """Its settings and commands, with the address and the secret of this storage."""
    section = MANUAL.read_text().split("\n### Backup and restore\n")[1].split("\n### ")[0]
    [settings] = re.findall(r"^```toml\n(.*?)^```$", section, re.M | re.S)
    [commands] = re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)
    (FOLDER / "postroom.toml").write_text(settings)
    (FOLDER / "bin").mkdir()
    (FOLDER / "bin/postroom").symlink_to(BINARY)
    shown = done("config")
    for line in settings.splitlines():
        name = line.split(" = ")[0]
        assert re.search(rf"^{name} = .*# (postroom.toml|\./postroom.toml|POSTROOM_\w+|AWS_\w+)$", shown, re.M), line
    environment = SETTINGS | {"PATH": f"{FOLDER}/bin:{SETTINGS['PATH']}"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=FOLDER, env=environment, check=True,
                   stdout=open(FOLDER / "said", "w"))
    server = Server()
    until("its storage is looked at", lambda: server.figure("postroom_backup_last_seconds") > 0)
    assert server.figure("postroom_backup_every_seconds") == 86400
    server.end()
    done("check")


(FOLDER / "secret").write_text(SECRET + "\n")
(FOLDER / "log").touch()
bucket = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{STORAGE}", region_name="us-east-1",
    aws_access_key_id="operator", aws_secret_access_key="operator", config=Config(retries={"max_attempts": 1}),
)
proxy = Proxy(daemon=True)
proxy.start()
storage = Storage()
for name in ("mail", "mail-backups"):
    bucket.create_bucket(Bucket=name)
write_letters()
for step in (
    the_command_stores_lists_and_restores,
    what_is_not_right_is_refused,
    the_server_makes_them_and_goes_on_when_the_storage_is_back,
    an_upload_that_is_killed_leaves_nothing_to_restore,
    the_manual_is_right,
):
    step()
    print(step.__name__.replace("_", " "))
assert SECRET not in log(), "the log shows the secret"
assert "panicked" not in log(), log()
