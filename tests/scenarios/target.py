"""One target: a process that says its version, and that it is well unless there is a file that says otherwise."""

import os
import socket
import sys

PORT, VERSION, SICK = int(sys.argv[1]), sys.argv[2], sys.argv[3]

with socket.create_server(("127.0.0.1", PORT)) as server:
    while True:
        visitor, _ = server.accept()
        with visitor:
            path = visitor.recv(4096).split(b" ")[1:2]
            word = "500 Sick" if path == [b"/healthz"] and os.path.exists(SICK) else "200 OK"
            visitor.sendall(f"HTTP/1.1 {word}\r\nConnection: close\r\n\r\n{VERSION}".encode())
