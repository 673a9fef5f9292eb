#!/usr/bin/env python3
"""A mutating webhook on https://127.0.0.1:9443: labels every object with webhook=called."""
import base64, http.server, json, os, ssl

STATE = os.environ["S"]


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = [{"op": "add", "path": "/metadata/labels", "value": {"webhook": "called"}}]
        review["response"] = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
                              "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 9443), Webhook)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{STATE}/pki/apiserver.crt", f"{STATE}/pki/apiserver.key")  # its names include 127.0.0.1
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
