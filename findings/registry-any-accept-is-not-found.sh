#!/usr/bin/env bash
# Distribution 2.8.2 (Debian's docker-registry 2.8.2+ds1-1), without Weir: an OCI manifest that is
# there is answered 404 MANIFEST_UNKNOWN to `Accept: */*`, and also when it is asked for by its own digest.
#
# Behavior: the registry looks for the exact media type in Accept, so a range that covers every type (RFC 9110, 12.5.1) covers
# none. HEAD is answered 404 likewise, without the body that would say why. curl and most HTTP libraries send */* by
# themselves: to a program that checks whether a component was published, it looks unpublished.
# Seen: */* 404, application/* 404, application/vnd.oci.image.manifest.v1+json 200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get --quiet=2 --option APT::Sandbox::User=root download docker-registry >/dev/null
case "$(ls docker-registry_*.deb)" in docker-registry_2.8.2*) ;; *) echo "another version: $(ls ./*.deb)"; exit 1 ;; esac
dpkg --extract docker-registry_*.deb .
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >config.yml <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $folder/storage}}
http: {addr: "127.0.0.1:$port"}
YAML
usr/bin/docker-registry serve config.yml >log 2>&1 &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
curl --silent --fail --output /dev/null --retry 50 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/v2/"

PORT=$port python3 - <<'PYTHON'
import hashlib, http.client, json, os, urllib.parse

OCI = "application/vnd.oci.image.manifest.v1+json"

def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]))
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()

def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()

def push(data):
    place = urllib.parse.urlsplit(ask("POST", "/v2/echo/blobs/uploads/")[1]["Location"])
    query = f"{place.query}&digest={digest(data)}"
    assert ask("PUT", f"{place.path}?{query}", data, Content_Type="application/octet-stream")[0] == 201
    return {"digest": digest(data), "size": len(data)}

manifest = json.dumps({
    "schemaVersion": 2,
    "mediaType": OCI,
    "config": {"mediaType": "application/vnd.oci.empty.v1+json", **push(b"{}")},
    "layers": [{"mediaType": "application/wasm", **push(b"a component")}],
}).encode()
assert ask("PUT", "/v2/echo/manifests/1.0.0", manifest, Content_Type=OCI)[0] == 201

statuses = {}
for accept in ("*/*", "application/*", OCI):
    for name in ("1.0.0", digest(manifest)):
        for method in ("GET", "HEAD"):
            status, _, body = ask(method, f"/v2/echo/manifests/{name}", Accept=accept)
            statuses.setdefault(accept, set()).add(status)
            if method == "GET" and status == 404:
                assert json.loads(body)["errors"][0]["code"] == "MANIFEST_UNKNOWN", body
print(", ".join(f"{accept} {sorted(found)}" for accept, found in statuses.items()))
assert statuses == {"*/*": {404}, "application/*": {404}, OCI: {200}}
PYTHON
