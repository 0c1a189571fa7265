"""TLS in front of the hub: a token goes over no line without it.

    tls.py ADDRESS PORT CERTIFICATE KEY INNER_PORT

Takes connections at ADDRESS and hands what they say to this machine's INNER_PORT.
"""

import asyncio
import ssl
import sys


async def pipe(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    address, port, certificate, key, inner = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader, writer):
        try:
            inside = await asyncio.open_connection("127.0.0.1", int(inner))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pipe(reader, inside[1]), pipe(inside[0], writer))

    # A handshake over a slow line takes seconds.
    server = await asyncio.start_server(serve, address, int(port), ssl=context,
                                        ssl_handshake_timeout=30)
    print("up", flush=True)
    await server.serve_forever()


asyncio.run(main())
