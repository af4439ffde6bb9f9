"""A TCP echo server and its clients: one process serves, forked ones ask."""

import os
import selectors
import socket

server = socket.create_server(("127.0.0.1", 0))
address = server.getsockname()
CLIENTS = 4
children = []
for number in range(CLIENTS):
    pid = os.fork()
    if pid == 0:
        server.close()
        with socket.create_connection(address) as link:
            for round_number in range(20):
                message = b"client %d round %d\n" % (number, round_number) * 50
                link.sendall(message)
                got = b""
                while len(got) < len(message):
                    got += link.recv(65536)
                assert got == message
        os._exit(number)
    children.append(pid)

selector = selectors.DefaultSelector()
server.setblocking(False)
selector.register(server, selectors.EVENT_READ)
total = ended = 0
while ended < CLIENTS:
    for key, _ in selector.select():
        if key.fileobj is server:
            link, _ = server.accept()
            selector.register(link, selectors.EVENT_READ)
            continue
        data = key.fileobj.recv(65536)
        if data:
            total += len(data)
            key.fileobj.sendall(data)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            ended += 1
print("echoed", total)
print([os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in children])
